"""Sound as codes of its MDCT frames, and back: an envelope, then the whitened shape in bands, then a learned inverse.

A frame's energies in bands that widen with frequency, to the power 1/8, are quantized with one codebook. Its codeword
whitens the frame: each coefficient is multiplied by about envelope ** -γ (γ < 1 leaves louder bands more of the bits,
as noise near loud sound is masked; after the gain-adaptive and TwinVQ coders, Iwakami et al. 1995). Groups of
codebooks then code ranges of coefficients, low ones with more books, each group by a beam search of its own.

Everything up to the codes is exact, so that a code depends on its 640 samples alone, not on the batch, the threads or
the device. Coefficients are whole (see `mdct`); energies are sums of squares below 2**53; division and square roots
are correctly rounded by IEEE 754, and the power 1/8 is three square roots; the whitening factors are whole numbers,
read from the weights and interpolated with whole weights; the search is exact (see `beam_quantizer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from operators.errors import ConfigError
from operators.models.beam_quantizer import BeamQuantizer
from operators.models.mdct import Mdct
from operators.models.mdct_synthesis import MdctSynthesis
from operators.models.precision import encoding, exact_fp32
from operators.models.residual_quantizer import ResidualQuantizer
from operators.tokenize.base import Precision

HOP = 320
RATE_HZ = 24000
BEAMS = 3
CHUNK = 256
"""Frames at a time: their scores, 3 MiB, stay in the cache."""
GPU_CHUNK = 8192
"""On a GPU: their scores take 100 MiB."""

EDGES = (0, 3, 6, 9, 13, 17, 22, 28, 35, 44, 55, 68, 84, 104, 130, 165, 215, 320)
"""Of the envelope's bands, in coefficients of 37.5 Hz."""
ENVELOPE_SCALE = 16.0
"""Companded energies are whole multiples of 1 / ENVELOPE_SCALE."""
ENVELOPE_LONGEST = 2000.0
"""A frame's energy is at most that of its 640 samples, 640 · 2**30; were all of it in a band of 3 coefficients, its
companded energy would be 420, and √17 · 420 < 2000."""
INTERPOLATION = 64
"""Weights of interpolated bands are whole multiples of 1 / INTERPOLATION."""
GAIN_SCALE = 65536.0
SHAPE_LIMIT = 320.0
"""Whitened coefficients are clipped to this; their standard deviation is about 8, that of loud frames 30."""

NOISE_SHARE = 0.5
"""Of the noise that the synthesis asks for: it learned to match spectra in the mean of their logarithms. Of 0, 0.5,
0.75 and 1 the one with about the least spectral distance; none at all has the best PESQ, but sounds hollow."""


@dataclass(frozen=True, slots=True)
class Group:
    """Codebooks that code one range of coefficients, [low, high); later groups code what earlier ones left."""

    low: int
    high: int
    books: int


@dataclass(frozen=True, slots=True, eq=False)
class MdctCodecWeights:
    """All that is learned, and how it is stored.

    Attributes:
        envelope: `[K, B]`, whole: companded energies times ENVELOPE_SCALE.
        gains: `[K, B]`, whole: for each codeword of the envelope, the whitening factors times GAIN_SCALE.
        groups: in the order of their codes, after the envelope's.
        codebooks: one `[books, K, high - low]` a group, whole.
        synthesis: the inverse's.
    """

    envelope: Tensor
    gains: Tensor
    groups: tuple[Group, ...]
    codebooks: tuple[Tensor, ...]
    synthesis: Mapping[str, Tensor]

    @property
    def codebook_count(self) -> int:
        """With the envelope's."""
        return 1 + sum(group.books for group in self.groups)

    @property
    def coded(self) -> int:
        """Coefficients that have codes."""
        return max(group.high for group in self.groups)

    def tensors(self) -> dict[str, Tensor]:
        """For storage: integers as int16 and int32, the synthesis as float16."""
        rows = [[group.low, group.high, group.books] for group in self.groups]
        stored = {
            "envelope": self.envelope.to(torch.int16).contiguous(),
            "gains": self.gains.to(torch.int32).contiguous(),
            "groups": torch.tensor(rows, dtype=torch.int32),
        }
        stored |= {f"codebooks.{n}": books.to(torch.int16).contiguous() for n, books in enumerate(self.codebooks)}
        return stored | {f"synthesis.{name}": tensor.contiguous() for name, tensor in self.synthesis.items()}

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> MdctCodecWeights:
        """From storage.

        Raises:
            ConfigError: a tensor is missing or does not fit the others.
        """
        missing = [name for name in ("envelope", "gains", "groups") if name not in tensors]
        if missing:
            raise ConfigError(f"weights lack {', '.join(missing)}; they have {', '.join(sorted(tensors))}")
        groups = tuple(Group(*(int(entry) for entry in row)) for row in tensors["groups"])
        missing = [f"codebooks.{n}" for n in range(len(groups)) if f"codebooks.{n}" not in tensors]
        if missing or not groups:
            raise ConfigError(f"weights lack {', '.join(missing) or 'groups'}")
        envelope, gains = tensors["envelope"].to(torch.float32), tensors["gains"].to(torch.float64)
        size = envelope.shape[0]
        if envelope.shape != gains.shape or envelope.shape[1:] != (len(EDGES) - 1,) or bool((gains < 1).any()):
            raise ConfigError(f"envelope {tuple(envelope.shape)} and gains {tuple(gains.shape)} do not fit")
        codebooks = tuple(tensors[f"codebooks.{n}"].to(torch.float32) for n in range(len(groups)))
        for group, books in zip(groups, codebooks, strict=True):
            within = 0 <= group.low < group.high <= HOP and group.books >= 1
            if not within or tuple(books.shape) != (group.books, size, group.high - group.low):
                raise ConfigError(f"codebooks {tuple(books.shape)} do not fit {group}")
        prefix = "synthesis."
        synthesis = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        return MdctCodecWeights(envelope, gains, groups, codebooks, synthesis)


