"""Images as residual codes of their patches, and back: PCA, residual k-means, a linear inverse that sees neighbours.

Encoding is exact integer arithmetic held in float32 (see `residual_quantizer`): pixels less 128 are whole; the PCA
basis is kept as whole multiples of 1 / BASIS_SCALE; its products are rounded to whole numbers, an error of 0.3 grey
levels a coefficient beside quantization errors of about 10.

Decoding sums a patch's codewords and maps those of its 3×3 neighbourhood linearly to the patch's pixels. A plain
inverse PCA shows the grid of patches; ridge regression on the neighbours learns to blend over the seams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from operators.errors import ConfigError
from operators.models.precision import encoding, exact_fp32
from operators.models.residual_quantizer import EXACT_LIMIT, ResidualQuantizer
from operators.tokenize.base import Precision

BASIS_SCALE = 8192.0
"""A power of two: dividing by it is exact."""
CENTRE = 128.0
"""Subtracted from pixels, which then lie in [-128, 127]."""
NEIGHBOURHOOD = 3
IMAGES_AT_ONCE = 16
"""On a GPU; the scores of one take 4 MiB for 256×256. On a CPU it is one: they stay in the cache then."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchCodecWeights:
    """All that is learned, and how it is stored.

    Attributes:
        basis: `[P * P * 3, D]`, whole multiples of 1 / BASIS_SCALE times BASIS_SCALE; rows in (y, x, channel) order.
        codebooks: `[L, K, D]`, whole numbers.
        synthesis: `[L, P * P * 3, D, 3, 3]`: for each number of layers kept, a convolution from the map of summed
            codewords to centred pixels.
    """

    basis: Tensor
    codebooks: Tensor
    synthesis: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """For storage: integers as int16, the synthesis as float16."""
        return {
            "basis": self.basis.to(torch.int16).contiguous(),
            "codebooks": self.codebooks.to(torch.int16).contiguous(),
            "synthesis": self.synthesis.to(torch.float16).contiguous(),
        }

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> PatchCodecWeights:
        """From storage.

        Raises:
            ConfigError: a tensor is missing or does not fit the others.
        """
        wanted = ("basis", "codebooks", "synthesis")
        missing = [name for name in wanted if name not in tensors]
        if missing:
            raise ConfigError(f"weights lack {', '.join(missing)}; they have {', '.join(sorted(tensors))}")
        basis, codebooks, synthesis = (tensors[name].to(torch.float32) for name in wanted)
        if basis.ndim != 2 or codebooks.ndim != 3 or codebooks.shape[2] != basis.shape[1]:
            raise ConfigError(f"basis {tuple(basis.shape)} and codebooks {tuple(codebooks.shape)} do not fit")
        expected = (codebooks.shape[0], basis.shape[0], basis.shape[1], NEIGHBOURHOOD, NEIGHBOURHOOD)
        if tuple(synthesis.shape) != expected:
            raise ConfigError(f"synthesis must be {expected}, not {tuple(synthesis.shape)}")
        return PatchCodecWeights(basis, codebooks, synthesis)


class PatchCodec(nn.Module):
    """Images `[B, H, W, 3]` uint8 <-> codes `[B, H / P, W / P, L]`.

    Args:
        weights: as fitted.
        layers: how many of the residual layers to use; a shorter stack is a prefix of a longer one.

    Attributes:
        precision: of the projection. In bfloat16 it is rounded to 8 bits before it is rounded to whole numbers: the
            codes are those of the rounded patch, still found exactly.

    Raises:
        ConfigError: the weights can't be used exactly, or have fewer layers.
    """

    basis: Tensor
    synthesis: Tensor

    def __init__(self, weights: PatchCodecWeights, layers: int) -> None:
        super().__init__()
        if not 1 <= layers <= weights.codebooks.shape[0]:
            raise ConfigError(f"layers must be 1..{weights.codebooks.shape[0]}, not {layers}")
        self.precision = Precision.FLOAT32
        self.patch = side_of(weights.basis.shape[0])
        self.register_buffer("basis", weights.basis.contiguous())
        self.register_buffer("synthesis", weights.synthesis[layers - 1].contiguous())
        _check_basis(weights.basis)
        # The basis is orthonormal but for its rounding, hence the percent.
        longest = 1.01 * CENTRE * weights.basis.shape[0] ** 0.5
        self.quantizer = ResidualQuantizer(weights.codebooks[:layers], longest)

    def project(self, images: Tensor) -> Tensor:
        """`[B, H, W, 3]` uint8 -> `[B * H / P * W / P, D]`, whole numbers in float32."""
        with encoding(self.precision, images.device.type):
            flat = patches_of(images, self.patch).to(torch.float32) - CENTRE
            return (flat.flatten(0, 2) @ self.basis / BASIS_SCALE).round().to(torch.float32)

    def encode(self, images: Tensor) -> Tensor:
        """`[B, H, W, 3]` uint8 -> `[B, H / P, W / P, L]` int64; H and W are multiples of P."""
        rows, columns = images.shape[1] // self.patch, images.shape[2] // self.patch
        found = list[Tensor]()
        for some in images.split(1 if images.device.type == "cpu" else IMAGES_AT_ONCE):
            vectors = self.project(some)
            with exact_fp32():
                found.append(self.quantizer.encode(vectors).view(len(some), rows, columns, -1))
        return torch.cat(found)

    def decode(self, codes: Tensor) -> Tensor:
        """`[B, h, w, L]` -> `[B, h * P, w * P, 3]` uint8."""
        with exact_fp32():
            summed = self.quantizer.decode(codes).permute(0, 3, 1, 2)
            return pixels_of(synthesize(summed, self.synthesis).permute(0, 2, 3, 1), self.patch)


def side_of(pixels: int) -> int:
    """P of a flattened patch of P * P * 3 values.

    Raises:
        ConfigError: it is no square of RGB pixels.
    """
    side = round((pixels / 3) ** 0.5)
    if side * side * 3 != pixels:
        raise ConfigError(f"a patch of {pixels} values is no square of RGB pixels")
    return side


def patches_of(images: Tensor, patch: int) -> Tensor:
    """`[B, H, W, 3]` -> `[B, H / P, W / P, P * P * 3]`, patches row by row, values in (y, x, channel) order."""
    batch, height, width, channels = images.shape
    grid = images.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(batch, height // patch, width // patch, -1)


def pixels_of(flat: Tensor, patch: int) -> Tensor:
    """Centred patches `[B, h, w, P * P * 3]` -> images `[B, h * P, w * P, 3]` uint8; the way back from `patches_of`."""
    batch, rows, columns, _ = flat.shape
    grid = flat.reshape(batch, rows, columns, patch, patch, 3).permute(0, 1, 3, 2, 4, 5)
    image = grid.reshape(batch, rows * patch, columns * patch, 3)
    return (image + CENTRE).round().clamp(0, 255).to(torch.uint8)


def synthesize(summed: Tensor, kernel: Tensor) -> Tensor:
    """Summed codewords `[B, D, h, w]` -> centred pixels `[B, P * P * 3, h, w]`; edges are repeated outwards."""
    return functional.conv2d(functional.pad(summed, (1, 1, 1, 1), mode="replicate"), kernel)


def _check_basis(basis: Tensor) -> None:
    whole = bool((basis == basis.round()).all())
    if not whole or float(basis.abs().sum(0).max()) * CENTRE >= EXACT_LIMIT:
        raise ConfigError("the basis must be whole numbers, small enough that projections are exact in float32")
