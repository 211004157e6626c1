from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from operators.errors import ConfigError, InvariantError, StoreUnavailableError
from pipeline.lake.checkpoint import checkpoint_bytes, read_checkpoint
from pipeline.lake.codec import delta_bytes
from pipeline.lake.delta import Delta, ProductSpan
from pipeline.lake.history import checkpoints, load_state, read_log, write_hint
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.paths import base_of, version_path
from pipeline.lake.proposal import Proposal, Reason, Verdict
from pipeline.lake.reader import live_files, read_table
from pipeline.lake.state import LakeState, fold
from pipeline.lake.store import CreateAnswer
from pipeline.lake.store_local import LocalStore
from pipeline.lake.verify import FindingKind, verify
from pipeline.records import Sealed


@pytest.fixture
def lake(golden: ModuleType, tmp_path: Path) -> Lake:
    return golden.make_lake(tmp_path / "lake")


def sealed(golden: ModuleType, lake: Lake, *offsets: int) -> Sealed:
    shard = golden.bring_shard(lake, golden.SECOND, golden.LOG, *offsets)
    return Sealed(golden.SECOND.key, (shard,), (golden.span(golden.LOG, *offsets),))


def test_a_lake_opens_the_same_from_its_log_and_from_its_checkpoint(lake: Lake) -> None:
    assert checkpoints(lake.store) == [4]
    opened, folded = load_state(lake.store), fold(read_log(lake.store))
    assert checkpoint_bytes(opened) == checkpoint_bytes(folded) == checkpoint_bytes(lake.state)
    assert checkpoint_bytes(read_checkpoint(checkpoint_bytes(folded))) == checkpoint_bytes(folded)
    assert list(opened.shards["image-rq-1a2b3c4d"]) == list(folded.shards["image-rq-1a2b3c4d"])
    assert opened.counters == folded.counters


def test_a_copy_of_a_state_goes_its_own_way(lake: Lake, golden: ModuleType) -> None:
    before, copy = checkpoint_bytes(lake.state), lake.state.copy()
    assert checkpoint_bytes(copy) == before
    lake.commit(Proposal((sealed(golden, lake, 40),)))
    assert checkpoint_bytes(copy) == before != checkpoint_bytes(lake.state)


@pytest.mark.parametrize("hint", [None, 0, 2, 5])
def test_an_old_hint_or_none_does_no_harm(lake: Lake, hint: int | None) -> None:
    lake.store.delete("_meta/checkpoints/000000004.zip")
    lake.store.delete("_meta/last")
    if hint is not None:
        write_hint(lake.store, hint)
    assert Lake(lake.store).state.version == 5


def test_a_hole_in_the_log_is_not_taken_for_its_end(lake: Lake) -> None:
    lake.store.delete("_meta/checkpoints/000000004.zip")
    lake.store.delete(version_path(3))
    with pytest.raises(InvariantError, match="missing"):
        Lake(lake.store)


def test_a_checkpoint_that_is_none_is_refused(lake: Lake) -> None:
    lake.store.write("_meta/checkpoints/000000005.zip", b"PK nonsense")
    with pytest.raises(InvariantError, match="checkpoint"):
        Lake(lake.store)


def test_two_owners_of_a_message_commit_it_once(lake: Lake, golden: ModuleType) -> None:
    other = Lake(open_store(lake.uri))
    lake.commit(Proposal((sealed(golden, lake, 30, 31, 32),)))
    done = other.commit(Proposal((sealed(golden, other, 31, 32, 33), sealed(golden, other, 30, 31))))
    assert [part.verdict for part in done.parts] == [Verdict.FILTERED, Verdict.REFUSED]
    assert done.parts[0].reason is Reason.ALREADY_COVERED
    assert [part.unsettled for part in done.parts] == [(), ()]
    offsets = read_table(lake.uri, "image-rq", columns=["offset"]).column(0).to_pylist()
    assert sorted(offsets) == [20, 22, 30, 31, 32, 33]
    assert verify(lake.store).ok
    assert lake.refresh().version == 7


def test_only_the_newest_checkpoints_are_kept_and_live_lists_come_with_them(golden: ModuleType, tmp_path: Path) -> None:
    lake = Lake(open_store(str(golden.make_lake(tmp_path / "lake").uri)), checkpoint_every=2)
    for offset in range(30, 40):
        lake.commit(Proposal((sealed(golden, lake, offset),)))
    assert checkpoints(lake.store) == [10, 12, 14]
    live = json.loads(lake.store.read("_meta/live/image-rq-5e6f7a8b.json"))
    assert (live["version"], live["rows"], len(live["files"])) == (14, 11, 10)
    assert lake.state.version == 15
    assert len(live_files(lake.uri, "image-rq")) == 11


def test_an_older_live_list_never_replaces_a_newer(lake: Lake, golden: ModuleType) -> None:
    behind = Lake(open_store(lake.uri))
    lake.commit(Proposal((sealed(golden, lake, 30),)))
    lake.publish_live()
    behind.publish_live()
    assert json.loads(lake.store.read("_meta/live/image-rq-5e6f7a8b.json"))["version"] == 6


class Deaf(LocalStore):
    """Never hears how its puts went, and loses those it is told to lose."""

    lost = 0

    def create(self, path: str, data: bytes) -> CreateAnswer:
        if self.lost:
            self.lost -= 1
        else:
            super().create(path, data)
        return CreateAnswer.UNCLEAR