class MdctEncoder(nn.Module):
    """Frames `[F, 640]` -> codes `[F, K]`: the envelope's, then group after group. Exact.

    Args:
        weights: as fitted.
        codebooks: how many codes a frame to give. A group that they reach into is searched whole, and its codes are
            cut then: fewer codes are always a prefix of more.

    Attributes:
        precision: of the transform; see `Mdct.rounded`.

    Raises:
        ConfigError: the weights can't be used exactly, or have fewer codebooks.
    """

    def __init__(self, weights: MdctCodecWeights, codebooks: int) -> None:
        super().__init__()
        if not 1 <= codebooks <= weights.codebook_count:
            raise ConfigError(f"codebooks must be 1..{weights.codebook_count}, not {codebooks}")
        self.count, self.total = codebooks, weights.codebook_count
        self.precision = Precision.FLOAT32
        self.analysis = Analysis(weights.envelope, weights.gains)
        self.groups = weights.groups
        self.coded = weights.coded
        self.quantizers = nn.ModuleList(
            BeamQuantizer(books, SHAPE_LIMIT * (group.high - group.low) ** 0.5, BEAMS)
            for group, books in zip(weights.groups, weights.codebooks, strict=True)
        )

    def encode(self, frames: Tensor) -> Tensor:
        """`[F, 640]` float32 samples -> `[F, K]` int64."""
        found, chunk = list[Tensor](), CHUNK if frames.device.type == "cpu" else GPU_CHUNK
        for part in frames.split(chunk):
            with encoding(self.precision, frames.device.type):
                mdct = self.analysis.mdct
                coefficients = mdct(part) if self.precision is Precision.FLOAT32 else mdct.rounded(part)
            with exact_fp32():
                found.append(self.codes_of(coefficients))
        return torch.cat(found)

    def codes_of(self, coefficients: Tensor) -> Tensor:
        """`[F, 320]` whole numbers in float64 -> `[F, K]` int64; `encode` sees to precision and chunks."""
        envelope = self.analysis.envelope_codes(coefficients)
        left = self.analysis.whiten(coefficients, envelope)[:, : self.coded]
        codes, found = [envelope[:, None]], 1
        for group, quantizer in zip(self.groups, self.quantizers, strict=True):
            if found >= self.count:
                break
            assert isinstance(quantizer, BeamQuantizer)
            part = left[:, group.low : group.high].clamp(-SHAPE_LIMIT, SHAPE_LIMIT)
            codes.append(quantizer.encode(part))
            left[:, group.low : group.high] = part - quantizer.decode(codes[-1])
            found += group.books
        return torch.cat(codes, dim=1)[:, : self.count]

    def shape_of(self, codes: Tensor) -> Tensor:
        """Codes `[F, K]` -> whitened coefficients `[F, D]`: the sums of codewords."""
        shape = torch.zeros((len(codes), self.coded), device=codes.device)
        at = 1
        for group, quantizer in zip(self.groups, self.quantizers, strict=True):
            assert isinstance(quantizer, BeamQuantizer)
            shape[:, group.low : group.high] += quantizer.decode(codes[:, at : at + group.books])
            at += group.books
        return shape

    def envelope_of(self, codes: Tensor) -> Tensor:
        """Codes `[F, K]` -> `[F, B]`, as in `MdctCodecWeights.envelope`."""
        return self.analysis.envelope.codebooks[0][codes[:, 0].long()]


