"""ViT patches: images cut into a grid, each patch flattened, or projected as a ViT's first layer does.

Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words". Patches are in row-major order of the grid.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from operators.errors import ConfigError, TokenizeFailedError
from operators.records import Modality, TokenBatch, TokenSequence, WindowBatch
from operators.tokenize.base import TokenKind, TokenSpec

PROJECTIONS = (
    "vit.embeddings.patch_embeddings.projection",
    "embeddings.patch_embeddings.projection",
    "patch_embed.proj",
    "vision_model.embeddings.patch_embedding",
)
"""Names of the projection in published checkpoints: transformers' ViT (with and without head), timm, CLIP."""


class _Patches(torch.nn.Module):
    """What both share: geometry, device, batching."""

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        if patch < 1 or size % patch:
            raise ConfigError(f"patch: {patch} does not divide size ({size})")
        self.patch = patch
        side = size // patch
        self._spec = TokenSpec(
            TokenKind.EMBEDDINGS,
            Modality.IMAGE,
            f"rgb8:{size}x{size}:cover",
            ("patch", "channel"),
            (),
            "float32",
            (side * side, width),
        )
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    @property
    def spec(self) -> TokenSpec:
        """See `Tokenizer`."""
        return self._spec

    @torch.inference_mode()
    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        """`[B, H, W, 3]` uint8 -> `[B, T, D]` float32."""
        images = torch.from_numpy(np.array(batch.data)).to(self.anchor.device)
        return TokenBatch.dense(self.forward(images).float().cpu().numpy(), vectors=True)

    def encode(self, window: npt.NDArray[Any]) -> TokenSequence:
        """`[H, W, 3]` uint8 -> `[T, D]` float32."""
        return self.tokenize(WindowBatch(self._spec.view, window[None], np.ones(1, np.int64)))[0]

    def _unit(self, images: torch.Tensor) -> torch.Tensor:
        """`[B, H, W, 3]` uint8 -> `[B, 3, H, W]` float32 in [0, 1]."""
        return images.permute(0, 3, 1, 2).float() / 255.0


class RawPatches(_Patches):
    """Patches as they are, in [-1, 1]; within a patch the order is (row, column, channel), as in lucidrains' vit-pytorch.

    Args:
        size: of the image, in pixels a side.
        patch: of a patch, in pixels a side.
    """

    def __init__(self, size: int = 256, patch: int = 16) -> None:
        super().__init__(size, patch, patch * patch * 3)

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Tokenizer`."""
        return {"class": "RawPatches", "view": self._spec.view, "patch": self.patch}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """`[B, H, W, 3]` uint8 -> `[B, T, P * P * 3]`."""
        batch, height, width, channels = images.shape
        side = self.patch
        grid = images.reshape(batch, height // side, side, width // side, side, channels)
        patches = grid.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, side * side * channels)
        return patches.float() / 127.5 - 1.0

    def decode(self, tokens: TokenSequence) -> npt.NDArray[Any]:
        """`[T, P * P * 3]` -> `[H, W, 3]` uint8: exactly what `encode` took."""
        count, side = tokens.values.shape[0], self.patch
        rows = math.isqrt(count)
        grid = tokens.values.reshape(rows, rows, side, side, 3).transpose(0, 2, 1, 3, 4)
        pixels = np.rint((grid.reshape(rows * side, rows * side, 3) + 1.0) * 127.5)
        return np.clip(pixels, 0, 255).astype(np.uint8)


class ProjectedPatches(_Patches):
    """Patches times a matrix: a convolution whose stride is its kernel, as in every ViT. No class token, no positions.

    Args:
        size: of the image, in pixels a side.
        weights: a safetensors file with a ViT's patch projection, in the naming of transformers, timm or CLIP. Without,
            the first `width` functions of an orthonormal 2-D DCT over the three channels: low frequencies first, and
            so a fair summary of a patch without any training.
        patch, width: with `weights`, they stand there.
        mean, std: of the channels in [0, 1], as the checkpoint's preprocessor has them.
    """

    def __init__(
        self,
        size: int = 256,
        weights: str | None = None,
        patch: int = 16,
        width: int = 192,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        kernel, bias = _load(Path(weights)) if weights else (dct_projection(patch, width), None)
        super().__init__(size, kernel.shape[2], kernel.shape[0])
        self._mean, self._std = tuple(map(float, mean)), tuple(map(float, std))
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", torch.zeros(kernel.shape[0]) if bias is None else bias)
        self.register_buffer("mean", torch.tensor(self._mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(self._std).reshape(1, 3, 1, 1))
        digest = hashlib.sha256(self.kernel.numpy().tobytes() + self.bias.numpy().tobytes())
        self._identity = {
            "class": "ProjectedPatches",
            "view": self._spec.view,
            "mean": self._mean,
            "std": self._std,
            "weights": digest.hexdigest(),
        }

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Tokenizer`."""
        return self._identity

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """`[B, H, W, 3]` uint8 -> `[B, T, D]`."""
        pixels = (self._unit(images) - self.mean) / self.std
        grid = torch.nn.functional.conv2d(pixels, self.kernel, self.bias, stride=self.patch)
        return grid.flatten(2).transpose(1, 2)

    def decode(self, tokens: TokenSequence) -> npt.NDArray[Any]:
        """A projection forgets: there is no way back.

        Raises:
            TokenizeFailedError: always.
        """
        raise TokenizeFailedError(f"projected patches {tokens.values.shape} can't be turned back into pixels")


def dct_projection(patch: int, width: int) -> torch.Tensor:
    """`[width, 3, P, P]`: orthonormal 2-D DCT-II functions by rising frequency, each on the sum of channels first.

    Raises:
        ConfigError: more functions asked for than there are.
    """
    if not 1 <= width <= 3 * patch * patch:
        raise ConfigError(f"width: must be 1..{3 * patch * patch} for patches of {patch} pixels, is {width}")
    at = torch.arange(patch, dtype=torch.float64)
    basis = torch.cos(math.pi * (at[None, :] + 0.5) * at[:, None] / patch) * math.sqrt(2.0 / patch)
    basis[0] /= math.sqrt(2.0)
    # Orthonormal axes of colour: grey, red against blue, green against both.
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]], dtype=torch.float64)
    colours /= colours.norm(dim=1, keepdim=True)
    order = sorted((y + x + 2 * c, c, y, x) for c in range(3) for y in range(patch) for x in range(patch))
    kernels = [torch.einsum("c,y,x->cyx", colours[c], basis[y], basis[x]) for _, c, y, x in order[:width]]
    return torch.stack(kernels).float()


def _load(path: Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    if not path.is_file():
        raise ConfigError(f"weights: there is no file {path}")
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        name = next((name for name in PROJECTIONS if f"{name}.weight" in names), None)
        if name is None:
            raise ConfigError(f"weights: {path} has no patch projection; looked for {', '.join(PROJECTIONS)} (.weight)")
        kernel = file.get_tensor(f"{name}.weight").float()
        bias = file.get_tensor(f"{name}.bias").float() if f"{name}.bias" in names else None
    if kernel.ndim != 4 or kernel.shape[1] != 3 or kernel.shape[2] != kernel.shape[3]:
        raise ConfigError(f"weights: {name}.weight has shape {tuple(kernel.shape)}, expected [D, 3, P, P]")
    return kernel, bias
