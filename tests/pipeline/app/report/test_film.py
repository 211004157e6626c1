from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from operators.forms import CLOCK_HZ
from operators.spans import TokenSpan
from pipeline.app.report.film import FRAMES, SHOWN_S, film
from pipeline.app.report.originals import OriginalFilm, Originals
from pipeline.app.report.rows import NotShownError
from tests.pipeline.app.report.lakes import Films, Letterwise, product_rows, row

IMAGE, AUDIO, TEXT = 0, 1, 2


def ticks(seconds: float) -> int:
    return round(seconds * CLOCK_HZ)


class Clip:
    """A row of a film as it grows."""

    def __init__(self, number: int, length_s: float = 2.0) -> None:
        self.start_s, self.number, self.length_s = number * 2.0, number, length_s
        self.codes: list[int] = []
        self.spans: list[TokenSpan] = []

    def picture(self, t0: float, t1: float, grey: int) -> Clip:
        return self._add(IMAGE, [grey, 0] * 4, t0, t1)

    def sound(self, t0: float, t1: float, level: int) -> Clip:
        return self._add(AUDIO, [level, 0] * round((t1 - t0) * 100), t0, t1)

    def text(self, t0: float, t1: float, text: str, **more: Any) -> Clip:
        return self._add(TEXT, list(text.encode()), t0, t1, text=text, **more)

    def row(self, uri: str = "film", **more: Any) -> dict[str, Any]:
        start, end = ticks(self.start_s), ticks(self.start_s + self.length_s)
        columns = {"window_index": self.number, "start": start, "end": end, "rate_num": CLOCK_HZ, "duration": 60.0}
        return row(uri, np.asarray(self.codes, np.uint16), self.spans, **{**columns, **more})

    def _add(self, part: int, codes: list[int], t0: float, t1: float, **more: Any) -> Clip:
        self.spans.append(TokenSpan(part, len(self.codes), len(codes), ticks(t0), ticks(t1), **more))
        self.codes += codes
        return self


class Before(Originals):
    """Originals that are there."""

    def __init__(self, found: OriginalFilm) -> None:
        super().__init__(None)
        self.found = found

    def film(self, *_: Any) -> OriginalFilm:
        return self.found


def grey(value: int) -> np.ndarray:
    return np.full((8, 8, 3), value, np.uint8)


def two_clips() -> list[dict[str, Any]]:
    first = Clip(0).picture(0, 1, 3).sound(0, 1, 4).text(0.25, 1.5, "hello", speaker="Anna", language="eng")
    first.picture(1, 2, 5).sound(1, 2, 8)
    second = Clip(1, 1.5).picture(2, 3, 7).sound(2, 3.5, 12)
    return [first.row(text="two clips"), second.row()]


def test_spans_become_lanes_on_one_clock() -> None:
    made = film([product_rows("films", Films(), two_clips())], Originals(None))
    assert made is not None
    assert (made.product, made.caption, made.duration_s, made.shown_s, made.clips) == ("films", "two clips", 60, 3.5, 2)
    assert [lane.name for lane in made.lanes] == ["pictures", "sounds", "letterwise"]
    pictures, sounds, words = (lane.spans for lane in made.lanes)
    assert [(span.start_s, span.end_s, span.clip) for span in pictures] == [(0, 1, 0), (1, 2, 0), (2, 3, 1)]
    assert [(span.first, span.n_tokens) for span in sounds] == [(8, 200), (221, 200), (8, 300)]
    (word,) = words
    assert (word.text, word.speaker, word.language, word.start_s) == ("hello", "Anna", "eng", 0.25)
    assert made.lanes[0].bits_per_s == pytest.approx(3 * 8 * 4 / 3.5)
    assert made.lanes[1].bits_per_s == pytest.approx(700 * (4 + 2) / 2 / 3.5)


