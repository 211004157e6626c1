"""The commit protocol as a state machine: events in, actions out, nothing done.

1. **Judge** the openings: one that runs already is a no-op; a changed product needs a higher revision, or the whole
   commit is refused. Starts that are committed already, in the product or a predecessor, stand.
2. **Admit** every part (a `Sealed`) against the state *and* what this delta has taken so far: a message that is covered
   is dropped; a replayed one is dropped unless its letter is still open, one made anew unless it is a predecessor's
   alone; the part of a product that is closed, or one older than vacuum's floor, is refused alone. Rewrites go in
   while all that they replace is live.
3. **Filter** each shard of a part that lost messages, or that was made before a takedown (`FilterShard`): a copy
   under a new name. **Write** the letters and empties that are left, one file a product (`WriteOutcomes`).
4. **Create** version N+1 exclusively (`CreateVersion`), with a `commit_id` that is fresh since the last conflict.
5. Whatever the store answered, **read** N+1 (`ReadVersion`): timeouts, 5xx and 409 are unclear, an SDK that retries
   reports 412 on its own success, and an abandoned put may land later.
   - It has this `commit_id`: it is mine. Fold it in; `Committed`.
   - Nothing is there: create again, *the same bytes*; should the first put land after all, it is mine as well.
   - It has another: fold it in, and whatever follows it (`ReadVersion` until there is none); back to 1 with what is
     left.

A crash between any two actions loses nothing: what was not committed is not covered and will be done again; files
written for it are named by no version.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from operators.errors import InvariantError, StopError
from operators.records import Origin
from pipeline.flow.ranges import Ranges, difference, intersection, merged
from pipeline.lake.codec import delta_bytes, parse_delta
from pipeline.lake.delta import Delta, OutcomeFile, Rewrite
from pipeline.lake.draft import Basis, added_by, draft
from pipeline.lake.parts import Part, spans_difference
from pipeline.lake.paths import base_of, version_path
from pipeline.lake.proposal import (
    Action,
    Committed,
    CreateAnswered,
    CreateVersion,
    Event,
    FilterShard,
    OutcomesWritten,
    PartResult,
    Proposal,
    ReadVersion,
    Reason,
    Refused,
    ShardFiltered,
    Verdict,
    VersionRead,
    WriteOutcomes,
)
from pipeline.lake.state import LakeState
from pipeline.lake.takedown import taken_down_outcomes
from pipeline.records import Empty, Letter, Predicate, SealKind, SourcePartition, Span

Taken = dict[tuple[str, SourcePartition], Ranges]


class Rules:
    """The decisions on which exactly-once rests, one method each."""

    def is_mine(self, found: Delta, sent: Delta) -> bool:
        """Whether the version that was found is the one that was sent."""
        return found.commit_id == sent.commit_id

    def covered(self, state: LakeState, product: str, span: Span, conflicts: int) -> Ranges:
        """What of these messages the lake has in this product (key). `conflicts`: versions folded in by this commit."""
        del conflicts
        return state.overlap(product, span)

    def letters_open(self, state: LakeState, product: str, span: Span, conflicts: int) -> Ranges:
        """Which of these messages still have open letters for this product (key)."""
        del conflicts
        known = state.products.get(product)
        return state.open_letters(known.product.name, span) if known else ()

    def letters_elsewhere(self, state: LakeState, product: str, span: Span, replayed: frozenset[str] | None) -> Ranges:
        """Which of these messages have open letters in other files than those that were replayed."""
        known = state.products.get(product)
        return state.open_letters(known.product.name, span, besides=replayed) if known and replayed is not None else ()

    def remakeable(self, state: LakeState, product: str, span: Span) -> Ranges:
        """Which of these messages a predecessor covers, and the product's own commits do not."""
        return difference(state.overlap(product, span), state.own_overlap(product, span))

    def later_predicates(self, state: LakeState, obeyed: int) -> Mapping[Predicate, int]:
        """The takedowns that whoever obeyed those up to version `obeyed` did not know of."""
        return {predicate: version for predicate, version in state.predicates.items() if version > obeyed}

    def replaceable(self, state: LakeState, product: str, path: str) -> bool:
        """Whether a rewrite may replace this file."""
        return state.is_live(product, path)

    def taken(self, ranges: Ranges, span: Span) -> Ranges:
        """What of these messages this delta has already, given what it has taken of the same product and log."""
        return intersection(span.ranges, ranges)


class Phase(StrEnum):
    """What the machine waits for."""

    BEGIN = "begin"
    FILTER = "filter"
    OUTCOMES = "outcomes"
    CREATE = "create"
    SETTLE = "settle"
    CATCH_UP = "catch_up"
    DONE = "done"


