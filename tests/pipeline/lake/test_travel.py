from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import pytest

from operators.errors import ConfigError
from pipeline.lake.checkpoint import checkpoint_bytes
from pipeline.lake.history import load_state, read_log
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal
from pipeline.lake.reader import live_files, read_table
from pipeline.lake.state import fold
from pipeline.lake.travel import Moment, state_of, version_at
from pipeline.records import Predicate, PredicateField


@pytest.fixture
def lake(golden: ModuleType, tmp_path: Path) -> Lake:
    """Versions 1 to 5, and a checkpoint at 4."""
    return golden.make_lake(tmp_path / "lake")


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_a_state_of_the_past_is_the_fold_up_to_it(lake: Lake, version: int) -> None:
    folded = fold(delta for delta in read_log(lake.store) if delta.version <= version)
    assert checkpoint_bytes(load_state(lake.store, at=version)) == checkpoint_bytes(folded)
    assert state_of(lake.store, Moment(version=version)).version == version


def test_a_time_means_the_newest_version_that_was_committed_by_then(lake: Lake) -> None:
    times = {delta.version: datetime.fromtimestamp(delta.committed_at_ms / 1000, UTC) for delta in read_log(lake.store)}
    for version, at in times.items():
        assert state_of(lake.store, Moment(at=at)).version == version
        assert version_at(lake.store, 5, at - timedelta(milliseconds=1)) == version - 1
        assert version_at(lake.store, 5, at.replace(tzinfo=None)) == version, "without a zone it is UTC"
        assert version_at(lake.store, 5, at.astimezone(timezone(timedelta(hours=5)))) == version
    with pytest.raises(ConfigError, match="had no version yet"):
        state_of(lake.store, Moment(at=times[1] - timedelta(seconds=1)))


@pytest.mark.parametrize("version", [-1, 0, 6])
def test_a_version_that_is_not_there_is_refused(lake: Lake, version: int) -> None:
    with pytest.raises(ConfigError, match="it has 1 to 5"):
        state_of(lake.store, Moment(version=version))


def test_a_version_and_a_time_at_once_are_refused(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="not both"):
        state_of(lake.store, Moment(1, datetime.now(UTC)))


def test_files_and_rows_of_the_past(lake: Lake, golden: ModuleType) -> None:
    key = golden.FIRST.key
    assert len(live_files(lake.uri, key, version=2)) == 2
    assert len(live_files(lake.uri, key)) == 3
    assert read_table(lake.uri, "image-rq", version=2, columns=["offset"]).column(0).to_pylist() == [10, 11, 14, 0]


def test_what_is_taken_down_is_hidden_before_its_files_are_rewritten_and_in_the_past(
    lake: Lake, golden: ModuleType
) -> None:
    lake.commit(Proposal(predicates=(Predicate(PredicateField.URI, "mem://golden-topic/11.png"),)))
    for version in (None, 5, 2):
        offsets = read_table(lake.uri, golden.FIRST.key, version=version, columns=["offset"]).column(0).to_pylist()
        assert 11 not in offsets
        assert {10, 14} <= set(offsets)
    assert len(read_table(lake.uri, golden.SECOND.key)) == 2
