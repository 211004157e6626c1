"""`image-patches` and `image-patches-projected`: the patches of a vision transformer, before and after its first layer.

Order as in Dosovitskiy et al. 2021 and `Rearrange("b (h p1) (w p2) c -> b (h w) (p1 p2 c)")` of vit-pytorch: patches
row by row, and within a patch row by row with the channels innermost. (`torch.nn.functional.unfold` has the
channels outermost.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from operators.errors import ConfigError, TokenizeFailedError
from operators.models.checkpoints import load_tensors, names_in, sha256_of_tensors
from operators.models.patch_codec import patches_of
from operators.models.precision import encoding, exact_fp32
from operators.records import Modality
from operators.tokenize.base import Precision, TokenKind, TokenSpec
from operators.tokenize.image_base import ImageTokenizer
from operators.tokenize.options import image_size, path_or_none, three_numbers, whole

PROJECTIONS = ("patch_embeddings.projection", "patch_embed.proj", "embeddings.patch_embedding")
"""How published checkpoints call the layer: Hugging Face's ViT family, timm, Hugging Face's CLIP and SigLIP."""


@dataclass(frozen=True, slots=True)
class ImagePatchesOptions:
    """Options of `image-patches`.

    Attributes:
        size: of the window: a side, "<height>x<width>" or [height, width], in pixels.
        patch: side of a patch in pixels.
    """

    size: int | str | list[int] = 256
    patch: int = 16

    def __post_init__(self) -> None:
        whole("patch", self.patch, 1, 4096)
        image_size(self.size, self.patch)


class ImagePatchesTokenizer(ImageTokenizer):
    """`[256, 256, 3]` uint8 <-> `[256, 768]` float32 in [-1, 1]; lossless."""

    Options = ImagePatchesOptions

    def __init__(self, options: ImagePatchesOptions) -> None:
        super().__init__(*image_size(options.size, options.patch))
        self.patch = options.patch

    @property
    def spec(self) -> TokenSpec:
        """Embeddings (patch, channel)."""
        return _spec(self, self.patch, self.patch * self.patch * 3)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class and parameters; there are no weights."""
        return {
            "class": "operators.tokenize.image_patches:ImagePatchesTokenizer",
            "options": {"size": [self.height, self.width], "patch": self.patch},
        }

    def to(self, device: str) -> Self:
        """Where the patches are cut."""
        self.device = device
        return self

    def in_precision(self, precision: Precision) -> Self:
        """Refused: what is lossless has nothing to gain.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"precision: image-patches has no encoder that could compute in {precision.value}")

    def tokens_of(self, images: Tensor) -> Tensor:
        """Patches, v / 127.5 - 1."""
        flat = patches_of(images, self.patch).flatten(1, 2)
        return flat.to(torch.float32) / 127.5 - 1

    def image_of(self, tokens: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The very pixels."""
        return _image(np.round((tokens + 1) * 127.5), self.height, self.width, self.patch)


@dataclass(frozen=True, slots=True)
class ProjectedPatchesOptions:
    """Options of `image-patches-projected`.

    Attributes:
        size: of the window: a side, "<height>x<width>" or [height, width], in pixels.
        weights: a safetensors file of a published vision transformer, of which only the patch projection is read
            (no class token, no position embeddings); None for an orthonormal cosine transform (see `cosine_basis`).
        patch: side of a patch in pixels, for the cosine transform; weights have their own.
        mean, std: of each channel, pixels being in [0, 1]; (0.5, 0.5, 0.5) both in ViT, others in DINOv2 and CLIP.
    """

    size: int | str | list[int] = 256
    weights: str | None = None
    patch: int = 16
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        path_or_none("weights", self.weights)
        whole("patch", self.patch, 2, 4096)
        image_size(self.size, 1)
        three_numbers("mean", self.mean)
        if min(three_numbers("std", self.std)) <= 0:
            raise ConfigError(f"options.std: must be above 0, not {self.std!r}")


