"""Fits the codebooks of the MDCT codec: the envelope's, the whitening, then the shape's group by group."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from operators.errors import ConfigError
from operators.fit.kmeans import kmeans, nearest
from operators.fit.mdct_synthesis import SynthesisSettings, train_synthesis
from operators.fit.residual_quantizer import Progress, quiet
from operators.fit.sounds import Sound, varied
from operators.models.beam_quantizer import BeamQuantizer
from operators.models.mdct import frames_of
from operators.models.mdct_codec import (
    BEAMS,
    ENVELOPE_SCALE,
    GAIN_SCALE,
    HOP,
    SHAPE_LIMIT,
    Analysis,
    Group,
    MdctCodecWeights,
    band_members,
    companded_energies,
)
from operators.models.mdct_synthesis import SHAPE_UNIT
from operators.models.precision import exact_fp32

GROUPS = (
    Group(0, 28, 4),
    Group(28, 60, 2),
    Group(60, 120, 1),
    Group(0, 28, 2),
    Group(28, 60, 1),
    Group(60, 120, 1),
)
"""The first three with the envelope's are 8 codebooks, 6 kbit/s; the others refine them to 12, 9 kbit/s."""


@dataclass(frozen=True, slots=True)
class MdctFitSettings:
    """What a fit depends on, besides its recordings.

    Attributes:
        codebook_size: codewords a codebook.
        groups: which coefficients have how many codebooks.
        whitening: γ: coefficients are divided by about their band's amplitude to this power.
        iterations: of k-means a codebook.
        vectors: how many frames k-means sees, at most.
        synthesis: of the inverse.
        seed: of every random choice.
    """

    codebook_size: int = 1024
    groups: tuple[Group, ...] = GROUPS
    whitening: float = 0.6
    iterations: int = 12
    vectors: int = 196_608
    synthesis: SynthesisSettings = field(default_factory=SynthesisSettings)
    seed: int = 0


def fit_mdct_codec(sounds: Sequence[Sound], settings: MdctFitSettings, progress: Progress = quiet) -> MdctCodecWeights:
    """Learn a codec from recordings at 24 kHz.

    Deterministic given recordings, settings, and one machine's arithmetic.

    Raises:
        ConfigError: there are fewer frames than codewords.
    """
    progress("transforming", 0.0)
    rng = np.random.default_rng(settings.seed)
    analysis = Analysis(torch.zeros(1, len(band_members()[0])), torch.ones(1, len(band_members()[0])))
    clips = [_coefficients(varied(sound, rng), analysis) for sound in sounds]
    frames = torch.cat(clips) if clips else torch.zeros(0, HOP)
    if len(frames) < settings.codebook_size:
        raise ConfigError(f"{len(frames)} frames are too few for {settings.codebook_size} codewords")
    drawn = torch.randperm(len(frames), generator=torch.Generator().manual_seed(settings.seed))
    frames = frames[drawn[: settings.vectors]]
    progress("codebook 1, the envelope", 0.05)
    envelope, gains, shape = _fit_envelope(frames, settings)
    codebooks = _fit_groups(shape, settings, progress)
    bare = MdctCodecWeights(envelope, gains, settings.groups, codebooks, {})
    synthesis = train_synthesis(bare, clips, settings.synthesis, settings.seed, progress)
    return dataclasses.replace(bare, synthesis=synthesis)


def _coefficients(sound: Sound, analysis: Analysis) -> Tensor:
    """`[T, 320]` float32: whole numbers below 2**20, which float32 holds exactly."""
    with exact_fp32():
        frames = frames_of(torch.nn.functional.pad(torch.from_numpy(sound), (HOP, 0)), HOP)
        return torch.cat([analysis.mdct(part) for part in frames.split(4096)]).to(torch.float32)


def _fit_envelope(frames: Tensor, settings: MdctFitSettings) -> tuple[Tensor, Tensor, Tensor]:
    """`[F, 320]` -> the envelope's codebook `[K, B]`, its gains, and the frames whitened with them."""
    members = band_members()
    energies = torch.cat(
        [companded_energies(part.to(torch.float64), members, members.sum(0)) for part in frames.split(8192)]
    )
    envelope = kmeans(energies, settings.codebook_size, iterations=settings.iterations, seed=settings.seed).round()
    codes, _ = nearest(energies, envelope)
    # Energies below those of rounding to 16 bits are not told apart.
    power = (envelope.to(torch.float64) / ENVELOPE_SCALE).pow(8).clamp_min(1.0)
    relative = power.pow(-settings.whitening / 2)
    coded = max(group.high for group in settings.groups)
    whitened = frames.double() * Analysis(envelope, relative * GAIN_SCALE).factors(codes)
    scale = SHAPE_UNIT / float(whitened[:, :coded].std().clamp_min(1e-6))
    gains = (relative * scale * GAIN_SCALE).round().clamp(1, 2**24)
    analysis = Analysis(envelope, gains)
    shape = torch.cat(
        [
            analysis.whiten(part.double(), found)
            for part, found in zip(frames.split(8192), codes.split(8192), strict=True)
        ]
    )
    return envelope, gains, shape[:, :coded]


def _fit_groups(shape: Tensor, settings: MdctFitSettings, progress: Progress) -> tuple[Tensor, ...]:
    """Whitened frames `[F, D]` -> each group's codebooks; later groups see what the search leaves of earlier ones."""
    left, fitted, done = shape.clone(), list[Tensor](), 1
    for group in settings.groups:
        part = left[:, group.low : group.high].clamp(-SHAPE_LIMIT, SHAPE_LIMIT)
        residual, books = part, list[Tensor]()
        for _ in range(group.books):
            done += 1
            total = 1 + sum(each.books for each in settings.groups)
            progress(f"codebook {done} of {total}", 0.05 + 0.6 * done / total)
            centres = kmeans(
                residual, settings.codebook_size, iterations=settings.iterations, seed=settings.seed + done
            ).round()
            books.append(centres)
            residual = residual - centres[nearest(residual, centres)[0]]
        fitted.append(torch.stack(books))
        quantizer = BeamQuantizer(fitted[-1], SHAPE_LIMIT * (group.high - group.low) ** 0.5, BEAMS)
        if any(other.low < group.high and group.low < other.high for other in settings.groups[len(fitted) :]):
            with exact_fp32():
                summed = [quantizer.decode(quantizer.encode(few)) for few in part.split(512)]
            left[:, group.low : group.high] = part - torch.cat(summed)
    return tuple(fitted)
