"""What image tokenizers share: the check of their windows, and one window as a batch of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from operators.errors import TokenizeFailedError
from operators.models.precision import autocast
from operators.models.transfer import cuts, part_bytes, through
from operators.records import TokenBatch, TokenSequence, WindowBatch
from operators.tokenize.base import Precision, TokenKind, TokenSpec


class ImageTokenizer(ABC):
    """Base of tokenizers whose windows are `[H, W, 3]` uint8 of one size.

    Attributes:
        precision: of the encoder; in another than float32, `tokens_of` is called under autocast. It searches codes
            within `operators.models.precision.exact_fp32`.
        part_bytes: of what is sent to the device at once; None: what suits the device.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.device = "cpu"
        self.precision = Precision.FLOAT32
        self.part_bytes: int | None = None

    @property
    def view(self) -> str:
        """Key of the view that cuts its windows."""
        return f"rgb8:{self.height}x{self.width}:cover"

    @property
    @abstractmethod
    def spec(self) -> TokenSpec:
        """What it gives."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """All that changes its output."""

    @abstractmethod
    def to(self, device: str) -> Self:
        """Move weights."""

    def in_precision(self, precision: Precision) -> Self:
        """Have the encoder compute so."""
        self.precision = precision
        return self

    @abstractmethod
    def tokens_of(self, images: Tensor) -> Tensor | npt.NDArray[Any]:
        """`[B, H, W, 3]` uint8 on the device -> `[B, *spec.shape]`, B >= 1.

        A tensor that is left on the device travels back while the next windows are computed; `.cpu()` would wait.
        """

    @abstractmethod
    def image_of(self, tokens: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """One window's tokens -> `[H, W, 3]`."""

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        """B images in, B token sequences out."""
        spec = self.spec
        if batch.data.ndim != 4 or batch.data.shape[1:] != (self.height, self.width, 3) or batch.data.dtype != np.uint8:
            raise TokenizeFailedError(
                f"windows must be [B, {self.height}, {self.width}, 3] uint8, not {batch.data.shape} {batch.data.dtype}"
            )
        parts = cuts([image.nbytes for image in batch.data], self.part_bytes or part_bytes(self.device))
        found = through(self._tokens_of, (batch.data[start:stop] for start, stop in parts), self.device)
        values = np.concatenate(found or [np.zeros((0, *spec.shape), spec.dtype)]) if len(found) != 1 else found[0]
        values = values.astype(spec.dtype, copy=False)
        return TokenBatch.dense(values, vectors=spec.kind is TokenKind.EMBEDDINGS)

    def _tokens_of(self, images: Tensor, _number: int) -> Tensor | npt.NDArray[Any]:
        with autocast(self.precision, self.device):
            return self.tokens_of(images)

    def encode(self, window: npt.NDArray[Any]) -> TokenSequence:
        """`[H, W, 3]` uint8."""
        return self.tokenize(WindowBatch(self.view, window[None], np.ones(1, np.int64)))[0]

    def decode(self, tokens: TokenSequence) -> npt.NDArray[np.uint8]:
        """`[H, W, 3]` uint8.

        Raises:
            TokenizeFailedError: it has no inverse, or these can't be its tokens.
        """
        spec = self.spec
        if tokens.values.shape != spec.shape:
            raise TokenizeFailedError(f"tokens must be {spec.shape}, not {tokens.values.shape}")
        if spec.kind is TokenKind.CODES and tokens.values.size and int(tokens.values.max()) >= max(spec.codebook_sizes):
            raise TokenizeFailedError(f"code {int(tokens.values.max())} is beyond the codebooks {spec.codebook_sizes}")
        return self.image_of(tokens.values)
