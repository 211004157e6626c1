"""`mediatok lake ls`, `log` and `vacuum` on the golden lake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from operators.errors import ConfigError
from operators.records import VoidReason
from pipeline.app.inspect import lake_list
from pipeline.app.lake_log import lake_history, notes
from pipeline.app.vacuum import Keep, vacuum_lake
from pipeline.lake.delta import Delta, ProductSpan, Rewrite, Skip
from pipeline.lake.lake import Lake
from pipeline.lake.paths import index_path, shard_path
from pipeline.records import Predicate, PredicateField, SourcePartition, Span

GOLDEN = Path(__file__).parents[2] / "golden" / "lake-v1"
FIRST, SECOND = "image-rq-1a2b3c4d", "image-rq-5e6f7a8b"
Said = Callable[[], list[Any]]


@pytest.fixture
def lake(tmp_path: Path) -> str:
    shutil.copytree(GOLDEN, tmp_path / "lake")
    return str(tmp_path / "lake")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_ls_shows_the_lake_as_it_was(lake: str, said: Said) -> None:
    assert lake_list(lake, None, version=3, as_json=True) == 0
    (then,) = said()
    assert (then["version"], [each["key"] for each in then["products"]]) == (3, [FIRST])
    assert then["products"][0]["open"]
    lake_list(lake, None, at=datetime.fromtimestamp(1_795_000_006.5, UTC), as_json=True)
    lake_list(lake, None, as_json=True)
    assert [each["version"] for each in said()] == [4, 5]


def test_log_shows_the_newest_versions_the_newest_last(lake: str, said: Said) -> None:
    assert lake_history(lake, None, 2, as_json=True) == 0
    assert [each["version"] for each in said()] == [4, 5]
    lake_history(lake, None, 2, first=2, as_json=True)
    assert [each["version"] for each in said()] == [2, 3]


def test_log_of_a_product_leaves_out_what_concerns_others(lake: str, said: Said) -> None:
    lake_history(lake, None, 20, product=FIRST, as_json=True)
    assert [each["version"] for each in said()] == [1, 2, 3, 4]
    lake_history(lake, None, 1, product=SECOND, as_json=True)
    (newest,) = said()
    assert (newest["version"], newest["rows"]) == (5, 2)
    with pytest.raises(ConfigError, match="no product"):
        lake_history(lake, None, 20, product="nothing")


def test_a_version_says_what_it_did() -> None:
    log = SourcePartition("topic", 0)
    delta = Delta(
        version=9,
        base=8,
        commit_id="c",
        writer="w",
        committed_at_ms=0,
        skips=(Skip("p", Span(log, ((0, 1200),)), VoidReason.TAKEN_DOWN),),
        remade=(ProductSpan("p", Span(log, ((5, 8),))),),
        rewrites=(Rewrite("p", ("a", "b"), taken_down=3, duplicates=2),),
        predicates=(Predicate(PredicateField.SUBJECT_KEY, "user-4711"),),
        min_base=4,
    )
    assert notes(delta) == [
        "takes down subject_key user-4711",
        "3 remade",
        "1,200 skipped (taken_down)",
        "2 files replaced by 0",
        "3 taken down",
        "2 duplicates",
        "vacuum below 4",
    ]


def test_a_dry_run_of_vacuum_changes_nothing(lake: str, said: Said) -> None:
    garbage = shard_path(SECOND, "2026-11-24", 2, "ff")
    store = Lake.open(lake).store
    store.write(garbage, b"12345")
    store.write(index_path(garbage), b"123")
    assert vacuum_lake(lake, None, Keep(versions=2), dry_run=True, as_json=True) == 0
    sizes = {"shard": {"files": 1, "size_bytes": 5}, "sidecar": {"files": 1, "size_bytes": 3}}
    (planned,) = said()
    assert (planned["floor"], planned["deleted"], planned["dry_run"]) == (4, sizes, True)
    assert Lake.open(lake).state.version == 5
    assert vacuum_lake(lake, None, Keep(from_version=4), dry_run=False, as_json=True) == 0
    assert [each["deleted"] for each in said()] == [sizes]
    assert (Lake.open(lake).state.version, Lake.open(lake).state.min_base) == (6, 4)
    assert not (Path(lake) / garbage).exists()
    with pytest.raises(ConfigError, match="vacuum has deleted"):
        lake_list(lake, None, version=3)


@pytest.mark.parametrize(("since_s", "floor"), [(1_000_000_000, 1), (1_795_000_006.5, 4), (2_000_000_000, 5)])
def test_vacuum_keeps_the_state_of_a_time_and_all_after_it(lake: str, said: Said, since_s: float, floor: int) -> None:
    vacuum_lake(lake, None, Keep(since=datetime.fromtimestamp(since_s, UTC)), dry_run=True, as_json=True)
    assert [each["floor"] for each in said()] == [floor]


def test_vacuum_wants_to_know_what_to_keep(lake: str) -> None:
    for keep in (Keep(), Keep(from_version=1, versions=1)):
        with pytest.raises(ConfigError, match="what stays readable"):
            vacuum_lake(lake, None, keep, dry_run=True)
    with pytest.raises(ConfigError, match="it has 1 to 5"):
        vacuum_lake(lake, None, Keep(from_version=6), dry_run=False)
