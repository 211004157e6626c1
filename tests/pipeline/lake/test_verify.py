"""What verification finds in single files and in the log; whole lakes that are spoilt are in test_lake.py."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from operators.pack.shard import write_shard
from operators.records import Origin
from pipeline.flow.coverage import Coverage
from pipeline.lake.delta import Delta, ProductSpan, Rewrite
from pipeline.lake.findings import FindingKind, Report
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal
from pipeline.lake.state import LakeState
from pipeline.lake.verify import Step, verify
from pipeline.lake.verify_files import verified_shard
from pipeline.lake.verify_log import verified_log
from pipeline.records import Predicate, PredicateField, Sealed, Shard, Span


@pytest.fixture
def lake(golden: ModuleType, tmp_path: Path) -> Lake:
    return golden.make_lake(tmp_path / "lake")


Row = tuple[int, int, int, int]
"""offset, item, window_index, window_count"""


def bring(golden: ModuleType, lake: Lake, folder: Path, *rows: Row) -> Shard:
    """A shard with these rows, in the lake but in no version."""
    made = golden.rows(golden.SECOND, golden.LOG, tuple(row[0] for row in rows))
    table = pa.Table.from_batches([made])
    for place, name in enumerate(("offset", "item", "window_index", "window_count")):
        field = table.schema.field(name)
        values = pa.array([row[place] for row in rows], field.type)
        table = table.set_column(table.schema.get_field_index(name), field, values)
    facts = write_shard(folder / "shard", table.schema, table.to_batches())
    path = lake.upload_shard(folder / "shard", golden.SECOND.key, facts.index, golden.DT)
    return Shard(golden.SECOND.key, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256)


def commit(golden: ModuleType, lake: Lake, shards: tuple[Shard, ...], *offsets: int) -> None:
    lake.commit(Proposal((Sealed(golden.SECOND.key, shards, (golden.span(golden.LOG, *offsets),)),)))


def kinds(lake: Lake) -> list[FindingKind]:
    return [finding.kind for finding in verify(lake.store).findings]


def test_a_shard_is_reduced_to_its_items(golden: ModuleType, lake: Lake, tmp_path: Path) -> None:
    rows = ((31, 1, 0, 1), (30, 0, 1, 2), (40, 0, 5, 9), (30, 0, 0, 2), (31, 0, 0, 1), (40, 0, 2, 9))
    found = verified_shard(lake.store, bring(golden, lake, tmp_path, *rows), ())
    assert found.findings == []
    log = golden.LOG
    assert sorted(found.whole) == [Origin(*log, 30, 0), Origin(*log, 31, 0), Origin(*log, 31, 1)]
    ((origin, windows),) = found.parts.items()
    assert (origin, windows.count, windows.seen.tolist()) == (Origin(*log, 40, 0), 9, [2, 5])


def test_an_item_may_lie_in_two_shards_of_a_commit(golden: ModuleType, lake: Lake, tmp_path: Path) -> None:
    first = bring(golden, lake, tmp_path, (30, 0, 0, 3), (30, 0, 1, 3))
    commit(golden, lake, (first, bring(golden, lake, tmp_path, (30, 0, 2, 3), (31, 0, 0, 1))), 30, 31)
    report = verify(lake.store)
    assert report.ok
    assert next(each for each in report.products if each.product == golden.SECOND.key).items_with_rows == 4


@pytest.mark.parametrize(
    ("shards", "kind"),
    [
        ([[(30, 0, 0, 1), (30, 0, 0, 1)]], FindingKind.ROW_TWICE),
        ([[(30, 0, 0, 1)], [(30, 0, 0, 1)]], FindingKind.ROW_TWICE),
        ([[(30, 0, 0, 2), (30, 0, 1, 2)], [(30, 0, 1, 2)]], FindingKind.ROW_TWICE),
        ([[(30, 0, 0, 3), (30, 0, 1, 3)], [(30, 0, 1, 3), (30, 0, 2, 3)]], FindingKind.ROW_TWICE),
        ([[(30, 0, 0, 3), (30, 0, 1, 3)]], FindingKind.WINDOW_MISSING),
        ([[(30, 0, 0, 3)], [(30, 0, 2, 3)]], FindingKind.WINDOW_MISSING),
        ([[(30, 0, 0, 1), (99, 0, 0, 1)]], FindingKind.ROW_UNCOVERED),
    ],
)
def test_rows_that_should_not_be_so_are_found(
    golden: ModuleType, lake: Lake, tmp_path: Path, shards: list[list[Row]], kind: FindingKind
) -> None:
    commit(golden, lake, tuple(bring(golden, lake, tmp_path, *rows) for rows in shards), 30)
    assert kinds(lake) == [kind]


def test_many_of_one_kind_are_counted_and_not_all_named(golden: ModuleType, lake: Lake, tmp_path: Path) -> None:
    rows = [(offset, 0, 0, 2) for offset in range(100, 150)]
    commit(golden, lake, (bring(golden, lake, tmp_path, *rows),), *range(100, 150))
    findings = verify(lake.store).findings
    assert len(findings) == 21
    assert findings[-1].what == "30 more items lack windows"


def test_what_is_taken_down_and_still_there_is_found(golden: ModuleType, lake: Lake) -> None:
    lake.commit(Proposal(predicates=(Predicate(PredicateField.URI, "mem://golden-topic/20.png"),)))
    assert kinds(lake) == [FindingKind.NOT_TAKEN_DOWN]
    lake.commit(Proposal(predicates=(Predicate(PredicateField.URI, "mem://golden-topic/13.png"),)))
    assert kinds(lake) == [FindingKind.NOT_TAKEN_DOWN] * 2, "the letter too"
    (old,) = lake.state.shards[golden.SECOND.key].values()
    kept = golden.bring_shard(lake, golden.SECOND, golden.LOG, 22)
    lake.commit(Proposal(rewrites=(Rewrite(golden.SECOND.key, (old.path,), (kept,), taken_down=1),)))
    assert kinds(lake) == [FindingKind.NOT_TAKEN_DOWN]


def test_whoever_watches_hears_how_far_it_has_come(lake: Lake) -> None:
    heard = list[tuple[Any, ...]]()
    verify(lake.store, lambda *step: heard.append(step))
    assert heard[4:] == [(Step.LOG, 5, 0), *((Step.SHARDS, n, 4) for n in (1, 2, 3, 4)), (Step.LETTERS, 1, 1)]


# --- the log, with a fold that is wrong


def damaged(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> list[FindingKind]:
    report = Report()
    assert verified_log(lake.store, report, lambda _: None) is not None
    monkeypatch.undo()
    return [finding.kind for finding in report.findings if finding.kind is not FindingKind.CHECKPOINT_DIFFERS]


def test_the_recount_agrees_with_the_fold(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert damaged(monkeypatch, lake) == []


def test_a_fold_that_moves_the_watermark_over_a_gap_is_noticed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def sloppy(self: Coverage, ranges: tuple[tuple[int, int], ...]) -> None:
        self.watermark = max(self.watermark, *(end for _, end in ranges))

    monkeypatch.setattr(Coverage, "add", sloppy)
    monkeypatch.setattr(LakeState, "overlap", lambda *_: ())
    assert set(damaged(monkeypatch, lake)) == {FindingKind.COVERAGE_DIFFERS, FindingKind.COVERAGE_GAP}


def test_a_fold_that_lets_a_message_be_covered_twice_is_noticed(
    golden: ModuleType, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = ProductSpan(golden.SECOND.key, Span(golden.LOG, ((12, 13),)))
    monkeypatch.setattr(LakeState, "overlap", lambda *_: ())
    monkeypatch.setattr(
        "pipeline.lake.verify_log.read_log", lambda _: [*lake.log(), Delta(6, 5, "c", "w", 0, covers=(again,))]
    )
    assert damaged(monkeypatch, lake) == [FindingKind.COVERED_TWICE]


def test_a_replaced_file_that_is_still_live_is_noticed(
    golden: ModuleType, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = lake.state.shards[golden.SECOND.key].values()
    new = golden.bring_shard(lake, golden.SECOND, golden.LOG, 20, 22)
    lake.commit(Proposal(rewrites=(Rewrite(golden.SECOND.key, (old.path,), (new,)),)))
    monkeypatch.setattr(LakeState, "_remove", lambda *_: None)
    assert damaged(monkeypatch, lake) == [FindingKind.REPLACED_YET_LIVE]
