from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from pipeline.observe.report.drawing import BARS, loudest, ticks_s, waveform_path


def halves(path: str) -> list[float]:
    """How far each stroke reaches from the middle."""
    return [(float(low) - float(high)) / 2 for high, low in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", path)]


def test_a_waveform_has_a_stroke_a_bar_as_high_as_its_sound() -> None:
    sound = np.repeat(np.linspace(0.1, 1.0, BARS), 10).astype(np.float32)
    found = halves(waveform_path(sound))
    assert len(found) == BARS
    assert found == sorted(found)
    assert found[-1] == pytest.approx(0.96)
    assert found[BARS // 2] == pytest.approx(0.96 * 0.55, abs=0.02)


def test_two_waveforms_can_share_a_scale() -> None:
    quiet, loud = np.full(500, 0.25, np.float32), np.full(500, -1.0, np.float32)
    peak = loudest(quiet, None, loud)
    assert peak == 1.0
    assert max(halves(waveform_path(quiet, peak))) == pytest.approx(0.24)
    assert max(halves(waveform_path(quiet))) == pytest.approx(0.96)


def test_silence_is_a_thin_line_and_nothing_is_nothing() -> None:
    assert halves(waveform_path(np.zeros(500, np.float32))) == pytest.approx([0.02] * BARS)
    assert waveform_path(np.zeros(0, np.float32)) == ""
    assert loudest(None, np.zeros(3, np.float32)) is None


def test_a_sound_shorter_than_the_bars_still_fills_them() -> None:
    assert len(halves(waveform_path(np.ones(7, np.float32)))) == BARS


@pytest.mark.parametrize("duration_s", [0.3, 2.0, 11.9, 24.0, 59.0, 600.0, 7200.0])
def test_ticks_are_even_few_and_within_the_axis(duration_s: float) -> None:
    ticks = ticks_s(duration_s)
    assert ticks[0] == 0
    assert len(ticks) <= 13
    assert ticks[-1] <= duration_s
    assert len({round(b - a, 6) for a, b in pairwise(ticks)}) <= 1


def test_an_axis_without_length_has_one_tick() -> None:
    assert ticks_s(0.0) == (0.0,)
