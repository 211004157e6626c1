"""What text tokenizers share: windows of UTF-8 end to end in one array."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from operators.errors import TokenizeFailedError
from operators.records import Modality, TokenBatch, TokenSequence, WindowBatch
from operators.tokenize.base import TokenKind, TokenSpec

WINDOW_BYTES = 1 << 20
"""The largest window by default."""


class TextTokenizer(ABC):
    """Base of tokenizers that give codes `[T]` for bytes `[N]`. They run on the CPU, whatever the device."""

    def __init__(self, window_bytes: int, vocabulary: int) -> None:
        self.window_bytes = window_bytes
        self.vocabulary = vocabulary

    @property
    def spec(self) -> TokenSpec:
        """Codes (t)."""
        return TokenSpec(
            kind=TokenKind.CODES,
            modality=Modality.TEXT,
            view=f"utf8:{self.window_bytes}",
            axes=("t",),
            codebook_sizes=(self.vocabulary,),
            dtype="uint16" if self.vocabulary <= 65536 else "uint32",
        )

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """All that changes its output."""

    @abstractmethod
    def codes_of(self, texts: Sequence[bytes]) -> list[npt.NDArray[Any]]:
        """Codes `[T]` of `spec.dtype` for each text, in order."""

    @abstractmethod
    def text_of(self, codes: npt.NDArray[Any]) -> bytes:
        """The way back; codes lie within the vocabulary."""

    def to(self, device: str) -> Self:  # noqa: ARG002
        """Stays where it is."""
        return self

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        """B texts in, B token sequences out; an empty text has none."""
        if batch.data.ndim != 1 or batch.data.dtype != np.uint8 or int(batch.lengths.sum()) != len(batch.data):
            raise TokenizeFailedError(
                f"windows must be [N] uint8 with lengths that sum to N, not {batch.data.shape} {batch.data.dtype}"
            )
        content, ends = batch.data.tobytes(), np.cumsum(batch.lengths).tolist()
        texts = [content[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)] if ends else []
        return TokenBatch.ragged(self.codes_of(texts), self.spec.dtype)

    def encode(self, window: npt.NDArray[Any]) -> TokenSequence:
        """`[N]` uint8."""
        return self.tokenize(WindowBatch(self.spec.view, window, np.asarray([len(window)], np.int64)))[0]

    def decode(self, tokens: TokenSequence) -> npt.NDArray[np.uint8]:
        """`[N]` uint8.

        Raises:
            TokenizeFailedError: these can't be its tokens.
        """
        codes = tokens.values
        if codes.ndim != 1 or (len(codes) and int(codes.max()) >= self.vocabulary):
            raise TokenizeFailedError(f"tokens must be [T] of 0..{self.vocabulary - 1}")
        return np.frombuffer(self.text_of(codes), np.uint8)
