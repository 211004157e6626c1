"""Tokenizers whose codes are checksums of all that a window holds, and who note what goes through them in a file.

Ray's workers import them by path. A row made twice is the same row only if every picture and sample before it was.
"""

from __future__ import annotations

import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.clips import clips_of
from operators.decode import audio, video
from operators.decode.film import Film
from operators.errors import TokenizeFailedError
from operators.records import Modality, TokenBatch, TokenSequence, WindowBatch
from operators.tokenize.base import TokenKind, TokenSpec

HERE = "tests.recovery.digests"
CODES = 1 << 16


@dataclass(frozen=True)
class DigestOptions:
    """How it behaves.

    Attributes:
        pace_s: that a window takes, asleep: as much as one on a device would keep its worker waiting.
        notes: file that calls and decoded segments are noted in; "": none.
        heavy: load torch before the worker counts as ready, as real ones do.
    """

    pace_s: float = 0.0
    notes: str = ""
    heavy: bool = False


@dataclass(frozen=True)
class Notes:
    """What workers noted so far.

    Attributes:
        tokenized: (seconds since 1970, windows) of each call, ascending.
        decoded: how often each segment was begun to be decoded.
    """

    tokenized: tuple[tuple[float, int], ...]
    decoded: Counter[str]

    @property
    def again(self) -> int:
        """Segments decoded once more."""
        return self.decoded.total() - len(self.decoded)


def read_notes(path: Path) -> Notes:
    """Of a file that may be written to."""
    tokenized, decoded = list[tuple[float, int]](), Counter[str]()
    for at_s, kind, what in _lines(path):
        if kind == "tokenized":
            tokenized.append((float(at_s), int(what)))
        else:
            decoded[what] += 1
    return Notes(tuple(sorted(tokenized)), decoded)


def _lines(path: Path) -> Iterator[list[str]]:
    text = path.read_text() if path.exists() else ""
    # A writer may have been killed in mid-line.
    return (parts for line in text.splitlines() if len(parts := line.split(" ")) == 3)


class Digest:
    """Common to all."""

    Options = DigestOptions

    def __init__(self, spec: TokenSpec, options: DigestOptions) -> None:
        self.spec = spec
        self._options = options

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"class": type(self).__name__}

    def to(self, device: str) -> Digest:
        """Called in workers only."""
        if self._options.heavy:
            import torch

            torch.zeros(1).sum()
        if self._options.notes:
            _note_decoding(Path(self._options.notes))
        return self

    def encode(self, window: npt.NDArray[Any]) -> TokenSequence:
        raise TokenizeFailedError("not needed")

    def decode(self, tokens: TokenSequence) -> npt.NDArray[Any]:
        raise TokenizeFailedError("not needed")

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        time.sleep(self._options.pace_s * len(batch))
        codes = np.asarray([[crc % CODES for crc in crcs] for crcs in self._digests(batch)], np.uint16)
        if self._options.notes:
            _note(Path(self._options.notes), "tokenized", str(len(batch)))
        return TokenBatch.dense(codes)

    def _digests(self, batch: WindowBatch) -> list[tuple[int, ...]]:
        raise NotImplementedError


class Pictures(Digest):
    """An image -> 1 code."""

    def __init__(self, options: DigestOptions) -> None:
        view = "rgb8:32x32:cover"
        super().__init__(TokenSpec(TokenKind.CODES, Modality.IMAGE, view, ("t",), (CODES,), "uint16"), options)

    def _digests(self, batch: WindowBatch) -> list[tuple[int, ...]]:
        return [(_crc(batch.data[index]),) for index in range(len(batch))]


class Sounds(Digest):
    """10 s of sound -> 2 codes: of the samples, and how many there are."""

    def __init__(self, options: DigestOptions) -> None:
        view = "pcm:8000:mono:80000+0"
        super().__init__(TokenSpec(TokenKind.CODES, Modality.AUDIO, view, ("t",), (CODES,), "uint16"), options)

    def _digests(self, batch: WindowBatch) -> list[tuple[int, ...]]:
        return [(_crc(batch[index]), len(batch[index])) for index in range(len(batch))]


class Films(Digest):
    """10 s of film -> 4 codes: of the pictures and of the samples, and how many there are of each."""

    def __init__(self, options: DigestOptions) -> None:
        view = "clip:10s:1fps:32x32:8000-mono+0:text"
        super().__init__(TokenSpec(TokenKind.CODES, Modality.VIDEO, view, ("t",), (CODES,), "uint16"), options)

    def _digests(self, batch: WindowBatch) -> list[tuple[int, ...]]:
        return [(_crc(clip.frames), _crc(clip.sound), len(clip.frames), len(clip.sound)) for clip in clips_of(batch)]


def _crc(values: npt.NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def _note(path: Path, kind: str, what: str) -> None:
    """One line, in one write: several processes append to the file."""
    line = f"{time.time():.4f} {kind} {what}\n".encode()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def _note_decoding(path: Path) -> None:
    """From now on in this process: each segment as its decoding begins, so that one that is cut short counts too."""
    clips, following = Film.clips, audio._Recording.next

    def noted_clips(film: Film, to_s: int) -> Any:
        _note(path, "decoded", f"{film.at_s}:{to_s}")
        return clips(film, to_s)

    def noted_next(recording: audio._Recording) -> audio.DecodedAudio:
        _note(path, "decoded", str(recording.segment))
        return following(recording)

    video.Film.clips = noted_clips  # type: ignore[method-assign]
    audio._Recording.next = noted_next  # type: ignore[method-assign]