class Commit:
    """One commit, from proposal to version. Folds what it reads into the state that it was given.

    Args:
        proposal: what is to be committed.
        state: of the lake, as far as known; changed in place.
        writer: names this committer, for people.
        new_id: gives commit ids, unique for ever.
        now_ms: gives the time, UTC, for people.
        rules: the decisions.
    """

    def __init__(
        self,
        proposal: Proposal,
        state: LakeState,
        *,
        writer: str,
        new_id: Callable[[], str],
        now_ms: Callable[[], int],
        rules: Rules | None = None,
    ) -> None:
        self._proposal, self._state, self._rules = proposal, state, rules or Rules()
        self._writer, self._new_id, self._now_ms = writer, new_id, now_ms
        self._parts = [Part(sealed, sealed, obeys=sealed.obeys) for sealed in proposal.sealed]
        self._phase = Phase.BEGIN
        self._conflicts = 0
        self._basis = Basis(state, ())
        self._rewrites: tuple[Rewrite, ...] = ()
        self._filters = deque[tuple[Part, FilterShard]]()
        self._files = dict[str, tuple[tuple[Letter, ...], tuple[Empty, ...], OutcomeFile]]()
        self._wanted = deque[WriteOutcomes]()
        self._taken_down = dict[int, set[Origin]]()
        self._sent: Delta | None = None

    def begin(self) -> Action:
        """The first action."""
        return self._admit()

    def handle(self, event: Event) -> Action:
        """What to do next, given how the last action went.

        Raises:
            InvariantError: no answer to the last action, or the log breaks its own rules.
        """
        match self._phase, event:
            case Phase.FILTER, ShardFiltered(shard, taken_down):
                part, action = self._filters.popleft()
                part.replace_shard(action.shard, shard)
                self._taken_down.setdefault(id(part), set()).update(taken_down)
                return self._filters[0][1] if self._filters else self._filtered()
            case Phase.OUTCOMES, OutcomesWritten(file):
                wanted = self._wanted.popleft()
                self._files[wanted.product] = (wanted.letters, wanted.empties, file)
                return self._write_outcomes()
            case Phase.CREATE, CreateAnswered():
                self._phase = Phase.SETTLE
                return self._read()
            case Phase.SETTLE, VersionRead(body):
                return self._settle(body)
            case Phase.CATCH_UP, VersionRead(body):
                return self._catch_up(body)
            case _:
                raise InvariantError(f"a commit in phase {self._phase} can't take {type(event).__name__}")

    # --- 1. and 2.: what may go in

    def _admit(self) -> Action:
        try:
            judged = (self._state.judged(opening) for opening in self._proposal.openings)
            self._basis = Basis(self._state, tuple(opening for opening in judged if opening is not None))
            self._filters.clear()
            self._taken_down.clear()
            taken = dict[SealKind, Taken]()
            for part in self._parts:
                self._admit_part(part, taken.setdefault(part.sealed.kind, {}))
            self._rewrites = tuple(self._live_rewrites())
        except StopError as error:
            self._phase = Phase.DONE
            return Refused(error)
        if self._filters:
            self._phase = Phase.FILTER
            return self._filters[0][1]
        return self._filtered()

    def _live_rewrites(self) -> Iterator[Rewrite]:
        """Those of which all inputs are live and none is another one's too, and whose authors knew every takedown."""
        taken, oldest = set[str](), max([self._state.min_base, *self._rules.later_predicates(self._state, 0).values()])
        for rewrite in self._proposal.rewrites:
            live = all(self._rules.replaceable(self._state, rewrite.product, path) for path in rewrite.removes)
            fresh = all(base_of(path) >= oldest for path in added_by(rewrite))
            fresh &= rewrite.open_letters == sum(
                self._state.open_count(rewrite.product, path) for path in rewrite.removes
            )
            if live and fresh and taken.isdisjoint(rewrite.removes):
                taken |= set(rewrite.removes)
                yield rewrite

    def _filtered(self) -> Action:
        """All shards are as they may be committed: what was taken down out of them is void from now on."""
        for part in self._parts:
            later = self._rules.later_predicates(self._state, part.obeys)
            if later and part.left.covers:
                rows = self._taken_down.get(id(part), set())
                others = taken_down_outcomes(part.left.letters, part.left.empties, later)
                part.take_down(others | rows)
            part.obeys = max([part.obeys, *later.values()])
        return self._write_outcomes()

    def _admit_part(self, part: Part, taken: Taken) -> None:
        product, state = part.sealed.product, self._state
        if part.refused:
            return
        if not self._basis.is_open(product):
            part.refuse(Reason.PRODUCT_CLOSED)
            return
        if any(base_of(shard.path) < state.min_base for shard in part.left.shards):
            part.refuse(Reason.BASE_TOO_OLD)
            return
        gone, reason = list[Span](), Reason.NEW
        for span in part.left.covers:
            there, why = self._not_admitted(part, span)
            mine = (product, span.log)
            twice = self._rules.taken(taken.get(mine, ()), span)
            lost = merged((*there, *twice))
            if lost:
                gone.append(Span(span.log, lost))
                reason = why if there else Reason.TWICE_IN_DELTA
            taken[mine] = merged((*taken.get(mine, ()), *difference(span.ranges, lost)))
        drop = tuple(gone)
        lessened = part.drop(drop, reason) if drop else ()
        later = tuple(sorted(self._rules.later_predicates(state, part.obeys)))
        for shard in part.left.shards if later else lessened:
            self._filters.append((part, FilterShard(shard, drop, state.version, later)))

    def _not_admitted(self, part: Part, span: Span) -> tuple[Ranges, Reason]:
        product = part.sealed.product
        basis = self._basis.of(product)
        if part.sealed.kind is SealKind.REPLAY:
            still = self._rules.letters_open(self._state, basis, span, self._conflicts)
            still = difference(still, self._rules.letters_elsewhere(self._state, basis, span, self._proposal.replayed))
            return difference(span.ranges, still), Reason.LETTER_NOT_OPEN
        if part.sealed.kind is SealKind.RETOKENIZE:
            owed = self._rules.remakeable(self._state, product, span)
            return difference(span.ranges, owed), Reason.NOT_A_PREDECESSORS
        if self._start(product, span.log) is None:
            raise InvariantError(f"{span.log} has no committed start in {product}: nothing may be covered")
        return self._rules.covered(self._state, basis, span, self._conflicts), Reason.ALREADY_COVERED

    def _start(self, product: str, log: SourcePartition) -> int | None:
        known = self._basis.start(product, log)
        if known is not None:
            return known
        return next((s.offset for s in self._proposal.starts if (s.product, s.log) == (product, log)), None)

    # --- 3.: files

    def _write_outcomes(self) -> Action:
        self._phase = Phase.OUTCOMES
        self._wanted.clear()
        for product in dict.fromkeys(part.sealed.product for part in self._parts):
            parts = [part.left for part in self._parts if part.sealed.product == product]
            letters = tuple(letter for part in parts for letter in part.letters)
            empties = tuple(empty for part in parts for empty in part.empties)
            written = self._files.get(product)
            fresh = written is not None and base_of(written[2].path) >= self._state.min_base
            if not letters and not empties:
                self._files.pop(product, None)
            elif written is None or not fresh or written[:2] != (letters, empties):
                self._wanted.append(WriteOutcomes(product, letters, empties, self._state.version))
        return self._wanted[0] if self._wanted else self._create()

    # --- 4.: the version

    def _create(self) -> Action:
        files = tuple(file for _, _, file in self._files.values())
        parts = [part.left for part in self._parts if part.left.covers]
        delta = draft(self._proposal, parts, files, self._rewrites, self._basis, self._covered)
        if delta is None:
            return self._committed(None)
        self._sent = replace(delta, writer=self._writer, committed_at_ms=self._now_ms(), commit_id=self._new_id())
        return self._send(self._sent)

    def _covered(self, product: str, span: Span) -> Ranges:
        return self._rules.covered(self._state, self._basis.of(product), span, self._conflicts)

    def _send(self, delta: Delta) -> Action:
        self._phase = Phase.CREATE
        return CreateVersion(delta.version, version_path(delta.version), delta_bytes(delta))

    # --- 5.: whose it is

    def _read(self) -> Action:
        version = self._state.version + 1
        return ReadVersion(version, version_path(version))

    def _settle(self, body: bytes | None) -> Action:
        sent = self._sent
        assert sent is not None
        if body is None:
            return self._send(sent)
        if self._rules.is_mine(parse_delta(body), sent):
            self._state.apply(sent)
            return self._committed(sent)
        return self._catch_up(body)

    def _catch_up(self, body: bytes | None) -> Action:
        if body is None:
            return self._admit()
        self._phase = Phase.CATCH_UP
        self._state.apply(parse_delta(body))
        self._conflicts += 1
        return self._read()

    def _committed(self, delta: Delta | None) -> Action:
        self._phase = Phase.DONE
        named = [part.sealed.product for part in self._parts]
        named += [each.product for each in (*self._proposal.starts, *self._proposal.skips)]
        closed = tuple(sorted({product for product in named if not self._state.is_open(product)}))
        parts = tuple(self._result(part) for part in self._parts)
        stale = tuple(rewrite for rewrite in self._proposal.rewrites if rewrite not in self._rewrites)
        return Committed(self._state.version, delta, parts, closed, stale, self._conflicts)

    def _result(self, part: Part) -> PartResult:
        sealed, left = part.sealed, part.left
        if sealed.kind is SealKind.REPLAY:
            settled = () if part.refused else sealed.covers
        elif sealed.kind is SealKind.RETOKENIZE:
            there = (Span(span.log, self._state.own_overlap(sealed.product, span)) for span in sealed.covers)
            settled = tuple(span for span in there if span.ranges)
        else:
            there = (Span(span.log, self._state.overlap(sealed.product, span)) for span in sealed.covers)
            settled = tuple(span for span in there if span.ranges)
        unsettled = spans_difference(sealed.covers, settled)
        if part.refused or not left.covers:
            verdict = Verdict.REFUSED
        else:
            verdict = Verdict.ADMITTED if part.reason is Reason.NEW else Verdict.FILTERED
        return PartResult(sealed, verdict, part.reason, left.covers, settled, unsettled)
