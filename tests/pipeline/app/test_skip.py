from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from operators.errors import ConfigError
from pipeline.app.skip import parse_log, skip_offsets
from pipeline.lake.lake import Lake
from pipeline.records import SourcePartition

GOLDEN = Path(__file__).parents[2] / "golden" / "lake-v1"
LOG = SourcePartition("golden-topic", 0)


@pytest.fixture
def lake(tmp_path: Path) -> str:
    shutil.copytree(GOLDEN, tmp_path / "lake")
    return str(tmp_path / "lake")


def positions(lake: str) -> dict[str, int]:
    state = Lake.open(lake, read_only=True).state
    running = [key for key, each in state.products.items() if each.open]
    found = {key: state.position(key, LOG) for key in running}
    return {key: position for key, position in found.items() if position is not None}


def test_what_is_skipped_is_not_owed_any_more_in_any_running_product(lake: str, capsys) -> None:
    before = positions(lake)
    assert before
    end = max(before.values()) + 100
    assert skip_offsets(lake, "golden-topic/0", 0, end, "expired", None) == 0
    assert positions(lake) == dict.fromkeys(before, end)
    assert "are void (expired)" in capsys.readouterr().out


def test_skipping_again_changes_nothing(lake: str, capsys) -> None:
    skip_offsets(lake, "golden-topic/0", 0, 500, "expired", None)
    version = Lake.open(lake, read_only=True).state.version
    assert skip_offsets(lake, "golden-topic/0", 0, 500, "expired", None) == 0
    assert Lake.open(lake, read_only=True).state.version == version
    assert "nothing to skip" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("log", "start", "end", "reason", "says"),
    [
        ("golden-topic", 0, 1, "expired", "source_id/partition"),
        ("golden-topic/x", 0, 1, "expired", "source_id/partition"),
        ("golden-topic/0", 7, 7, "expired", "below the end"),
        ("golden-topic/0", -1, 7, "expired", "below the end"),
        ("golden-topic/0", 0, 7, "bored", "expired, taken_down"),
        ("another/0", 0, 7, "expired", "no running product"),
    ],
)
def test_a_wrong_argument_is_named(lake: str, log: str, start: int, end: int, reason: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        skip_offsets(lake, log, start, end, reason, None)


def test_no_lake_is_made_by_skipping(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no lake"):
        skip_offsets(str(tmp_path / "nothing"), "a/0", 0, 1, "expired", None)
    assert not list((tmp_path / "nothing").rglob("*.json"))


def test_a_source_id_may_hold_slashes() -> None:
    assert parse_log("a/b/3") == SourcePartition("a/b", 3)
