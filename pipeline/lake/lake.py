"""The lake as the coordinator and the commands see it: open, refresh, commit, publish."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import structlog

from operators.errors import ConfigError, InvariantError, StoreUnavailableError, TransientError
from pipeline.lake import files
from pipeline.lake.commit import Commit, Rules
from pipeline.lake.delta import Delta, OutcomeFile
from pipeline.lake.follow import ReadAhead
from pipeline.lake.history import (
    catch_up,
    checkpoints,
    follow,
    load_state,
    read_log,
    read_next,
    write_checkpoint,
    write_hint,
)
from pipeline.lake.open_store import open_store
from pipeline.lake.outcomes import read_outcomes
from pipeline.lake.paths import base_of
from pipeline.lake.proposal import (
    Action,
    Committed,
    CreateAnswered,
    CreateVersion,
    Event,
    FilterShard,
    OutcomesWritten,
    Proposal,
    ReadVersion,
    Reason,
    Refused,
    VersionRead,
    WriteOutcomes,
)
from pipeline.lake.state import LakeState
from pipeline.lake.store import CreateAnswer, LakeStore, NoSuchFileError
from pipeline.records import Empty, Letter, SourcePartition

_log = structlog.get_logger(__name__)

CHECKPOINT_EVERY = 100
CHECKPOINTS_KEPT = 3
CREATE_ATTEMPTS = 8


def utc_ms() -> int:
    """Now, in ms since 1970."""
    return time.time_ns() // 1_000_000


def fresh_id() -> str:
    """A uuid, in hex."""
    return uuid4().hex


class Lake:
    """One process's view of a lake. For one thread.

    Args:
        store: of the lake.
        read_only: refuses to commit or publish.
        writer: names this process in the log, for people.
        now_ms: the clock, UTC.
        new_id: gives names that nobody else gives.
        checkpoint_every: versions.
        rules: of the commit protocol.
    """

    def __init__(
        self,
        store: LakeStore,
        *,
        read_only: bool = False,
        writer: str | None = None,
        now_ms: Callable[[], int] = utc_ms,
        new_id: Callable[[], str] = fresh_id,
        checkpoint_every: int = CHECKPOINT_EVERY,
        rules: Rules | None = None,
    ) -> None:
        self.store = store
        self._read_only = read_only
        self._writer = writer or f"{socket.gethostname()}:{os.getpid()}"
        self._now_ms, self._new_id = now_ms, new_id
        self._checkpoint_every, self._rules = checkpoint_every, rules
        self._state = load_state(store)
        self._checkpointed = max(checkpoints(store), default=0)
        self._ahead = ReadAhead()
        self._shared = False
        self._doubtful = False

    @staticmethod
    def open(uri: str, options: Mapping[str, object] | None = None, *, read_only: bool = False) -> Lake:
        """The lake at a URI; a new one is made by its first commit.

        Args:
            uri: a folder or s3://bucket/prefix.
            options: of the object store.
            read_only: there must be a lake already.

        Raises:
            ConfigError: no such kind of store, access denied, or nothing there to read.
            InvariantError: the log can't be what commits made.
        """
        lake = Lake(open_store(uri, options), read_only=read_only)
        if read_only and not lake.state.version:
            raise ConfigError(f"there is no lake at {uri}: its log has no version yet")
        return lake

    @property
    def uri(self) -> str:
        """Its root."""
        return self.store.uri

    @property
    def state(self) -> LakeState:
        """As far as this process has read. Changes with `refresh` and `commit`."""
        return self._state

    def refresh(self) -> LakeState:
        """Read what others have committed since.

        Raises:
            InvariantError: as `LakeState.apply`.
        """
        catch_up(self.store, self._state)
        return self._state

    def log(self, first: int = 1) -> Iterator[Delta]:
        """The versions from `first` on."""
        return read_log(self.store, first)

    # --- writing

    def commit(self, proposal: Proposal) -> Committed:
        """Run the commit protocol to its end.

        Raises:
            ProductSupersededError: a higher revision of a product runs.
            ConfigError: a product changed without a higher revision.
            InvariantError: the proposal or the log breaks the rules.
            StoreUnavailableError: the store would not answer for too long. Whether the version was created is not
                known; proposing the same again is safe.
        """
        self._writable()
        if self._doubtful:
            self._reload()
        try:
            done = self._run_beside_vacuum(proposal)
        except (TransientError, InvariantError):
            # The state may be half way through a fold, or behind what the store did: begin from the files again.
            self._doubtful = True
            self._reload()
            raise
        if done.delta is not None or any(part.reason is Reason.BASE_TOO_OLD for part in done.parts):
            # A hint that lands late goes over a newer one: packers would name their files too old for ever.
            self._after_commit()
        return done

    def _reload(self) -> None:
        self._state = load_state(self.store)
        self._doubtful = False

    def _run_beside_vacuum(self, proposal: Proposal) -> Committed:
        try:
            return self._run(proposal)
        except NoSuchFileError:
            # Vacuum may delete a shard while it is being filtered for this commit. Knowing its floor, the commit
            # refuses the part, and whoever sealed it makes it anew.
            self._state = load_state(self.store)
            named = (shard.path for part in proposal.sealed for shard in part.shards)
            if all(base_of(path) >= self._state.min_base for path in named):
                raise
            return self._run(proposal)

    def _run(self, proposal: Proposal) -> Committed:
        known = self._state.version
        if self._shared:
            # A put would most likely meet a version of somebody else: looking first is cheaper, and not a conflict.
            follow(self.store, self._state, self._ahead)
        met = self._state.version - known
        machine = Commit(
            proposal, self._state, writer=self._writer, new_id=self._new_id, now_ms=self._now_ms, rules=self._rules
        )
        action, creates = machine.begin(), dict[int, int]()
        while not isinstance(action, Committed):
            if isinstance(action, Refused):
                raise action.error
            if isinstance(action, CreateVersion):
                tries = creates[action.version] = creates.get(action.version, 0) + 1
                if tries > CREATE_ATTEMPTS:
                    raise StoreUnavailableError(
                        f"{self.uri}: version {action.version} was put {CREATE_ATTEMPTS} times and is not there"
                    )
                time.sleep(0.05 * (2 ** (tries - 1) - 1))
            action = machine.handle(self._do(action))
        self._shared = met + action.conflicts > 0
        return action

    def _do(self, action: Action) -> Event:
        match action:
            case CreateVersion(_, path, body):
                answer = self.store.create(path, body)
                self._ahead.after_put(exists=answer is CreateAnswer.EXISTS)
                return CreateAnswered(answer)
            case ReadVersion(version, _):
                return VersionRead(read_next(self.store, version, self._ahead))
            case FilterShard(shard, drop, base, predicates):
                unique = self._new_id()
                return files.upload_filtered(self.store, shard, drop, base=base, unique=unique, predicates=predicates)
            case WriteOutcomes(product, letters, empties, base):
                return OutcomesWritten(
                    files.write_outcomes(self.store, product, letters, empties, base=base, unique=self._new_id())
                )
            case _:
                raise InvariantError(f"{type(action).__name__} is no action to carry out")

    def _after_commit(self) -> None:
        """Hint and checkpoint: they spare readers time and are true whenever they come, so trouble only delays them."""
        try:
            write_hint(self.store, self._state.version)
            if self._state.version // self._checkpoint_every > self._checkpointed // self._checkpoint_every:
                self.checkpoint()
        except StoreUnavailableError as error:
            _log.warning("hint or checkpoint not written; the next commit tries again", error=str(error))

    def checkpoint(self) -> None:
        """Write a checkpoint of this version, the live lists and the card."""
        self._writable()
        write_checkpoint(self.store, self._state, CHECKPOINTS_KEPT)
        self._checkpointed = self._state.version
        self.publish_live()

    def publish_live(self) -> None:
        """Write the live lists and the card of this version."""
        self._writable()
        if self._state.version:
            files.publish(self.store, self._state)

    def upload_shard(self, local: Path, product: str, index: bytes, dt: str | None = None) -> str:
        """Bring a shard and its sidecar in; returns the path by which a `Sealed` names it.

        Args:
            local: the shard.
            product: key.
            index: its sidecar's bytes.
            dt: UTC date, YYYY-MM-DD; today where it is left out.
        """
        self._writable()
        today = datetime.fromtimestamp(self._now_ms() / 1000, UTC).date().isoformat()
        base, unique = self._state.version, self._new_id()
        return files.upload_shard(self.store, local, product, index, dt=dt or today, base=base, unique=unique)

    def write_outcomes(self, product: str, letters: Sequence[Letter], empties: Sequence[Empty]) -> OutcomeFile:
        """Write letters and empties of a product (key) to a file that a `Rewrite` may name."""
        self._writable()
        base, unique = self._state.version, self._new_id()
        return files.write_outcomes(self.store, product, letters, empties, base=base, unique=unique)

    def _writable(self) -> None:
        if self._read_only:
            raise ConfigError(f"{self.uri} was opened for reading only")

    # --- letters

    def open_letters(self, name: str) -> Iterator[Letter]:
        """The open letters of the products of this name, file by file."""
        by_file = dict[str, list[SourcePartition]]()
        for (owner, log), opened in self._state.letters.items():
            for path in opened if owner == name else ():
                by_file.setdefault(path, []).append(log)
        for path in by_file:
            for letter in read_outcomes(self.store.read(path))[0]:
                origin = letter.origin
                log = SourcePartition(origin.source_id, origin.partition)
                offsets = self._state.letters.get((name, log), {}).get(path)
                if offsets is not None and origin.offset in offsets:
                    yield letter
