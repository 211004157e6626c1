"""Two kills of each: the rows are an undisturbed run's, and nothing is left. `python -m tests.recovery` times it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.recovery.__main__ import recover
from tests.recovery.corpus import Amount, make_copies, make_originals, original_of
from tests.recovery.kills import Case, RoundReport
from tests.recovery.process import Left

TIMES = 2


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[RoundReport]:
    return recover(tmp_path_factory.mktemp("recovery") / "all", list(Case), TIMES, seed=1)


@pytest.mark.marathon
@pytest.mark.ray
@pytest.mark.timeout(1200)
def test_each_was_killed_and_came_back(reports: list[RoundReport]) -> None:
    kills = [kill for report in reports for kill in report.kills]
    assert Counter(kill.case for kill in kills) == dict.fromkeys(Case, TIMES)
    assert [kill for kill in kills if kill.back_s is None] == []
    assert sum(kill.outlived for kill in kills) == 0, "Ray ends a killed coordinator's actors"


@pytest.mark.marathon
@pytest.mark.ray
@pytest.mark.timeout(1200)
def test_every_file_has_the_rows_of_an_undisturbed_run_and_nothing_is_left(reports: list[RoundReport]) -> None:
    for report in reports:
        assert report.differing == []
        assert (report.count.lost, report.count.repeated, report.count.unknown, report.count.uncovered) == (0, 0, 0, 0)
        assert report.count.letters == 0
        assert report.left == Left(leases=0, credit_bytes=0)


def test_copies_have_other_bytes_and_name_their_original(tmp_path: Path) -> None:
    make_originals(tmp_path / "originals")
    make_copies(tmp_path / "originals", tmp_path / "media", Amount(films=3, sounds=2, pictures=5))
    copies = sorted((tmp_path / "media").iterdir())
    assert len(copies) == 10
    assert {original_of(copy.name) for copy in copies} <= {path.name for path in (tmp_path / "originals").iterdir()}
    films = [copy.read_bytes() for copy in copies if copy.suffix == ".mp4"]
    assert len(set(films)) == len(films)
