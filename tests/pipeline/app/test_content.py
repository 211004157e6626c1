from __future__ import annotations

import pyarrow as pa
import pytest

from operators.pack.schema import SPANS
from operators.records import Modality
from operators.tokenize.base import TokenKind, TokenPart, TokenSpec
from pipeline.app.content import Content, content_of

PARTS = (
    TokenPart("text-bpe", Modality.TEXT, ("t",), (9,), (0,)),
    TokenPart("image-rq", Modality.IMAGE, ("y",), (9,), (1,)),
)


def spec(modality: Modality, view: str, parts: tuple[TokenPart, ...] = ()) -> TokenSpec:
    return TokenSpec(TokenKind.CODES, modality, view, ("t",), (9,), "uint16", (), parts)


def table(rate: tuple[int, int], *windows: tuple[int, int], tokenizers: list[list[int]] | None = None) -> pa.Table:
    spans = [[{"tokenizer": index} for index in row] for row in tokenizers or [[] for _ in windows]]
    return pa.table(
        {
            "start": pa.array([start for start, _ in windows], pa.int64()),
            "end": pa.array([end for _, end in windows], pa.int64()),
            "rate_num": pa.array([rate[0]] * len(windows), pa.int64()),
            "rate_den": pa.array([rate[1]] * len(windows), pa.int64()),
            "spans": pa.array(spans, SPANS.type),
        }
    )


def test_images_count_pixels() -> None:
    found = content_of(spec(Modality.IMAGE, "rgb8:10x20:cover"), [table((0, 1), (0, 1), (0, 1)), table((0, 1), (0, 1))])
    assert found == Content(pixels=600, media_s=0.0, raw_bytes=1800)


def test_texts_count_bytes() -> None:
    assert content_of(spec(Modality.TEXT, "utf8:64"), [table((0, 1), (0, 64), (64, 70))]) == Content(raw_bytes=70)


def test_sound_counts_seconds_and_two_bytes_a_sample_and_channel() -> None:
    found = content_of(spec(Modality.AUDIO, "pcm:8000:stereo:8000+0"), [table((8000, 1), (0, 8000), (8000, 12_000))])
    assert found == Content(pixels=0, media_s=1.5, raw_bytes=48_000)


def test_films_count_their_pictures_and_their_sound() -> None:
    film = spec(Modality.VIDEO, "clip:2s:1fps:10x20:8000-mono+0:text", PARTS)
    found = content_of(film, [table((1000, 1), (0, 2000), (2000, 3000), tokenizers=[[1, 0, 1], [1]])])
    assert found.pixels == 3 * 200
    assert found.media_s == pytest.approx(3.0)
    assert found.raw_bytes == 3 * 600 + 3 * 16_000


def test_of_nothing_there_is_nothing() -> None:
    assert content_of(spec(Modality.AUDIO, "pcm:8000:mono:8000+0"), []) == Content()
    assert content_of(spec(Modality.VIDEO, "clip:2s:1fps:10x20:silent:mute", PARTS), [table((9, 1))]) == Content()
