"""Small tokenizers that can be told to misbehave; Ray's workers import them by path."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.clips import clips_of
from operators.errors import TokenizeFailedError
from operators.records import Modality, TokenBatch, TokenSequence, WindowBatch
from operators.tokenize.base import TokenKind, TokenSpec

KILLER = (200, 0, 100)
"""The mean colour of an image, or a text's first three bytes, that ends the process."""
SLEEPER = (122, 122, 122)
"""The same, for one on which the tokenizer hangs; a text that begins with "zzz"."""
RAISER = (0, 200, 100)
"""The same, for one on which the tokenizer raises."""


@dataclass(frozen=True)
class PretendOptions:
    """`sleep_s` is for each window."""

    sleep_s: float = 0.0
    side: int = 16


class Pretend:
    """Common to both."""

    Options = PretendOptions

    def __init__(self, spec: TokenSpec, options: PretendOptions) -> None:
        self.spec = spec
        self._sleep_s = options.sleep_s

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"class": type(self).__name__}

    def to(self, device: str) -> Pretend:
        return self

    def encode(self, window: npt.NDArray[Any]) -> TokenSequence:
        raise TokenizeFailedError("not needed")

    def decode(self, tokens: TokenSequence) -> npt.NDArray[Any]:
        raise TokenizeFailedError("not needed")

    def behave(self, kinds: npt.NDArray[Any]) -> None:
        """`[B, 3]`: what each window begins with."""
        time.sleep(self._sleep_s * len(kinds))
        if (np.abs(kinds - np.asarray(KILLER)) < 3).all(axis=1).any():
            os._exit(1)
        if (np.abs(kinds - np.asarray(SLEEPER)) < 1).all(axis=1).any():
            time.sleep(3600)
        if (np.abs(kinds - np.asarray(RAISER)) < 3).all(axis=1).any():
            raise ZeroDivisionError("this colour can't be divided by")


class MeanColour(Pretend):
    """An image -> 3 tokens."""

    def __init__(self, options: PretendOptions) -> None:
        view = f"rgb8:{options.side}x{options.side}:cover"
        spec = TokenSpec(TokenKind.CODES, Modality.IMAGE, view, ("channel",), (256,), "uint16", (3,))
        super().__init__(spec, options)

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        means = batch.data.reshape(len(batch), -1, 3).mean(axis=1).round().astype(np.int64)
        self.behave(means)
        return TokenBatch.dense(means.astype(np.uint16))


class Letters(Pretend):
    """A text -> its bytes."""

    def __init__(self, options: PretendOptions) -> None:
        super().__init__(TokenSpec(TokenKind.CODES, Modality.TEXT, "utf8:4096", ("t",), (256,), "uint16"), options)

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        ends = np.cumsum(batch.lengths)
        starts = ends - batch.lengths
        kinds = np.asarray([[*batch.data[a : min(a + 3, b)], 0, 0, 0][:3] for a, b in zip(starts, ends, strict=True)])
        self.behave(kinds.astype(np.int64).reshape(-1, 3))
        return TokenBatch(
            batch.data.astype(np.uint16),
            np.concatenate([np.zeros(1, np.int64), ends]),
            batch.lengths.astype(np.int32).reshape(-1, 1),
            batch.lengths,
        )


class Other(Letters):
    """Another fingerprint."""


class Loudness(Pretend):
    """10 s of sound -> 1 token."""

    def __init__(self, options: PretendOptions) -> None:
        spec = TokenSpec(TokenKind.CODES, Modality.AUDIO, "pcm:8000:mono:80000+0", ("t",), (1001,), "uint16")
        super().__init__(spec, options)

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        loud = [np.asarray([min(1.0, float(np.abs(batch[index]).mean())) * 1000]) for index in range(len(batch))]
        return TokenBatch.ragged(loud, "uint16")


class Scenes(Pretend):
    """10 s of film -> 3 tokens: pictures, samples, subtitles."""

    def __init__(self, options: PretendOptions) -> None:
        view = "clip:10s:1fps:16x16:8000-mono+0:text"
        super().__init__(TokenSpec(TokenKind.CODES, Modality.VIDEO, view, ("t",), (80_001,), "uint32"), options)

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        counts = [[len(clip.frames), len(clip.sound), len(clip.cues)] for clip in clips_of(batch)]
        return TokenBatch.dense(np.asarray(counts, np.uint32))