class ProjectedPatchesTokenizer(ImageTokenizer):
    """`[256, 256, 3]` uint8 -> `[T, D]` float32: a linear projection of each normalised patch."""

    Options = ProjectedPatchesOptions

    def __init__(self, options: ProjectedPatchesOptions) -> None:
        path = path_or_none("weights", options.weights)
        if path is None:
            tensors = {"weight": cosine_basis(options.patch)}
        else:
            tensors = load_tensors(path, _is_projection)
            if not any(name.endswith(".weight") for name in tensors):
                raise ConfigError(
                    f"weights {path}: none of its tensors is called *{'.weight, *'.join(PROJECTIONS)}.weight; "
                    f"it has {', '.join(names_in(path)[:8])}, ..."
                )
        kernel, bias = _kernel(tensors)
        self.patch = int(kernel.shape[2])
        super().__init__(*image_size(options.size, self.patch))
        self.invertible = path is None
        # The cosines are named, not hashed: their last bits are the platform's.
        self.weights = {"cosine_patch": self.patch} if path is None else {"weights_sha256": sha256_of_tensors(tensors)}
        self.mean, self.std = three_numbers("mean", options.mean), three_numbers("std", options.std)
        # [D, C, P, P] -> [P * P * C, D], in the order of our patches.
        self.matrix = kernel.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        self.bias = bias

    @property
    def spec(self) -> TokenSpec:
        """Embeddings (patch, channel)."""
        return _spec(self, self.patch, int(self.matrix.shape[1]))

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class, parameters, and what the projection is."""
        return {
            "class": "operators.tokenize.image_patches:ProjectedPatchesTokenizer",
            "options": {"size": [self.height, self.width], "mean": list(self.mean), "std": list(self.std)},
            **self.weights,
        }

    def to(self, device: str) -> Self:
        """Move weights."""
        self.matrix, self.bias = self.matrix.to(device), self.bias.to(device)
        self.device = device
        return self

    def tokens_of(self, images: Tensor) -> Tensor:
        """Projections; equal among devices and batches but for rounding."""
        mean, std = (torch.tensor(numbers * self.patch**2, device=self.device) for numbers in (self.mean, self.std))
        with encoding(self.precision, self.device):
            flat = patches_of(images, self.patch).flatten(1, 2)
            values = (flat.to(torch.float32) / 255 - mean) / std
            return (values @ self.matrix + self.bias).to(torch.float32)

    def image_of(self, tokens: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """A blurred image, from the cosine transform; other weights have no inverse here."""
        if not self.invertible:
            raise TokenizeFailedError("a loaded projection has no inverse")
        with exact_fp32():
            values = ((torch.from_numpy(tokens).to(self.device) - self.bias) @ self.matrix.T).cpu().numpy()
        mean, std = (np.tile(numbers, self.patch**2) for numbers in (self.mean, self.std))
        return _image(np.round((values * std + mean) * 255), self.height, self.width, self.patch)


def cosine_basis(patch: int) -> Tensor:
    """The lower half of the frequencies in each direction of an orthonormal DCT-II, channel by channel.

    Made for want of weights: half the resolution, a quarter of the values, nothing learned.

    Returns:
        `[3 * (P // 2)**2, 3, P, P]`: rows ordered by channel, vertical and horizontal frequency.
    """
    half = patch // 2
    angles = torch.arange(half, dtype=torch.float64)[:, None] * (torch.arange(patch, dtype=torch.float64) + 0.5)
    waves = torch.cos(angles * (math.pi / patch)) * math.sqrt(2 / patch)
    waves[0] /= math.sqrt(2)
    planes = torch.einsum("uy,vx->uvyx", waves, waves).reshape(half * half, patch, patch)
    kernel = torch.zeros(3, half * half, 3, patch, patch, dtype=torch.float64)
    for channel in range(3):
        kernel[channel, :, channel] = planes
    return kernel.flatten(0, 1).to(torch.float32)


def _is_projection(name: str) -> bool:
    return any(f".{name}".endswith(f".{layer}.{part}") for layer in PROJECTIONS for part in ("weight", "bias"))


def _kernel(tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weight `[D, 3, P, P]` and bias `[D]`, zero where there is none."""
    weights = [tensor for name, tensor in tensors.items() if name.endswith("weight")]
    biases = [tensor for name, tensor in tensors.items() if name.endswith("bias")]
    kernel = weights[0].to(torch.float32)
    if len(weights) > 1 or kernel.ndim != 4 or kernel.shape[1] != 3 or kernel.shape[2] != kernel.shape[3]:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ConfigError(f"a patch projection must be one weight [D, 3, P, P], not {shapes}")
    bias = biases[0].to(torch.float32) if biases else torch.zeros(kernel.shape[0])
    return kernel, bias


def _spec(tokenizer: ImageTokenizer, patch: int, dims: int) -> TokenSpec:
    count = (tokenizer.height // patch) * (tokenizer.width // patch)
    return TokenSpec(
        kind=TokenKind.EMBEDDINGS,
        modality=Modality.IMAGE,
        view=tokenizer.view,
        axes=("patch", "channel"),
        codebook_sizes=(),
        dtype="float32",
        shape=(count, dims),
    )


def _image(flat: npt.NDArray[Any], height: int, width: int, patch: int) -> npt.NDArray[np.uint8]:
    """Patches `[T, P * P * 3]` of 0..255 -> `[H, W, 3]`."""
    grid = flat.reshape(height // patch, width // patch, patch, patch, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(height, width, 3).clip(0, 255).astype(np.uint8)
