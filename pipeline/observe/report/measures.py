"""How near a reconstruction is to its original."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pipeline.observe.report.samples import Pixels, Samples

_PEAK = 255.0
_FRAME = 512
_HOP = 128
_FLOOR_DB = 60.0


def psnr_db(original: Pixels, reconstruction: Pixels) -> float:
    """10 log10(255² / mean squared error) over all pixels and channels; inf where they are equal."""
    error = original.astype(np.float64) - reconstruction.astype(np.float64)
    mean = float(np.mean(error * error))
    return math.inf if mean == 0 else 10 * math.log10(_PEAK * _PEAK / mean)


def si_sdr_db(original: Samples, reconstruction: Samples) -> float | None:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019), without the means.

    Args:
        original, reconstruction: `[N]` each; the longer one is cut.

    Returns:
        dB; inf where they are equal but for their loudness, None where one of them is silent.
    """
    target, estimate = _pair(original, reconstruction)
    if not len(target):
        return None
    target, estimate = target - target.mean(), estimate - estimate.mean()
    energy = float(target @ target)
    if not energy or not float(estimate @ estimate):
        return None
    projected = (float(estimate @ target) / energy) * target
    rest = estimate - projected
    noise = float(rest @ rest)
    signal = float(projected @ projected)
    if noise <= 1e-12 * signal:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def log_spectral_db(original: Samples, reconstruction: Samples) -> float | None:
    """Log-spectral distance (Gray and Markel 1976): per frame the root mean square over frequencies, then the mean.

    Spectra of 512 samples under a Hann window, every 128; what lies 60 dB or more below the original's loudest bin
    counts as there.

    Args:
        original, reconstruction: `[N]` each; the longer one is cut.

    Returns:
        dB; None where the original is silent or shorter than a frame.
    """
    target, estimate = _pair(original, reconstruction)
    if len(target) < _FRAME or not target.any():
        return None
    before, after = _power(target), _power(estimate)
    floor = before.max() * 10 ** (-_FLOOR_DB / 10)
    difference = 10 * np.log10(np.maximum(before, floor) / np.maximum(after, floor))
    return float(np.sqrt((difference * difference).mean(axis=1)).mean())


def _pair(original: Samples, reconstruction: Samples) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    count = min(len(original), len(reconstruction))
    return original[:count].astype(np.float64), reconstruction[:count].astype(np.float64)


def _power(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`[frames, bins]`."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1)) ** 2
