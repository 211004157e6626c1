"""One film for the report: its frames, its sound and the spans of its tokens, on one clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from operators.errors import MediatokError
from operators.records import Modality, TokenSequence
from operators.tokenize.base import Tokenizer
from pipeline.app.report.originals import OriginalFilm, Originals, mono
from pipeline.app.report.rows import NotShownError, ProductRows, bits_a_code, evenly
from pipeline.observe.report.measures import psnr_db
from pipeline.observe.report.samples import Film, FilmFrame, FilmLane, FilmSpan, Pixels, Samples

SHOWN_S = 24.0
FRAMES = 24
_LOOKED_AT = 20
"""Films among which the one with most kinds of tokens is taken."""


class Joined(Protocol):
    """A joined tokenizer: its parts in the order of `TokenSpec.parts`."""

    @property
    def parts(self) -> tuple[Tokenizer, ...]:
        """Each gives codes, and decodes them."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A span and its codes.

    Attributes:
        part: index into the product's parts.
        codes: in the part's shape.
        t0: in ticks, as stored.
    """

    part: int
    span: FilmSpan
    codes: npt.NDArray[Any]
    t0: int
    t1: int


def film(products: Sequence[ProductRows], originals: Originals) -> Film | None:
    """Of the first joined product: among its first films the one with most kinds of tokens."""
    joined = [rows for rows in products if rows.spec.modality is Modality.VIDEO and rows.parts]
    if not joined:
        return None
    rows = joined[0]
    items = list(rows.items().values())[:_LOOKED_AT]
    return _film(rows, max(items, key=lambda item: _kinds(rows, item)), originals) if items else None


def _kinds(rows: ProductRows, item: Sequence[int]) -> int:
    return len({span["tokenizer"] for span in rows.value(item[0], "spans")})


def _film(rows: ProductRows, item: Sequence[int], originals: Originals) -> Film:
    tick_hz = rows.value(item[0], "rate_num") / rows.value(item[0], "rate_den")
    clips = [row for row in item if rows.value(row, "start") / tick_hz < SHOWN_S]
    end_s = rows.value(clips[-1], "end") / tick_hz
    shown_s = min(SHOWN_S, end_s)
    placed = [each for each in _placed(rows, clips, tick_hz) if each.span.start_s < shown_s]
    original, why_no_original = OriginalFilm(), ""
    try:
        original = originals.film(rows, clips[0], shown_s)
    except NotShownError as error:
        why_no_original = str(error)
    pictures = [each for each in placed if rows.parts[each.part].modality is Modality.IMAGE]
    drawn = evenly(pictures, FRAMES)
    backs: list[Pixels | None] = [None] * len(drawn)
    rate_hz, sound, why_not = original.rate_hz, None, ""
    try:
        parts = _parts(rows)
        backs = [cast("Pixels", parts[each.part].decode(TokenSequence(each.codes))) for each in drawn]
        heard_hz, sound = _sound(rows, parts, placed, tick_hz, shown_s)
        rate_hz = heard_hz or rate_hz
    except (NotShownError, MediatokError) as error:
        why_not = str(error)
    original_sound = None
    if original.sound is not None and original.rate_hz == rate_hz:
        original_sound = original.sound[: round(shown_s * rate_hz)]
    return Film(
        product=rows.product.name,
        uri=rows.value(clips[0], "uri"),
        caption=rows.value(clips[0], "text") or "",
        duration_s=max(float(rows.value(clips[0], "duration") or 0.0), end_s),
        shown_s=shown_s,
        clips=len(clips),
        frames=_frames(drawn, backs, original),
        frame_count=len(pictures),
        lanes=_lanes(rows, placed, shown_s),
        rate_hz=rate_hz,
        sound=sound,
        original_sound=original_sound,
        why_no_original=why_no_original,
        why_not=why_not,
    )


def _placed(rows: ProductRows, clips: Sequence[int], tick_hz: float) -> Iterator[_Placed]:
    """All spans of these clips, in order."""
    until = [0] * len(rows.parts)
    for clip, row in enumerate(clips):
        flat = rows.tokens(row).values
        for span in rows.value(row, "spans"):
            part, start, length = span["tokenizer"], span["start"], span["length"]
            shape = tuple(size or -1 for size in rows.parts[part].shape)
            # A picture that stood on screen already is sampled again: drawn, it begins where the last one ends.
            t0 = max(span["t0"], until[part]) if rows.parts[part].modality is Modality.IMAGE else span["t0"]
            until[part] = span["t1"]
            yield _Placed(
                part,
                FilmSpan(
                    start_s=t0 / tick_hz,
                    end_s=span["t1"] / tick_hz,
                    n_tokens=length,
                    first=start,
                    clip=clip,
                    text=span["text"] or "",
                    speaker=span["speaker"] or "",
                    language=span["language"] or "",
                    confidence=span["confidence"],
                    since_s=None if t0 == span["t0"] else span["t0"] / tick_hz,
                ),
                flat[start : start + length].reshape(shape),
                span["t0"],
                span["t1"],
            )


def _parts(rows: ProductRows) -> tuple[Tokenizer, ...]:
    parts = cast("Joined", rows.inverse).parts
    if len(parts) != len(rows.parts):
        raise NotShownError(f"Its tokenizer has {len(parts)} parts, its rows have {len(rows.parts)}.")
    return parts


def _sound(
    rows: ProductRows, parts: Sequence[Tokenizer], placed: Sequence[_Placed], tick_hz: float, shown_s: float
) -> tuple[int, Samples | None]:
    """Rate in Hz and `[N]`; each run of spans that lie end to end is decoded at once, and put where it begins."""
    spoken = [each for each in placed if rows.parts[each.part].modality is Modality.AUDIO]
    if not spoken:
        return 0, None
    part = spoken[0].part
    rate_hz = int(parts[part].spec.view.split(":")[1])  # "pcm:<rate>:..."
    out = np.zeros(round(shown_s * rate_hz), np.float32)
    for run in _runs([each for each in spoken if each.part == part]):
        codes = np.concatenate([each.codes for each in run])
        back = mono(parts[part].decode(TokenSequence(codes)))
        start = round(run[0].t0 / tick_hz * rate_hz)
        room = out[start : start + len(back)]
        room[:] = back[: len(room)]
    return rate_hz, out


def _runs(placed: Sequence[_Placed]) -> list[list[_Placed]]:
    runs: list[list[_Placed]] = []
    for each in placed:
        # A tick is far below a sample, and rounding to whole ticks may leave one.
        if runs and abs(each.t0 - runs[-1][-1].t1) <= 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    return runs


def _frames(drawn: Sequence[_Placed], backs: Sequence[Pixels | None], original: OriginalFilm) -> tuple[FilmFrame, ...]:
    starts = [each.span.start_s for each in drawn]
    gaps = [later - sooner for sooner, later in pairwise(starts)]
    reach_s = median(gaps) / 2 if gaps else 0.5
    frames: list[FilmFrame] = []
    for each, back in zip(drawn, backs, strict=True):
        before = _nearest(original, each.span.start_s, reach_s)
        frame = FilmFrame(each.span.start_s, each.span.end_s, before, back)
        if before is not None and back is not None and before.shape == back.shape:
            frame = replace(frame, psnr_db=psnr_db(before, back))
        frames.append(frame)
    return tuple(frames)


def _nearest(original: OriginalFilm, at_s: float, reach_s: float) -> Pixels | None:
    found = min(original.frames, key=lambda frame: abs(frame[0] - at_s), default=None)
    return found[1] if found is not None and abs(found[0] - at_s) <= reach_s else None


def _lanes(rows: ProductRows, placed: Sequence[_Placed], shown_s: float) -> tuple[FilmLane, ...]:
    """One for each part that has spans here."""
    lanes: list[FilmLane] = []
    for index, part in enumerate(rows.parts):
        spans = tuple(each.span for each in placed if each.part == index)
        if spans:
            codes = sum(span.n_tokens for span in spans)
            bits_per_s = codes * bits_a_code(part.codebook_sizes) / shown_s
            lanes.append(FilmLane(part.name, part.modality, spans, bits_per_s))
    return tuple(lanes)
