from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.bench.films_at_1hz import WAYS, Shown
from tests.making.film import write_film


@pytest.mark.parametrize("gop_s", [0.2, 0.48, 1.0, 2.4, 60.0])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_every_way_shows_the_frame_that_is_on_screen(tmp_path: Path, gop_s: float, b_frames: int):
    path = write_film(tmp_path / "film.mp4", 6.0, Fraction(25), gop_s=gop_s, b_frames=b_frames)
    expected: list[Shown] = [(t, Fraction(t)) for t in range(6)]
    for name, way in WAYS.items():
        assert way(path, 6) == expected, name


def test_between_two_frames_it_is_the_earlier_one(tmp_path: Path):
    path = write_film(tmp_path / "film.mp4", 6.0, Fraction(30_000, 1001), gop_s=0.5)
    step_s = Fraction(1001, 30_000)
    expected = [t // step_s * step_s for t in range(6)]
    for name, way in WAYS.items():
        assert [float(at_s) for _, at_s in way(path, 6)] == pytest.approx([float(at_s) for at_s in expected]), name
