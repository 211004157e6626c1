"""The nouns that travel between operators.

Everything here is a frozen dataclass: a record is made once, then only read. Numpy arrays inside are shared,
possibly straight out of shared memory, and must not be written to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.pickling import flat
from operators.spans import SpanTable, TokenSpan


class Modality(StrEnum):
    """What a reference points to; each modality is a lane of its own."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    TEXT = "text"


@flat
@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where an item came from, for ever: replays and re-tokenizations carry the original one.

    A message may hold several items (an S3 notification with several records); `item` counts them from 0.
    """

    source_id: str
    partition: int
    offset: int
    item: int


@flat
@dataclass(frozen=True, slots=True)
class MediaReference:
    """One item to tokenize.

    Attributes:
        uri: where the content is (or, with `inline`, only what it is called).
        origin: the message and item that named it.
        modality: as the message, its topic or its content type says; None until the content's first bytes
            have been looked at.
        version: the etag or version id that the message named; a fetch of anything else is `fetch.superseded`.
        content_type: as the message says, e.g. "image/jpeg".
        size_bytes: of the object, as the message says.
        byte_range: half-open [start, end) within the object.
        time_range_s: half-open [start, end) of the media's clock, in seconds.
        inline: content carried in the message itself; nothing is fetched.
        attributes: any JSON; `licence`, `subject_key` and `caption` have columns of their own.
    """

    uri: str
    origin: Origin
    modality: Modality | None = None
    version: str | None = None
    content_type: str | None = None
    size_bytes: int | None = None
    byte_range: tuple[int, int] | None = None
    time_range_s: tuple[float, float] | None = None
    inline: bytes | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def range_key(self) -> str:
        """The part of the object that is meant, as a stable string: part of a row's `sample_id`."""
        if self.byte_range is None and self.time_range_s is None:
            return ""
        return json.dumps([self.byte_range, self.time_range_s])


@flat
@dataclass(frozen=True, slots=True)
class ContentFacts:
    """What was really fetched for an item: goes into its rows.

    Attributes:
        version: etag or version id of the object as fetched; "" where the store has none.
        sha256: of the bytes fetched, in hex.
        size_bytes: of the bytes fetched.
    """

    version: str
    sha256: str
    size_bytes: int


@flat
@dataclass(frozen=True, slots=True)
class WindowMeta:
    """Where a window lies in its item. [start, end) in ticks of `rate_num / rate_den` ticks a second.

    Still images have one window [0, 1) with rate 0/1 (no clock); text counts bytes with rate 0/1.

    Attributes:
        width, height: of the decoded original in pixels, upright; 0 where the medium has none.
        duration_s: of the original in seconds; 0.0 where it has none.
        partial: the original is damaged within this window, or ends in it too early (`on_damage: keep`).
        raw_start: what the medium's own timestamps say at tick 0, in ticks; 0 where it has none.
    """

    start: int
    end: int
    rate_num: int = 0
    rate_den: int = 1
    width: int = 0
    height: int = 0
    duration_s: float = 0.0
    partial: bool = False
    raw_start: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class WindowBatch:
    """B windows of one view (one shape bucket), of many references.

    Attributes:
        view: the key of the window operator that cut them, e.g. "rgb8:256x256:cover".
        data: images `[B, H, W, 3]` uint8, sRGB; audio `[N, C]` float32 in [-1, 1], the windows' samples end to end;
            text `[N]` uint8, the windows' UTF-8 bytes end to end; clips `[F, H, W, 3]` uint8, their frames end to end.
        lengths: `[B]` int64, how many entries along the first axis of `data` each window owns; ones where that axis
            is the batch (images).
        sides: what each of the same B windows holds besides, by name; see `operators.window.clip`.
    """

    view: str
    data: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    sides: Mapping[str, WindowBatch] = field(default_factory=dict[str, "WindowBatch"])

    def __len__(self) -> int:
        return int(self.lengths.shape[0])

    @property
    def size_bytes(self) -> int:
        """What it holds of memory."""
        return int(self.data.nbytes) + sum(side.size_bytes for side in self.sides.values())

    def rows(self, start: int, stop: int) -> WindowBatch:
        """Windows [start, stop), sharing memory."""
        first, end = int(self.lengths[:start].sum()), int(self.lengths[:stop].sum())
        sides = {name: side.rows(start, stop) for name, side in self.sides.items()}
        return WindowBatch(self.view, self.data[first:end], self.lengths[start:stop], sides)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        """One window's entries of `data`."""
        return self.rows(index, index + 1).data

    @staticmethod
    def join(batches: Sequence[WindowBatch]) -> WindowBatch:
        """Batches of one view end to end; copies unless there is only one."""
        if len(batches) == 1:
            return batches[0]
        return WindowBatch(
            batches[0].view,
            np.concatenate([batch.data for batch in batches]),
            np.concatenate([batch.lengths for batch in batches]),
            {name: WindowBatch.join([batch.sides[name] for batch in batches]) for name in batches[0].sides},
        )


