"""`text-bytes`: a text's bytes are its codes (as in ByT5, without its offset), valid UTF-8 or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.records import TokenBatch, WindowBatch
from operators.tokenize.options import whole
from operators.tokenize.text_base import WINDOW_BYTES, TextTokenizer


@dataclass(frozen=True, slots=True)
class TextBytesOptions:
    """Options of `text-bytes`.

    Attributes:
        window_bytes: the largest window; longer texts have several.
    """

    window_bytes: int = WINDOW_BYTES

    def __post_init__(self) -> None:
        whole("window_bytes", self.window_bytes, 4, 1 << 30)


class TextBytesTokenizer(TextTokenizer):
    """Bytes `[N]` <-> codes `[N]` uint16 of 0..255; lossless."""

    Options = TextBytesOptions

    def __init__(self, options: TextBytesOptions) -> None:
        super().__init__(options.window_bytes, 256)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class and parameters; there are no weights."""
        return {
            "class": "operators.tokenize.text_bytes:TextBytesTokenizer",
            "options": {"window_bytes": self.window_bytes},
        }

    def codes_of(self, texts: Sequence[bytes]) -> list[npt.NDArray[Any]]:
        """The bytes."""
        return [np.frombuffer(text, np.uint8).astype(np.uint16) for text in texts]

    def text_of(self, codes: npt.NDArray[Any]) -> bytes:
        """The bytes."""
        return codes.astype(np.uint8).tobytes()

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        """As the base does, without taking the texts apart."""
        if batch.data.ndim == 1 and batch.data.dtype == np.uint8 and int(batch.lengths.sum()) == len(batch.data):
            lengths = batch.lengths.astype(np.int64)
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
            return TokenBatch(batch.data.astype(np.uint16), offsets, lengths.astype(np.int32).reshape(-1, 1), lengths)
        return super().tokenize(batch)
