from __future__ import annotations

import base64
import io

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.observe.report.embed import LONGEST_SIDE, codes_uri, flac_uri, jpeg_uri


def content(uri: str, kind: str) -> io.BytesIO:
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return io.BytesIO(base64.b64decode(data))


def test_a_picture_stays_as_it_is_up_to_the_longest_side() -> None:
    pixels = np.full((64, 96, 3), (200, 40, 90), np.uint8)
    back = np.asarray(Image.open(content(jpeg_uri(pixels), "image/jpeg")))
    assert back.shape == pixels.shape
    assert np.abs(back.astype(int) - pixels).max() <= 4


def test_a_large_picture_is_reduced_in_proportion() -> None:
    image = Image.open(content(jpeg_uri(np.zeros((400, 1600, 3), np.uint8)), "image/jpeg"))
    assert image.size == (LONGEST_SIDE, LONGEST_SIDE // 4)


def test_codes_are_a_pixel_each_the_more_opaque_the_larger() -> None:
    codes = np.linspace(0, 0.99, 12, dtype=np.float32).reshape(2, 6)
    image = Image.open(content(codes_uri(codes), "image/png")).convert("RGBA")
    assert image.size == (6, 2)
    alpha = np.asarray(image)[..., 3].reshape(-1).astype(int)
    assert alpha[0] < 40
    assert alpha[-1] > 220
    assert (np.diff(alpha) > 0).all()


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000])
def test_sound_comes_back_to_the_last_of_its_16_bits(rate_hz: int) -> None:
    samples = np.sin(np.arange(rate_hz // 2) / 20).astype(np.float32) * np.float32(1.2)
    with av.open(content(flac_uri(samples, rate_hz), "audio/flac")) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.codec_context.name) == (rate_hz, "flac")
        back = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(stream)])
    assert np.array_equal(back, (np.clip(samples, -1, 1) * 32767).round().astype(np.int16))