def test_a_put_that_nobody_answered_is_settled_by_reading(lake: Lake, golden: ModuleType) -> None:
    store = Deaf(Path(lake.uri))
    store.lost = 2
    deaf = Lake(store)
    done = deaf.commit(Proposal((sealed(golden, deaf, 30),)))
    assert done.version == 6
    assert verify(store).ok


def test_a_store_that_swallows_every_put_is_given_up_on(
    lake: Lake, golden: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.lake.lake.time.sleep", lambda _: None)
    store = Deaf(Path(lake.uri))
    store.lost = 1_000
    deaf = Lake(store)
    with pytest.raises(StoreUnavailableError, match="version 6"):
        deaf.commit(Proposal((sealed(golden, deaf, 30),)))
    assert deaf.state.version == 5


def test_a_state_that_is_half_folded_is_not_gone_on_with_though_reading_it_anew_fails_too(
    lake: Lake, golden: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = golden.SECOND.key
    live = next(iter(lake.state.shards[second].values()))
    covers = (ProductSpan(second, golden.span(golden.LOG, 30)),)
    bad = Delta(6, base_of(live.path), "bad", "w", 0, covers=covers, shards=(live,))
    lake.store.write(version_path(6), delta_bytes(bad))
    mine = sealed(golden, lake, 30)

    def down(_: object) -> LakeState:
        raise StoreUnavailableError("503")

    with monkeypatch.context() as trouble:
        trouble.setattr("pipeline.lake.lake.load_state", down)
        with pytest.raises(StoreUnavailableError):
            lake.commit(Proposal((mine,)))
    lake.store.delete(version_path(6))
    assert lake.commit(Proposal((mine,))).parts[0].verdict is Verdict.ADMITTED
    assert verify(lake.store).ok


def test_reading_a_lake_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no lake"):
        Lake.open(str(tmp_path / "nothing"), read_only=True)
    assert Lake.open(str(tmp_path / "nothing")).state.version == 0


# --- verify


def paths(lake: Lake, prefix: str) -> list[Path]:
    return [Path(lake.uri) / path for path in lake.store.list(prefix)]


def spoil_bytes(lake: Lake) -> None:
    path = paths(lake, "data/")[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def spoil_index(lake: Lake) -> None:
    path = paths(lake, "_meta/index/")[0]
    raw = json.loads(path.read_bytes())
    raw["batches"][0][3] ^= 1
    path.write_text(json.dumps(raw))


def spoil_log(change: Callable[[dict], None]) -> Callable[[Lake], None]:
    def spoil(lake: Lake) -> None:
        path = Path(lake.uri) / version_path(2)
        raw = json.loads(path.read_bytes())
        change(raw)
        path.write_text(json.dumps(raw))

    return spoil


def cover_less(raw: dict) -> None:
    raw["covers"][0]["ranges"] = [[11, 17]]


def cover_more(raw: dict) -> None:
    raw["covers"][0]["ranges"] = [[10, 19]]


def name_twice(raw: dict) -> None:
    raw["shards"].append(raw["shards"][0])


def other_shard_twice(lake: Lake) -> None:
    """The same rows under another name, as a second commit of the same message would leave them."""
    first = lake.store.read(version_path(2))
    raw = json.loads(first)
    shard = dict(raw["shards"][1])
    old = Path(lake.uri) / shard["path"]
    shard["path"] = shard["path"].replace("part-1-", "part-1-f")
    shutil.copyfile(old, Path(lake.uri) / shard["path"])
    index = Path(lake.uri) / "_meta/index" / old.name.replace(".arrow", ".idx")
    shutil.copyfile(index, index.with_name(index.name.replace("part-1-", "part-1-f")))
    raw["shards"].append(shard)
    (Path(lake.uri) / version_path(2)).write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda lake: paths(lake, "data/")[0].unlink(), FindingKind.SHARD_MISSING),
        (spoil_bytes, FindingKind.SHARD_DIFFERS),
        (lambda lake: paths(lake, "_meta/index/")[0].unlink(), FindingKind.INDEX_MISSING),
        (spoil_index, FindingKind.INDEX_DIFFERS),
        (lambda lake: paths(lake, "_meta/letters/")[0].unlink(), FindingKind.LETTERS_MISSING),
        (lambda lake: paths(lake, "_meta/letters/")[0].write_bytes(b""), FindingKind.LETTERS_DIFFER),
        (lambda lake: paths(lake, "_meta/log/")[2].unlink(), FindingKind.LOG_BROKEN),
        (spoil_log(cover_less), FindingKind.ROW_UNCOVERED),
        (spoil_log(cover_more), FindingKind.LOG_BROKEN),
        (spoil_log(lambda raw: raw.pop("voids")), FindingKind.NO_OUTCOME),
        (spoil_log(name_twice), FindingKind.LOG_BROKEN),
        (other_shard_twice, FindingKind.ROW_TWICE),
        (spoil_log(lambda raw: raw.update(writer="x")), None),
    ],
)
def test_verify_finds_what_is_wrong(lake: Lake, spoil: Callable[[Lake], None], kind: FindingKind | None) -> None:
    assert verify(lake.store).ok
    spoil(lake)
    kinds = {finding.kind for finding in verify(lake.store).findings}
    assert kind in kinds if kind else not kinds


def test_verify_notices_a_checkpoint_that_is_not_what_its_log_amounts_to(lake: Lake) -> None:
    lake.store.write("_meta/checkpoints/000000004.zip", checkpoint_bytes(LakeState()))
    assert [each.kind for each in verify(lake.store).findings] == [FindingKind.CHECKPOINT_DIFFERS]
