"""How near a reconstruction is to its original sound."""

from __future__ import annotations

import importlib
import importlib.util
import math

import numpy as np
import soxr
import torch

from operators.fit.sounds import Sound

FRAME, STEP = 1024, 256
FLOOR = 1e-4
"""Added to powers, whose full scale is about 1e5: 90 dB below it, differences count no more."""
AUDIBLE_DB = -10.0
"""Frames without a bin above this are left out of the log-spectral distance."""


def si_sdr_db(original: Sound, found: Sound) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019)."""
    target, estimate = (sound.astype(np.float64) - sound.mean(dtype=np.float64) for sound in (original, found))
    energy = float(target @ target)
    scaled = target * (float(target @ estimate) / max(energy, 1e-20))
    error = estimate - scaled
    return 10 * math.log10(max(float(scaled @ scaled), 1e-20) / max(float(error @ error), 1e-20))


def log_spectral_distance_db(original: Sound, found: Sound) -> float:
    """Root mean square over frequencies of the differences of power spectra in dB, averaged over audible frames."""
    first, second = _spectrum_db(original), _spectrum_db(found)
    audible = first.amax(0) > AUDIBLE_DB
    if not bool(audible.any()):
        return 0.0
    return float((first - second)[:, audible].square().mean(0).sqrt().mean())


def _spectrum_db(sound: Sound) -> torch.Tensor:
    padded = torch.nn.functional.pad(torch.from_numpy(np.array(sound)), (0, max(0, FRAME - len(sound))))
    spectrum = torch.stft(padded, FRAME, STEP, window=torch.hann_window(FRAME), return_complex=True)
    return 10 * torch.log10(spectrum.abs().square() + FLOOR)


def stoi(original: Sound, found: Sound, rate_hz: int) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011); None where the package `pystoi` is not installed."""
    if importlib.util.find_spec("pystoi") is None:
        return None
    return float(importlib.import_module("pystoi").stoi(original, found, rate_hz))


def pesq(original: Sound, found: Sound, rate_hz: int) -> float | None:
    """PESQ at 16 kHz, wide band (ITU-T P.862.2); None where the package `pesq` is not installed."""
    if importlib.util.find_spec("pesq") is None:
        return None
    both = (soxr.resample(sound, rate_hz, 16000, quality="VHQ") for sound in (original, found))
    return float(importlib.import_module("pesq").pesq(16000, *both, "wb"))
