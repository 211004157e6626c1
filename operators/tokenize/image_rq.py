"""`image-rq`: residual codes of 8×8 patches, the default tokenizer of images.

PCA of patches, four residual codebooks of 1024 (or the first few of them), and an inverse that blends over the seams;
see `operators.models.patch_codec`. Ids are the same on every device and in every batch. Weights fitted by
`operators.fit.image_rq`, shipped with their card in `weights/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from operators.models.checkpoints import load_tensors
from operators.models.checksum import sha256_of
from operators.models.patch_codec import PatchCodec, PatchCodecWeights, side_of
from operators.records import Modality
from operators.tokenize.base import Precision, TokenKind, TokenSpec
from operators.tokenize.image_base import ImageTokenizer
from operators.tokenize.options import image_size, path_or_none, whole

SHIPPED = Path(__file__).parent / "weights" / "image-rq.safetensors"


@dataclass(frozen=True, slots=True)
class ImageRqOptions:
    """Options of `image-rq`.

    Attributes:
        size: of the window: a side, "<height>x<width>" or [height, width], in pixels.
        layers: how many residual layers; the codes of fewer are a prefix of those of more.
        weights: a safetensors file from `mediatok fit image-rq`; None for the shipped one.
    """

    size: int | str | list[int] = 256
    layers: int = 4
    weights: str | None = None

    def __post_init__(self) -> None:
        whole("layers", self.layers, 1, 64)
        path_or_none("weights", self.weights)
        image_size(self.size, 1)


class ImageRqTokenizer(ImageTokenizer):
    """`[256, 256, 3]` uint8 <-> codes `[32, 32, layers]` uint16."""

    Options = ImageRqOptions

    def __init__(self, options: ImageRqOptions) -> None:
        path = path_or_none("weights", options.weights) or SHIPPED
        weights = PatchCodecWeights.of(load_tensors(path))
        super().__init__(*image_size(options.size, side_of(weights.basis.shape[0])))
        self.layers = options.layers
        self.weights_sha256 = sha256_of(path)
        self.codebook_size = int(weights.codebooks.shape[1])
        self.codec = PatchCodec(weights, options.layers)

    @property
    def spec(self) -> TokenSpec:
        """Codes (y, x, residual)."""
        patch = self.codec.patch
        return TokenSpec(
            kind=TokenKind.CODES,
            modality=Modality.IMAGE,
            view=self.view,
            axes=("y", "x", "residual"),
            codebook_sizes=(self.codebook_size,) * self.layers,
            dtype="uint16" if self.codebook_size <= 65536 else "uint32",
            shape=(self.height // patch, self.width // patch, self.layers),
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class, parameters, and what the weights are."""
        return {
            "class": "operators.tokenize.image_rq:ImageRqTokenizer",
            "options": {"size": [self.height, self.width], "layers": self.layers},
            "weights_sha256": self.weights_sha256,
        }

    def to(self, device: str) -> Self:
        """Move weights."""
        self.codec.to(device)
        self.device = device
        return self

    def in_precision(self, precision: Precision) -> Self:
        """Of the projection."""
        self.codec.precision = precision
        return super().in_precision(precision)

    def tokens_of(self, images: Tensor) -> Tensor:
        """Codes."""
        return self.codec.encode(images)

    def image_of(self, tokens: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The image that these codes stand for."""
        codes = torch.from_numpy(tokens.astype(np.int64)).to(self.device)
        return self.codec.decode(codes[None])[0].cpu().numpy()
