"""What every tokenizer is, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy.typing as npt

from operators.records import Modality, TokenBatch, TokenSequence, WindowBatch


class TokenKind(StrEnum):
    """Codes index codebooks; embeddings are vectors."""

    CODES = "codes"
    EMBEDDINGS = "embeddings"


class Precision(StrEnum):
    """Of an encoder's arithmetic. Codes are always searched in float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class TokenPart:
    """One of the tokenizers that a joined product's codes come from; `TokenSpan.tokenizer` is its place in `parts`.

    Attributes:
        name: of the tokenizer, e.g. "image-rq".
        modality: what it takes.
        axes, codebook_sizes: as in `TokenSpec`.
        shape: of one span's codes, its first entry 0 where spans differ in length, e.g. (32, 32, 4), (0, 8), (0,).
    """

    name: str
    modality: Modality
    axes: tuple[str, ...]
    codebook_sizes: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """What a tokenizer gives, as it stands in a product's schema metadata.

    Attributes:
        kind: codes or embeddings.
        modality: what it takes.
        view: key of the window operator that must cut its input, e.g. "rgb8:256x256:cover" or "utf8:1048576".
        axes: names of a window's axes in order, e.g. ("y", "x", "residual"), ("t",), ("patch", "channel").
        codebook_sizes: one for each entry of the last axis (or one in all); () for embeddings.
        dtype: "uint16" or "uint32" for codes, "float32" (or "float16", stored as its bits) for embeddings.
        shape: of one window where it is always the same, else ().
        parts: of a joined product: the tokenizers whose codes it interleaves; its rows have spans. Else ().
    """

    kind: TokenKind
    modality: Modality
    view: str
    axes: tuple[str, ...]
    codebook_sizes: tuple[int, ...]
    dtype: str
    shape: tuple[int, ...] = ()
    parts: tuple[TokenPart, ...] = ()


class Tokenizer(Protocol):
    """Turns windows into tokens. Built once an actor, called many times, by one thread."""

    @property
    def spec(self) -> TokenSpec:
        """What it gives, and of what."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON of everything that changes its output: class, parameters, sha256 of weights. Not the device."""
        ...

    def to(self, device: str) -> Tokenizer:
        """Move weights to "cpu", "cuda:0", ...; returns self."""
        ...

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        """B windows in, B token sequences out, in order.

        Raises:
            TokenizeFailedError: the input can't be tokenized.
        """
        ...

    def encode(self, window: npt.NDArray[Any]) -> TokenSequence:
        """One window, e.g. `[H, W, 3]` uint8 or `[N]` uint8 of UTF-8."""
        ...

    def decode(self, tokens: TokenSequence) -> npt.NDArray[Any]:
        """Back to what `encode` takes, as nearly as the tokens allow.

        Raises:
            TokenizeFailedError: this tokenizer has no inverse.
        """
        ...
