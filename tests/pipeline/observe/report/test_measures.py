from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.observe.report.measures import log_spectral_db, psnr_db, si_sdr_db


def test_psnr_is_what_the_formula_gives_by_hand() -> None:
    original = np.full((2, 2, 3), 250, np.uint8)
    off = original.copy()
    off[0, 0, 0] = 240
    # One of twelve values is off by 10: a mean squared error of 100 / 12, and no wrap at 255.
    assert psnr_db(original, off) == pytest.approx(10 * math.log10(255 * 255 * 12 / 100))
    assert psnr_db(off, original) == psnr_db(original, off)
    assert psnr_db(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)) == pytest.approx(0.0)


def test_equal_pictures_have_no_distance() -> None:
    assert psnr_db(np.ones((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)) == math.inf


def test_si_sdr_is_the_energy_of_the_target_by_that_of_the_rest() -> None:
    target = np.asarray([1, -1, 1, -1], np.float32)
    noise = np.asarray([1, 1, -1, -1], np.float32)
    assert si_sdr_db(target, target + np.float32(0.1) * noise) == pytest.approx(20.0, abs=1e-4)


def test_si_sdr_does_not_hear_loudness() -> None:
    target = np.asarray([1, -2, 3, -2], np.float32)
    assert si_sdr_db(target, 5 * target) == math.inf


def test_si_sdr_of_silence_is_unknown() -> None:
    assert si_sdr_db(np.zeros(8, np.float32), np.ones(8, np.float32)) is None
    assert si_sdr_db(np.ones(0, np.float32), np.ones(8, np.float32)) is None


def test_half_the_amplitude_is_six_decibels_at_every_frequency() -> None:
    sound = np.random.default_rng(0).standard_normal(4096).astype(np.float32)
    assert log_spectral_db(sound, sound / 2) == pytest.approx(20 * math.log10(2), abs=0.05)
    assert log_spectral_db(sound, sound) == 0.0


def test_log_spectral_distance_of_silence_or_of_less_than_a_frame_is_unknown() -> None:
    assert log_spectral_db(np.zeros(4096, np.float32), np.ones(4096, np.float32)) is None
    assert log_spectral_db(np.ones(100, np.float32), np.ones(100, np.float32)) is None
