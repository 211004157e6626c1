"""That all sides do the same work, and that one that fails says so."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from operators.records import Modality
from tests.bench.flow_alone import flow_alone
from tests.bench.operators import Preparing, Tokenizing, Whole, Work, flat, work_of
from tests.bench.pictures import make_pictures
from tests.bench.rival import run_rival, table_of
from tests.bench.throughput import bench_config
from tests.bench.timing import calls_in


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    (tmp_path / "media").mkdir()
    return make_pictures(tmp_path / "media", 5)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return work_of(bench_config(tmp_path, Modality.IMAGE, 2, {"image-rq": "image-rq"}))


def test_one_stage_and_two_give_the_same_tokens(
    pictures: list[Path], work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as the sides do; put back for the tests that come after
    paths = [str(path) for path in pictures]
    (tmp_path / "marks").mkdir()
    whole = Whole(work, tmp_path / "marks")(paths)
    staged = dict(Tokenizing(work)(Preparing(work)(paths)))
    assert [len(flat(windows)) for windows in whole] == [32 * 32 * 4] * 5
    for path, windows in zip(paths, whole, strict=True):
        assert np.array_equal(flat(windows), staged[path])
    assert sum(call.amount for call in calls_in(tmp_path / "marks")) == 5


def test_a_table_has_a_row_a_file():
    tokens = [[np.asarray([1, 2], np.uint16), np.asarray([3], np.uint16)], []]
    table = table_of(["a", "b"], tokens)
    assert table["path"].to_pylist() == ["a", "b"]
    assert table["tokens"].to_pylist() == [[1, 2, 3], []]


def test_a_rival_that_fails_says_why(pictures: list[Path], work: Work):
    ran = run_rival(Path(sys.executable), "tests.bench.no_such_side", work, pictures, {}, 60.0)
    assert ran.hz == 0.0
    assert "no_such_side" in ran.note


def test_a_rival_that_hangs_is_ended(pictures: list[Path], work: Work):
    ran = run_rival(Path(sys.executable), "tests.bench.hanging_side", work, pictures, {}, 0.5)
    assert ran.hz == 0.0
    assert "not done after" in ran.note


def test_the_flow_alone_settles_every_reference():
    cost = flow_alone(2_000)
    assert cost.references == 2_000
    assert cost.hz > 0
