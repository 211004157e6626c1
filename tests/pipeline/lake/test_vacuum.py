from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest

from operators.errors import ConfigError, InvariantError, StoreUnavailableError
from pipeline.lake.delta import Rewrite
from pipeline.lake.history import last_hint, load_state, read_log, write_hint
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.paths import checkpoint_path, index_path
from pipeline.lake.proposal import Proposal, Reason, Verdict
from pipeline.lake.reader import read_table
from pipeline.lake.store import NoSuchFileError
from pipeline.lake.store_local import LocalStore
from pipeline.lake.travel import Moment, state_of
from pipeline.lake.vacuum import Deleted, FileKind, Plan, delete, plan_vacuum, set_floor
from pipeline.lake.verify import verify
from pipeline.records import Sealed, Shard


@pytest.fixture
def lake(golden: ModuleType, tmp_path: Path) -> Lake:
    return golden.make_lake(tmp_path / "lake")


def sealed(golden: ModuleType, lake: Lake, *offsets: int) -> Sealed:
    shard = golden.bring_shard(lake, golden.SECOND, golden.LOG, *offsets)
    return Sealed(golden.SECOND.key, (shard,), (golden.span(golden.LOG, *offsets),))


def replaced(golden: ModuleType, lake: Lake) -> tuple[Shard, Shard]:
    """The only shard of the product that is open, and the one that a rewrite put in its place."""
    (old,) = lake.state.shards[golden.SECOND.key].values()
    new = golden.bring_shard(lake, golden.SECOND, golden.LOG, 20, 22)
    lake.commit(Proposal(rewrites=(Rewrite(golden.SECOND.key, (old.path,), (new,)),)))
    return old, new


def exists(lake: Lake, path: str) -> bool:
    return (Path(lake.uri) / path).exists()


def vacuum(lake: Lake, floor: int) -> tuple[Plan, list[Deleted]]:
    set_floor(lake, floor)
    plan, gone = plan_vacuum(lake.store, lake.state.min_base), list[Deleted]()
    delete(lake.store, plan, gone.append, sleep=lambda _: None)
    return plan, gone


def test_a_file_that_was_never_committed_goes_once_nobody_can_commit_it_any_more(
    lake: Lake, golden: ModuleType
) -> None:
    abandoned = golden.bring_shard(lake, golden.SECOND, golden.LOG, 40)
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    in_flight = golden.bring_shard(lake, golden.SECOND, golden.LOG, 41)
    plan, gone = vacuum(lake, floor=6)
    assert [each.file.path for each in gone] == [abandoned.path, index_path(abandoned.path)]
    assert [each.file.kind for each in gone] == [FileKind.SHARD, FileKind.SIDECAR]
    assert gone[0].size_bytes == abandoned.size_bytes
    assert not exists(lake, abandoned.path)
    assert exists(lake, in_flight.path)
    assert plan.in_flight == 2, "shard and sidecar"
    assert verify(lake.store).ok


def test_what_a_readable_version_names_stays_although_it_was_replaced(lake: Lake, golden: ModuleType) -> None:
    old, new = replaced(golden, lake)
    vacuum(lake, floor=5)
    assert exists(lake, old.path)
    assert read_table(lake.uri, golden.SECOND.key, version=5, columns=["offset"]).num_rows == 2
    _, gone = vacuum(lake, floor=6)
    assert [each.file.path for each in gone if each.file.kind is FileKind.SHARD] == [old.path]
    assert exists(lake, new.path)
    assert read_table(lake.uri, golden.SECOND.key, version=6).num_rows == 2
    with pytest.raises(ConfigError, match="vacuum has deleted files that only versions below 6 name"):
        state_of(lake.store, Moment(version=5))


def test_a_committer_that_was_paused_can_add_nothing_that_was_deleted(lake: Lake, golden: ModuleType) -> None:
    paused = Lake(open_store(lake.uri))
    late = sealed(golden, paused, 40)
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    vacuum(lake, floor=6)
    done = paused.commit(Proposal((late, sealed(golden, lake, 41))))
    assert [(part.verdict, part.reason) for part in done.parts] == [
        (Verdict.REFUSED, Reason.BASE_TOO_OLD),
        (Verdict.ADMITTED, Reason.NEW),
    ]
    assert done.parts[0].unsettled == late.covers
    assert verify(lake.store).ok


class Vacuumed(LocalStore):
    """Vacuum comes by when a shard is about to be filtered."""

    def __init__(self, lake: Lake) -> None:
        super().__init__(Path(lake.uri))
        self._lake, self._floor = lake, 0

    def comes(self, floor: int) -> None:
        self._floor = floor

    def download(self, path: str, target: Path) -> None:
        floor, self._floor = self._floor, 0
        if floor:
            vacuum(self._lake, floor)
        super().download(path, target)


def test_a_hint_that_landed_over_a_newer_one_is_put_right_when_a_file_is_refused_for_it(
    lake: Lake, golden: ModuleType
) -> None:
    late = sealed(golden, lake, 40)
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    vacuum(lake, floor=6)
    write_hint(lake.store, 1)
    (result,) = lake.commit(Proposal(sealed=(late,))).parts
    assert result.reason is Reason.BASE_TOO_OLD
    assert last_hint(lake.store) == lake.state.version, "or packers would name all their files too old, for ever"


