from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
from hypothesis import example, given
from hypothesis import strategies as st

from operators.decode import DecodedImage, DecodedText, decode_image
from operators.errors import ConfigError
from operators.records import Modality, WindowMeta
from operators.resizing import resized
from operators.window import Fit, ImageView, TextView, parse_view


@pytest.mark.parametrize("key", ["rgb8:256x256:cover", "rgb8:64x128:stretch", "utf8:1048576"])
def test_a_views_key_names_it(key: str) -> None:
    assert parse_view(key).key == key


def test_views_know_their_modality() -> None:
    assert parse_view("rgb8:8x8:cover").modality is Modality.IMAGE
    assert parse_view("utf8:8").modality is Modality.TEXT


@pytest.mark.parametrize(
    "key",
    ["", "rgb8", "rgb8:0x8:cover", "rgb8:08x8:cover", "rgb8:8x8:fill", "rgb8:8x8:cover ", "utf8:3", "utf8:", "utf8:٣٤"],
)
def test_an_unknown_view_is_refused_with_the_valid_forms(key: str) -> None:
    with pytest.raises(ConfigError, match="bytes"):
        parse_view(key)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.sampled_from(Fit))
@example(3, 1000, 1, 1, Fit.COVER)
@example(1000, 3, 7, 9, Fit.COVER)
def test_every_image_fills_its_frame(height: int, width: int, to_height: int, to_width: int, fit: Fit) -> None:
    flat = np.full((height, width, 3), 99, np.uint8)
    view = ImageView(to_height, to_width, fit)
    [(meta, array)] = view.windows(DecodedImage(width, height, (flat,)))
    assert array.shape == (to_height, to_width, 3)
    assert np.all(array == 99)
    assert meta == WindowMeta(0, 1, width=width, height=height)


def test_cover_cuts_what_hangs_over_evenly() -> None:
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:80] = 255  # the middle third
    window = resized(pixels, 20, 20)
    assert window[:, 1:-1].min() > 240
    assert resized(pixels, 20, 60, Fit.STRETCH)[:, :15].max() < 10


def test_a_fine_pattern_does_not_alias() -> None:
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    window = resized(np.repeat(board[:, :, None], 3, 2), 48, 48)
    assert window.std() < 3
    assert abs(float(window.mean()) - 127) < 3


def test_an_image_of_the_frames_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)
    assert np.array_equal(resized(pixels, 16, 24), pixels)


@pytest.mark.parametrize("name", ["retina.jpg", "hubble_deep_field.jpg", "rocket.jpg"])
def test_what_is_cut_from_a_reduced_jpeg_is_as_good_as_from_the_whole(name: str) -> None:
    content = (Path(skimage.__file__).parent / "data" / name).read_bytes()
    view = ImageView(100, 100)
    reduced = decode_image(content, [(100, 100)])
    assert reduced.scales[0].shape[0] < reduced.height
    window, whole = (view.windows(decoded)[0][1].astype(float) for decoded in (reduced, decode_image(content)))
    assert 10 * np.log10(255**2 / np.mean((window - whole) ** 2)) > 36


def test_images_stack_into_a_dense_batch() -> None:
    view = parse_view("rgb8:8x8:cover")
    batch = view.stack([np.full((8, 8, 3), i, np.uint8) for i in range(3)])
    assert batch.data.shape == (3, 8, 8, 3)
    assert (len(batch), batch.view, batch.lengths.tolist()) == (3, "rgb8:8x8:cover", [1, 1, 1])
    assert view.stack([]).data.shape == (0, 8, 8, 3)


@given(st.text(), st.integers(4, 20))
def test_chunks_of_a_text_are_short_valid_and_add_up(text: str, most: int) -> None:
    content = text.encode(errors="replace")
    windows = TextView(most).windows(DecodedText(content))
    assert b"".join(array.tobytes() for _, array in windows) == content
    assert all(len(array) == meta.end - meta.start <= most for meta, array in windows)
    assert [meta.start for meta, _ in windows[1:]] == [meta.end for meta, _ in windows[:-1]]
    for _, array in windows:
        array.tobytes().decode()


@given(st.binary(), st.integers(4, 20))
def test_chunks_of_any_bytes_add_up_and_are_never_empty(content: bytes, most: int) -> None:
    windows = TextView(most).windows(DecodedText(content))
    assert b"".join(array.tobytes() for _, array in windows) == content
    assert all(0 < len(array) <= most for _, array in windows)


def test_texts_stack_end_to_end() -> None:
    view = TextView(8)
    arrays = [array for _, array in view.windows(DecodedText(b"abcdefghijk"))]
    batch = view.stack(arrays)
    assert batch.data.tobytes() == b"abcdefghijk"
    assert batch.lengths.tolist() == [8, 3]
    assert len(view.stack([])) == 0
