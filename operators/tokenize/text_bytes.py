"""Tokenization-free text: bytes as they are (as in ByT5, Xue et al. 2022, without its three special ids)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.records import Modality, TokenBatch, TokenSequence, WindowBatch
from operators.tokenize.base import TokenKind, TokenSpec


class TextBytes:
    """`[N]` uint8 of UTF-8 -> codes `[N]` uint16 in 0..255. Loses nothing, valid UTF-8 or not.

    Args:
        window_bytes: the longest window.
    """

    def __init__(self, window_bytes: int = 1 << 20) -> None:
        self._spec = TokenSpec(TokenKind.CODES, Modality.TEXT, f"utf8:{window_bytes}", ("t",), (256,), "uint16")

    @property
    def spec(self) -> TokenSpec:
        """See `Tokenizer`."""
        return self._spec

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Tokenizer`."""
        return {"class": "TextBytes", "view": self._spec.view}

    def to(self, device: str) -> TextBytes:
        """There is nothing to move."""
        del device
        return self

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        """See `Tokenizer`."""
        return TokenBatch(
            values=batch.data.astype(np.uint16),
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(batch.lengths)]),
            shapes=batch.lengths.astype(np.int32).reshape(-1, 1),
            n_tokens=batch.lengths,
        )

    def encode(self, window: npt.NDArray[Any]) -> TokenSequence:
        """See `Tokenizer`."""
        return TokenSequence(window.astype(np.uint16))

    def decode(self, tokens: TokenSequence) -> npt.NDArray[Any]:
        """See `Tokenizer`."""
        return tokens.values.astype(np.uint8)