def test_a_shard_that_is_deleted_while_it_is_filtered_is_refused(lake: Lake, golden: ModuleType) -> None:
    store = Vacuumed(lake)
    slow = Lake(store)
    late = sealed(golden, slow, 30, 31)
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    store.comes(floor=6)
    done = slow.commit(Proposal((late,)))
    assert (done.parts[0].verdict, done.parts[0].reason) == (Verdict.REFUSED, Reason.BASE_TOO_OLD)
    assert verify(lake.store).ok


def test_a_shard_that_is_missing_for_another_reason_is_not_passed_over(lake: Lake, golden: ModuleType) -> None:
    part = sealed(golden, lake, 30, 31)
    Lake(open_store(lake.uri)).commit(Proposal((sealed(golden, lake, 30),)))
    lake.store.delete(part.shards[0].path)
    with pytest.raises(NoSuchFileError):
        lake.commit(Proposal((part,)))


class Dying(LocalStore):
    """Deletes so many files, then no more."""

    left = 3

    def delete(self, path: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailableError("gone away")
        super().delete(path)


def test_a_vacuum_that_died_is_taken_up_again(lake: Lake, golden: ModuleType) -> None:
    for offset in range(40, 44):
        golden.bring_shard(lake, golden.SECOND, golden.LOG, offset)
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    with pytest.raises(StoreUnavailableError):
        vacuum(Lake(Dying(Path(lake.uri))), floor=6)
    again = Lake(open_store(lake.uri))
    version = again.state.version
    _, gone = vacuum(again, floor=6)
    assert len(gone) == 8 - 3
    assert again.state.version == version, "the floor is there already"
    assert vacuum(again, floor=6)[1] == []
    assert verify(lake.store).ok


def test_nothing_is_deleted_before_the_floor_is_committed(lake: Lake, golden: ModuleType) -> None:
    golden.bring_shard(lake, golden.SECOND, golden.LOG, 40)
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    plan = plan_vacuum(lake.store, 6)
    assert len(plan.doomed) == 2
    with pytest.raises(InvariantError, match="not committed"):
        delete(lake.store, plan, lambda _: None)


def test_the_floor_is_a_version_of_the_lake_and_never_sinks(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="no version 9"):
        set_floor(lake, 9)
    set_floor(lake, 5)
    set_floor(lake, 3)
    assert load_state(lake.store).min_base == 5


def test_files_that_are_not_named_as_ours_stay(lake: Lake) -> None:
    lake.store.write("data/notes.txt", b"mine")
    plan, _ = vacuum(lake, floor=5)
    assert plan.foreign == ("data/notes.txt",)
    assert exists(lake, "data/notes.txt")


def test_of_the_checkpoints_below_the_floor_the_newest_stays(lake: Lake, golden: ModuleType) -> None:
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    lake.store.write(checkpoint_path(3), b"old")
    _, gone = vacuum(lake, floor=5)
    assert [each.file.path for each in gone] == [checkpoint_path(3)]
    assert load_state(lake.store, at=5).version == 5


def test_deletions_are_paced(lake: Lake, golden: ModuleType) -> None:
    for offset in range(40, 60):
        golden.bring_shard(lake, golden.SECOND, golden.LOG, offset)
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    set_floor(lake, 6)
    slept_s = list[float]()
    delete(lake.store, plan_vacuum(lake.store, 6), lambda _: None, deletes_hz=0.1, sleep=slept_s.append)
    assert len(slept_s) == 3, "40 files, 16 at once"
    assert slept_s[0] > 100


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_readable_versions_keep_their_files(lake: Lake, golden: ModuleType, seed: int) -> None:
    """Several processes, some far behind, commit, rewrite and vacuum in any order."""
    rng, offsets = random.Random(seed), iter(range(100, 10_000))
    lakes = [lake, *(Lake(open_store(lake.uri)) for _ in range(2))]
    waiting = list[tuple[Lake, Sealed]]()
    for _ in range(25):
        one = rng.choice(lakes)
        match rng.randrange(5):
            case 0 | 1:
                waiting.append((one, sealed(golden, one, next(offsets), next(offsets))))
            case 2 if waiting:
                owner, part = waiting.pop(rng.randrange(len(waiting)))
                owner.commit(Proposal((part,)))
            case 3:
                live = list(one.state.shards[golden.SECOND.key].values())
                old = rng.choice(live)
                new = golden.bring_shard(one, golden.SECOND, golden.LOG, *_offsets_of(lake, old))
                one.commit(Proposal(rewrites=(Rewrite(golden.SECOND.key, (old.path,), (new,)),)))
            case _:
                vacuum(one, rng.randint(1, one.state.version))
    state = load_state(lake.store)
    named = set(load_state(lake.store, at=max(1, state.min_base)).live_paths)
    for delta in read_log(lake.store, max(1, state.min_base)):
        named |= set(delta.paths)
    assert {path for path in named if not exists(lake, path)} == set()
    assert verify(lake.store).findings == []


def _offsets_of(lake: Lake, shard: Shard) -> list[int]:
    from pipeline.lake.reader import read_shard

    return read_shard(lake.store, shard).column("offset").to_pylist()
