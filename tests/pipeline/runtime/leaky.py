"""A tokenizer that keeps memory of each call, as a decoder with a leak does; Ray's workers import it by path."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from operators.records import TokenBatch, WindowBatch
from tests.pipeline.runtime.pretend import Letters

HOG = b"hog"
"""What a text begins with that takes `hog_mb` for itself."""


@dataclass(frozen=True)
class LeakyOptions:
    """`leak_mb` stays of each call; `hog_mb` is taken for a text that begins with HOG, and given back."""

    leak_mb: int = 0
    hog_mb: int = 0
    sleep_s: float = 0.0


class Leaky(Letters):
    Options = LeakyOptions

    def __init__(self, options: LeakyOptions) -> None:
        super().__init__(options)  # type: ignore[arg-type]  it has what is read of it
        self._options = options
        self._kept: list[object] = []
        self._calls = 0

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        self._calls += 1
        if self._calls > 1:  # the first one is the warm-up
            self._kept.append(np.ones(self._options.leak_mb << 20, np.uint8))
        starts = np.cumsum(batch.lengths) - batch.lengths
        if any(bytes(batch.data[start : start + len(HOG)]) == HOG for start in starts):
            taken = [np.ones(8 << 20, np.uint8) for _ in range(self._options.hog_mb // 8)]
            time.sleep(1.0)  # for the watch to see
            del taken
        return super().tokenize(batch)