def test_frames_and_sound_come_back_from_their_spans() -> None:
    made = film([product_rows("films", Films(), two_clips())], Originals(None))
    assert made is not None
    assert [int(frame.reconstruction[0, 0, 0]) for frame in made.frames] == [48, 80, 112]
    assert made.frame_count == 3
    assert made.rate_hz == 1000
    levels = np.concatenate([np.full(1000, 4), np.full(1000, 8), np.full(1500, 12)]) / 16
    assert np.array_equal(made.sound, levels.astype(np.float32))


def test_sound_that_stops_and_goes_on_stays_in_its_place() -> None:
    rows = [Clip(0).sound(0.5, 1, 4).sound(1.5, 2, 8).row()]
    made = film([product_rows("films", Films(), rows)], Originals(None))
    assert made is not None
    levels = np.concatenate([np.zeros(500), np.full(500, 4), np.zeros(500), np.full(500, 8)]) / 16
    assert np.array_equal(made.sound, levels.astype(np.float32))


def test_a_picture_that_stands_still_is_drawn_where_it_was_sampled() -> None:
    rows = [Clip(0).picture(0, 1, 3).picture(0, 2, 3).row()]
    made = film([product_rows("films", Films(), rows)], Originals(None))
    assert made is not None
    assert [(frame.start_s, frame.end_s) for frame in made.frames] == [(0, 1), (1, 2)]
    assert [span.since_s for span in made.lanes[0].spans] == [None, 0.0]


def test_frames_are_compared_with_the_originals_of_their_time() -> None:
    found = OriginalFilm(((0.0, grey(48)), (1.02, grey(84))), 1000, np.ones(9000, np.float32))
    made = film([product_rows("films", Films(), two_clips())], Before(found))
    assert made is not None
    assert [None if f.original is None else int(f.original[0, 0, 0]) for f in made.frames] == [48, 84, None]
    assert made.frames[0].psnr_db == float("inf")
    assert made.frames[1].psnr_db == pytest.approx(20 * np.log10(255 / 4))
    assert made.frames[2].psnr_db is None
    assert made.original_sound is not None
    assert made.original_sound.shape == (3500,)


def test_only_the_beginning_of_a_long_film_is_shown_with_some_of_its_frames() -> None:
    rows = []
    for number in range(40):
        clip = Clip(number)
        for quarter in range(8):
            at = 2 * number + quarter / 4
            clip.picture(at, at + 0.25, number % 16)
        rows.append(clip.row())
    made = film([product_rows("films", Films(), rows)], Originals(None))
    assert made is not None
    assert made.shown_s == SHOWN_S
    assert len(made.frames) == FRAMES
    assert made.frame_count == SHOWN_S * 4
    assert made.sound is None
    assert made.rate_hz == 0


def test_the_film_with_most_kinds_of_tokens_is_taken() -> None:
    dull = Clip(0).picture(0, 2, 1).row("dull")
    rows = [dull, *(each | {"doc_id": "full"} for each in two_clips())]
    made = film([product_rows("films", Films(), rows)], Originals(None))
    assert made is not None
    assert made.uri == "film"


def test_without_a_tokenizer_the_spans_and_the_originals_are_left() -> None:
    rows = product_rows("films", Films(), two_clips(), inverse=False, why_not="other weights")
    found = OriginalFilm(((0.0, grey(1)),), 1000, np.ones(9000, np.float32))
    made = film([rows], Before(found))
    assert made is not None
    assert made.why_not == "other weights"
    assert made.sound is None
    assert made.original_sound is not None
    assert made.frames[0].original is not None
    assert made.frames[0].reconstruction is None
    assert len(made.lanes) == 3


def test_why_there_is_no_original_is_said() -> None:
    class Gone(Originals):
        def film(self, *_: Any) -> OriginalFilm:
            raise NotShownError("fetch.not_found: gone")

    made = film([product_rows("films", Films(), two_clips())], Gone(None))
    assert made is not None
    assert made.why_no_original == "fetch.not_found: gone"
    assert made.original_sound is None


def test_without_films_there_is_none() -> None:
    assert film([product_rows("words", Letterwise(), [row("a", np.zeros(1, np.uint16))])], Originals(None)) is None
