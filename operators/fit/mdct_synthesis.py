"""Trains the MDCT codec's inverse: on what its codes keep of recordings, to sound like them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from operators.fit.residual_quantizer import Progress
from operators.models.mdct_codec import CHUNK, EDGES, HOP, INTERPOLATION, MdctCodecWeights, MdctEncoder
from operators.models.mdct_synthesis import SHAPE_UNIT, MdctSynthesis
from operators.models.precision import exact_fp32

RESOLUTIONS = (512, 1024, 2048)
"""Samples of the spectra that are compared."""
COMPRESSED = 0.3
"""Power to which magnitudes are compared, about as loudness goes."""
QUIET = 1e-4
"""Added to magnitudes, times the root of the resolution."""


@dataclass(frozen=True, slots=True)
class SynthesisSettings:
    """What the training depends on, besides codebooks and recordings.

    Attributes:
        width: hidden channels.
        steps: of the optimizer.
        batch: excerpts a step.
        frames: of an excerpt.
        rate: the highest learning rate.
        waveform: weight of the coefficients' own squared error, against spectra's: more of it keeps nearer to the
            waveform, less of it sounds fuller.
    """

    width: int = 192
    steps: int = 700
    batch: int = 24
    frames: int = 48
    rate: float = 2e-3
    waveform: float = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Excerpts:
    """Some frames of some recordings: codes `[B, T, K]`, coefficients `[B, T, 320]`."""

    codes: Tensor
    coefficients: Tensor


def train_synthesis(
    weights: MdctCodecWeights, clips: Sequence[Tensor], settings: SynthesisSettings, seed: int, progress: Progress
) -> dict[str, Tensor]:
    """Minimize the distance of spectra at several resolutions (Yamamoto et al. 2020), and of the coefficients.

    Every other step sees fewer or more codes than the default 8, so that one inverse serves all.

    Args:
        weights: their synthesis is not looked at.
        clips: coefficients `[T, 320]`, whole numbers in float32.
        settings: see there.
        seed: of every random choice.
        progress: told from 0.7 on.

    Returns:
        The inverse's tensors, for storage.
    """
    encoder = MdctEncoder(weights, weights.codebook_count)
    progress("encoding", 0.66)
    long_enough = [clip for clip in clips if len(clip) >= settings.frames] or [_padded(clips, settings.frames)]
    pairs = [(_encoded(encoder, clip), clip) for clip in long_enough]
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MdctSynthesis(weights.coded, len(EDGES) - 1, HOP, settings.width)
        optimizer = torch.optim.AdamW(model.parameters(), settings.rate, betas=(0.9, 0.98), weight_decay=1e-3)
        for step in range(settings.steps):
            if step % 20 == 0:
                progress(f"synthesis, step {step} of {settings.steps}", 0.7 + 0.28 * step / settings.steps)
            rate = min(1.0, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / settings.steps))
            optimizer.param_groups[0]["lr"] = settings.rate * rate
            kept = min(8, encoder.total) if step % 2 else int(rng.integers(1, encoder.total + 1))
            loss = _loss(model, encoder, _drawn(pairs, settings, rng), kept, settings.waveform)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.tensors()


def _encoded(encoder: MdctEncoder, clip: Tensor) -> Tensor:
    with exact_fp32():
        codes = torch.cat([encoder.codes_of(part.to(torch.float64)) for part in clip.split(CHUNK)])
    return codes.clone()


def _padded(clips: Sequence[Tensor], frames: int) -> Tensor:
    """Where all recordings are short: all of them in a row, zeros at the end."""
    joined = torch.cat(list(clips))
    return torch.nn.functional.pad(joined, (0, 0, 0, max(0, frames - len(joined))))


def _drawn(pairs: Sequence[tuple[Tensor, Tensor]], settings: SynthesisSettings, rng: np.random.Generator) -> Excerpts:
    chosen = [pairs[int(index)] for index in rng.integers(0, len(pairs), settings.batch)]
    starts = [int(rng.integers(0, len(clip) - settings.frames + 1)) for _, clip in chosen]
    cut = [(c[s : s + settings.frames], x[s : s + settings.frames]) for (c, x), s in zip(chosen, starts, strict=True)]
    return Excerpts(torch.stack([codes for codes, _ in cut]), torch.stack([values for _, values in cut]))


def _loss(model: MdctSynthesis, encoder: MdctEncoder, drawn: Excerpts, kept: int, waveform: float) -> Tensor:
    batch, frames, _ = drawn.codes.shape
    codes = drawn.codes.flatten(0, 1)[:, :kept]
    factors = encoder.analysis.factors(codes[:, 0]).to(torch.float32).view(batch, frames, -1)
    whitened = model(
        encoder.shape_of(codes).view(batch, frames, -1),
        encoder.envelope_of(codes).view(batch, frames, -1),
        torch.full((batch, frames, 1), kept / encoder.total),
        torch.randn(batch, frames, HOP),
        encoder.analysis.spread.to(torch.float32) / INTERPOLATION,
    )
    wanted = drawn.coefficients * factors
    error = (whitened - wanted)[..., : model.coded].div(SHAPE_UNIT).square().mean()
    inverse = encoder.analysis.mdct.inverse
    spectral = _spectral(_samples(whitened / factors, inverse), _samples(drawn.coefficients, inverse))
    return spectral + waveform * error


def _samples(coefficients: Tensor, inverse: Tensor) -> Tensor:
    """`[B, T, 320]` -> `[B, (T - 1) * 320]`: only where neighbours overlap."""
    frames = coefficients @ inverse
    return (frames[:, 1:, :HOP] + frames[:, :-1, HOP:]).flatten(1)


def _spectral(found: Tensor, wanted: Tensor) -> Tensor:
    total = torch.zeros(())
    for size in RESOLUTIONS:
        first, second = (_magnitudes(sound, size) for sound in (wanted, found))
        total = total + 0.5 * (first.log() - second.log()).abs().mean()
        loud, found_loud = first**COMPRESSED, second**COMPRESSED
        total = total + (loud - found_loud).abs().mean() / loud.mean()
    return total / len(RESOLUTIONS)


def _magnitudes(sound: Tensor, size: int) -> Tensor:
    """`[B, N]` -> `[B, F, T]`; the square root's gradient is kept finite at silence."""
    spectrum = torch.stft(sound, size, size // 4, window=torch.hann_window(size), return_complex=True)
    return (torch.view_as_real(spectrum).square().sum(-1) + 1e-12).sqrt() + QUIET * size**0.5