class MdctCodec(nn.Module):
    """Sound <-> codes; see `MdctEncoder` for its arguments and errors."""

    def __init__(self, weights: MdctCodecWeights, codebooks: int) -> None:
        super().__init__()
        self.encoder = MdctEncoder(weights, codebooks)
        self.synthesis = MdctSynthesis.of(weights.synthesis, weights.coded, len(EDGES) - 1, HOP)

    def encode(self, frames: Tensor) -> Tensor:
        """`[F, 640]` float32 samples, F >= 1 -> `[F, K]` int64."""
        return self.encoder.encode(frames)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `[T, K]` of frames in a row, T >= 1 -> `[T * 320]` float32 samples in [-1, 1].

        The noise is drawn from a fixed seed: equal codes give equal sound.
        """
        analysis = self.encoder.analysis
        with exact_fp32():
            noise = torch.randn((len(codes), HOP), generator=torch.Generator().manual_seed(0)).to(codes.device)
            whitened = self.synthesis(
                self.encoder.shape_of(codes)[None],
                self.encoder.envelope_of(codes)[None],
                torch.full((1, len(codes), 1), codes.shape[1] / self.encoder.total, device=codes.device),
                NOISE_SHARE * noise[None],
                analysis.spread.to(torch.float32) / INTERPOLATION,
            )[0]
            coefficients = whitened / analysis.factors(codes[:, 0].long()).to(torch.float32)
            return analysis.mdct.overlap_add(coefficients).clamp(-1.0, 1.0)


class Analysis(nn.Module):
    """What comes before the search: coefficients, envelope, whitening.

    Args:
        envelope: `[K, B]`, see `MdctCodecWeights`.
        gains: `[K, B]`.
    """

    gains: Tensor
    spread: Tensor
    members: Tensor
    widths: Tensor

    def __init__(self, envelope: Tensor, gains: Tensor) -> None:
        super().__init__()
        self.mdct = Mdct(HOP)
        self.envelope = ResidualQuantizer(envelope[None], ENVELOPE_LONGEST)
        self.register_buffer("gains", gains.to(torch.float64))
        self.register_buffer("spread", band_spread())
        self.register_buffer("members", band_members())
        self.register_buffer("widths", band_members().sum(0))

    def envelope_codes(self, coefficients: Tensor) -> Tensor:
        """`[F, 320]` -> `[F]` int64."""
        return self.envelope.encode(companded_energies(coefficients, self.members, self.widths))[:, 0]

    def factors(self, envelope: Tensor) -> Tensor:
        """Codes `[F]` -> `[F, 320]` float64: what each coefficient is multiplied by."""
        return self.gains[envelope] @ self.spread / (INTERPOLATION * GAIN_SCALE)

    def whiten(self, coefficients: Tensor, envelope: Tensor) -> Tensor:
        """`[F, 320]` and `[F]` -> `[F, 320]` whole numbers in float32."""
        return (coefficients * self.factors(envelope)).round().to(torch.float32)


def companded_energies(coefficients: Tensor, members: Tensor, widths: Tensor) -> Tensor:
    """`[F, 320]` whole -> `[F, B]` whole in float32: each band's mean energy to the power 1/8, times ENVELOPE_SCALE."""
    energies = coefficients.square() @ members / widths
    return (energies.sqrt().sqrt().sqrt() * ENVELOPE_SCALE).round().to(torch.float32)


def band_members() -> Tensor:
    """`[320, B]` float64: 1 where a coefficient lies in a band."""
    at = torch.arange(HOP)[:, None]
    edges = torch.tensor(EDGES)
    return ((at >= edges[:-1]) & (at < edges[1:])).to(torch.float64)


def band_spread() -> Tensor:
    """`[B, 320]` float64: linear interpolation between the bands' middles, in whole multiples of 1 / INTERPOLATION."""
    edges = torch.tensor(EDGES, dtype=torch.float64)
    middles = (edges[:-1] + edges[1:] - 1) / 2
    at = torch.arange(HOP, dtype=torch.float64)
    upper = torch.searchsorted(middles, at).clamp(1, len(middles) - 1)
    share = ((at - middles[upper - 1]) / (middles[upper] - middles[upper - 1])).clamp(0, 1)
    share = (share * INTERPOLATION).round()
    one_hot = functional.one_hot
    below = one_hot(upper - 1, len(middles)) * (INTERPOLATION - share)[:, None]
    above = one_hot(upper, len(middles)) * share[:, None]
    return (below + above).T.contiguous()
