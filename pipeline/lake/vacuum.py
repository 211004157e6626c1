"""Deleting what no readable version names. The only code that deletes data files.

No clock decides, but the log: first `min_base = V` is committed. From the next version on no commit can add a file
whose writer knew only versions below V, so such a file either stands in the log by now, or never will: a committer that
was paused for a year included. Then goes every file of `base` < V that neither the state at V names, nor any version
after it. A file of base >= V that nobody names may be in flight, and stays.

Whatever dies on the way: the floor is committed before anything is deleted, and running it again deletes the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from operators.errors import ConfigError, InvariantError
from pipeline.lake.history import checkpoints, load_state, read_log
from pipeline.lake.lake import Lake
from pipeline.lake.paths import DATA, INDEX, LETTERS, base_of, checkpoint_path, index_path
from pipeline.lake.proposal import Proposal
from pipeline.lake.store import LakeStore, NoSuchFileError

DELETES_HZ = 200.0
"""Deletions a second at the most: stores slow everybody down who asks for too much at once."""
_AT_ONCE = 16


class FileKind(StrEnum):
    """What is deleted."""

    SHARD = "shard"
    SIDECAR = "sidecar"
    LETTERS = "letters"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Doomed:
    """A file that no readable version names."""

    kind: FileKind
    path: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a vacuum deletes.

    Attributes:
        floor: the oldest version that can be read afterwards.
        doomed: the files.
        in_flight: how many files that nobody names stay, since a commit may still name them.
        foreign: files in the lake's folders that are not named as ours are; they stay.
    """

    floor: int
    doomed: tuple[Doomed, ...]
    in_flight: int
    foreign: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deleted:
    """A file that is gone; `size_bytes` is 0 where somebody else was faster."""

    file: Doomed
    size_bytes: int


def set_floor(lake: Lake, floor: int) -> None:
    """Make a version the oldest that can be read. Nothing is deleted yet; no older floor comes back.

    Raises:
        ConfigError: there is no such version.
    """
    if not 1 <= floor <= lake.state.version:
        raise ConfigError(f"{lake.uri} has no version {floor}: it has 1 to {lake.state.version}")
    lake.commit(Proposal(min_base=floor))
    # The live lists may be a checkpoint behind, and must not go on naming what is deleted.
    lake.publish_live()


def plan_vacuum(store: LakeStore, floor: int) -> Plan:
    """What is to go, given a floor that the log has (or, to see what would be, might have).

    Raises:
        InvariantError: as `load_state`.
    """
    state = load_state(store, at=floor)
    shards = {path for product in state.shards.values() for path in product}
    letters = set(state.outcomes)
    for delta in read_log(store, floor + 1):
        for path in delta.paths:
            (letters if path.startswith(LETTERS) else shards).add(path)
    sorter = _Sorter(floor)
    sorter.sort(FileKind.SHARD, store.list(DATA), shards)
    sorter.sort(FileKind.SIDECAR, store.list(INDEX), {index_path(path) for path in shards})
    sorter.sort(FileKind.LETTERS, store.list(LETTERS), letters)
    # To read version V one begins with the newest checkpoint up to it; those before that one serve nobody.
    old = [version for version in checkpoints(store) if version <= floor][:-1]
    sorter.doomed += [Doomed(FileKind.CHECKPOINT, checkpoint_path(version)) for version in old]
    return Plan(floor, tuple(sorter.doomed), sorter.in_flight, tuple(sorter.foreign))


class _Sorter:
    def __init__(self, floor: int) -> None:
        self._floor = floor
        self.doomed, self.foreign, self.in_flight = list[Doomed](), list[str](), 0

    def sort(self, kind: FileKind, found: Iterable[str], named: set[str]) -> None:
        for path in found:
            if path in named:
                continue
            try:
                base = base_of(path)
            except InvariantError:
                self.foreign.append(path)
                continue
            if base < self._floor:
                self.doomed.append(Doomed(kind, path))
            else:
                self.in_flight += 1


def delete(
    store: LakeStore,
    plan: Plan,
    deleted: Callable[[Deleted], None],
    *,
    deletes_hz: float = DELETES_HZ,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Delete what a plan names; the plan's floor must be committed.

    Args:
        store: of the lake.
        plan: from `plan_vacuum`.
        deleted: told of each file when it is gone.
        deletes_hz: files a second at the most.
        sleep: waits so many seconds.

    Raises:
        InvariantError: the floor is not committed: a commit may yet name these files.
    """
    if load_state(store).min_base < plan.floor:
        raise InvariantError(f"{store.uri}: the floor {plan.floor} is not committed, nothing may be deleted")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for first in range(0, len(plan.doomed), _AT_ONCE):
            files, started_s = plan.doomed[first : first + _AT_ONCE], time.monotonic()
            for each in pool.map(lambda file: Deleted(file, _delete(store, file.path)), files):
                deleted(each)
            sleep(max(0.0, len(files) / deletes_hz - (time.monotonic() - started_s)))


def _delete(store: LakeStore, path: str) -> int:
    try:
        size_bytes = store.size(path)
    except NoSuchFileError:
        return 0
    store.delete(path)
    return size_bytes