@dataclass(frozen=True, slots=True, eq=False)
class TokenSequence:
    """The tokens of one window: *local* codes in natural order, or embeddings.

    Attributes:
        values: codes `[T]`, `[T, K]`, `[h, w]` or `[h, w, K]` (uint16 or uint32), or embeddings `[T, D]`
            (float32, or float16 as its bits in uint16).
        spans: of joined products, which of the codes come from where and when.
    """

    values: npt.NDArray[Any]
    spans: tuple[TokenSpan, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TokenBatch:
    """The tokens of B windows, flat in C order as they will lie in the Arrow column.

    Attributes:
        values: `[N]`, all windows end to end; uint16 or uint32 codes, or float32 embeddings.
        offsets: `[B + 1]` int64; window b owns `values[offsets[b]:offsets[b + 1]]`.
        shapes: `[B, ndim]` int32; the shape of each window's tokens, e.g. (32, 32, 4).
        n_tokens: `[B]` int64; how many tokens a model would see: codes counted one by one, embeddings by vector.
        spans: of joined products, which of a window's tokens come from where and when; None elsewhere.
    """

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.int32]
    n_tokens: npt.NDArray[np.int64]
    spans: SpanTable | None = None

    def __len__(self) -> int:
        return int(self.shapes.shape[0])

    def __getitem__(self, index: int) -> TokenSequence:
        flat = self.values[self.offsets[index] : self.offsets[index + 1]]
        spans = self.spans[index] if self.spans else ()
        return TokenSequence(flat.reshape(tuple(int(n) for n in self.shapes[index])), spans)

    @property
    def size_bytes(self) -> int:
        """What it holds of memory."""
        spans_bytes = self.spans.size_bytes if self.spans else 0
        return int(self.values.nbytes + self.offsets.nbytes + self.shapes.nbytes + self.n_tokens.nbytes) + spans_bytes

    @staticmethod
    def dense(values: npt.NDArray[Any], *, vectors: bool = False) -> TokenBatch:
        """`[B, ...]` -> TokenBatch. With `vectors`, the last axis is one embedding and counts as one token."""
        count, shape = values.shape[0], values.shape[1:]
        per_window = int(np.prod(shape, dtype=np.int64))
        tokens = per_window // shape[-1] if vectors else per_window
        return TokenBatch(
            values=np.ascontiguousarray(values).reshape(-1),
            offsets=np.arange(count + 1, dtype=np.int64) * per_window,
            shapes=np.tile(np.asarray(shape, dtype=np.int32), (count, 1)),
            n_tokens=np.full(count, tokens, dtype=np.int64),
        )

    @staticmethod
    def ragged(windows: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> TokenBatch:
        """B arrays `[T_b]` of codes -> TokenBatch."""
        lengths = np.asarray([w.shape[0] for w in windows], dtype=np.int64)
        values = np.concatenate(windows).astype(dtype, copy=False) if windows else np.zeros(0, dtype)
        return TokenBatch(
            values=values,
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
            shapes=lengths.astype(np.int32).reshape(-1, 1),
            n_tokens=lengths,
        )

    @staticmethod
    def of_windows(windows: Sequence[npt.NDArray[Any]], codebooks: int, dtype: npt.DTypeLike) -> TokenBatch:
        """B arrays `[T_b, codebooks]` of codes -> TokenBatch."""
        counts = np.asarray([len(codes) for codes in windows], dtype=np.int64)
        values = np.concatenate(windows).astype(dtype, copy=False) if windows else np.zeros((0, codebooks), dtype)
        return TokenBatch(
            values=np.ascontiguousarray(values).reshape(-1),
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts * codebooks)]),
            shapes=np.stack([counts, np.full_like(counts, codebooks)], axis=1).astype(np.int32),
            n_tokens=counts * codebooks,
        )


class EmptyReason(StrEnum):
    """Why an item has no rows in a product although nothing is wrong with it."""

    NO_TOKENS = "no_tokens"


class VoidReason(StrEnum):
    """Why an offset or item is nothing to tokenize at all. Counted, not recorded one by one."""

    NOT_MINE = "not_mine"
    TEST_EVENT = "test_event"
    REMOVAL = "removal"
    TOMBSTONE = "tombstone"
    HOLE = "hole"
    TAKEN_DOWN = "taken_down"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item could not be tokenized; with its message's bytes it becomes a dead letter.

    Attributes:
        code: from the error's class, e.g. "decode.truncated".
        stage: where: reference, fetch, decode, window, tokenize, pack.
        message: what, with the values that show it.
        stack: the traceback, or "".
    """

    code: str
    stage: str
    message: str
    stack: str = ""
