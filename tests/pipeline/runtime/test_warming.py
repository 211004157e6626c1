"""Blank windows are of the size that real ones have, and a tokenizer that refuses them is ready all the same."""

from __future__ import annotations

from typing import Any

import pytest

from operators.errors import InvariantError, TokenizeFailedError
from operators.records import TokenBatch, WindowBatch
from operators.tokenize import registry
from pipeline.runtime.warming import MOST_S, blank_windows, warm_up

VIEWS = {
    "rgb8:16x24:cover": ((2, 16, 24, 3), [1, 1]),
    "pcm:8000:stereo:80000+40": ((160_080, 2), [80_040, 80_040]),
    "clip:4s:2fps:16x16:8000-mono+40:text": ((16, 16, 16, 3), [8, 8]),
    "clip:4s:0fps:1x1:8000-mono+0:mute": ((0, 1, 1, 3), [0, 0]),
}


class Told:
    """Raises what it is told to, and takes down how many windows it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.spec = registry.build("text-bytes", {}).spec
        self.given: list[int] = []
        self._error = error

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        self.given.append(len(batch))
        if self._error is not None:
            raise self._error
        return registry.build("text-bytes", {}).tokenize(batch)


@pytest.mark.parametrize("view", VIEWS)
def test_blank_windows_have_the_size_that_the_view_cuts(view: str) -> None:
    batch = blank_windows(view, 2)
    shape, lengths = VIEWS[view]
    assert batch.data.shape == shape
    assert batch.lengths.tolist() == lengths


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("image-rq", {"size": 32}),
        ("image-patches", {"size": 32}),
        ("audio-mdct", {"window_s": 1}),
        ("text-bpe", {}),
        ("video-interleaved", {"clip_s": 1}),
        ("video-interleaved", {"clip_s": 1, "image": None}),
        ("video-interleaved", {"clip_s": 1, "audio": None, "text": None, "frames_hz": "30000/1001"}),
    ],
)
def test_every_built_in_takes_them(name: str, options: dict[str, Any]) -> None:
    tokenizer = registry.build(name, options)
    assert len(tokenizer.tokenize(blank_windows(tokenizer.spec.view, 2))) == 2


def test_a_whole_batch_follows_where_one_window_was_quick() -> None:
    told = Told()
    assert 0 < warm_up(told, 8).took_s < MOST_S  # type: ignore[arg-type]
    assert told.given == [1, 8]


def test_one_window_shows_how_large_its_tokens_are() -> None:
    tokenizer = registry.build("image-patches", {"size": 32})
    window_bytes = warm_up(tokenizer, 8).window_tokens_bytes
    assert window_bytes == pytest.approx(4 * 768 * 4, rel=0.01), "values, and some bytes of a batch's own"


def test_what_blank_windows_do_not_suit_is_ready_all_the_same() -> None:
    told = Told(TokenizeFailedError("silence has no pitch"))
    warm = warm_up(told, 8)  # type: ignore[arg-type]
    assert warm.window_tokens_bytes is None
    assert warm.unsuited == "TokenizeFailedError: silence has no pitch"
    assert told.given == [1]


def test_an_error_that_stops_the_run_is_not_put_off() -> None:
    with pytest.raises(InvariantError):
        warm_up(Told(InvariantError("other weights")), 1)  # type: ignore[arg-type]
