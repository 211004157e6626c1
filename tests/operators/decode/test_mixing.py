from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.decode.mixing import floats, mixed

FIVE_ONE = ("FL", "FR", "FC", "LFE", "BL", "BR")
LAYOUTS = [("FC",), ("FL", "FR"), FIVE_ONE, ("FL", "FR", "FC"), ("?",) * 7, ("FL", "FR", "FC", "LFE", "BC")]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 2])
def test_full_scale_on_all_channels_stays_within_full_scale(layout: tuple[str, ...], channels: int) -> None:
    out = mixed(np.ones((len(layout), 5), np.float32), layout, channels)
    assert out.shape == (channels, 5)
    assert np.all(out <= 1.0 + 1e-6)
    assert np.all(out >= 0.8)


def test_left_stays_left_and_the_centre_is_on_both_sides() -> None:
    sound = np.zeros((6, 1), np.float32)
    sound[0] = 1
    left, right = mixed(sound, FIVE_ONE, 2)[:, 0]
    assert left > 0.4
    assert right == 0
    sound = np.zeros((6, 1), np.float32)
    sound[2] = 1
    left, right = mixed(sound, FIVE_ONE, 2)[:, 0]
    assert left == right > 0.2


def test_the_low_frequency_channel_is_left_out() -> None:
    sound = np.zeros((6, 1), np.float32)
    sound[3] = 1
    assert not mixed(sound, FIVE_ONE, 2).any()


def test_mono_is_the_mean_of_stereo_and_goes_to_both_sides() -> None:
    sound = np.asarray([[0.5, 1.0], [0.1, -1.0]], np.float32)
    assert np.allclose(mixed(sound, ("FL", "FR"), 1), [[0.3, 0.0]])
    assert np.array_equal(mixed(sound[:1], ("FC",), 2), np.repeat(sound[:1], 2, axis=0))
    assert mixed(sound, ("FL", "FR"), 2) is sound


@given(st.integers(1, 400), st.lists(st.integers(1, 99), max_size=6))
def test_a_block_is_mixed_as_its_parts_are(length: int, cuts: list[int]) -> None:
    sound = np.random.default_rng(length).standard_normal((6, length)).astype(np.float32)
    bounds = sorted({0, length, *(cut for cut in cuts if cut < length)})
    parts = [mixed(sound[:, a:b], FIVE_ONE, 1) for a, b in pairwise(bounds)]
    assert np.array_equal(np.concatenate(parts, axis=1), mixed(sound, FIVE_ONE, 1))


@pytest.mark.parametrize(
    ("form", "dtype", "values", "expected"),
    [
        ("u8", np.uint8, [0, 128, 255], [-1.0, 0.0, 127 / 128]),
        ("s16", np.int16, [-32768, 0, 16384], [-1.0, 0.0, 0.5]),
        ("s16p", np.int16, [-32768, 0, 16384], [-1.0, 0.0, 0.5]),
        ("s32", np.int32, [-(2**31), 0, 2**30], [-1.0, 0.0, 0.5]),
        ("flt", np.float32, [-1.0, 0.25, 2.0], [-1.0, 0.25, 2.0]),
        ("dblp", np.float64, [-1.0, 0.25, 2.0], [-1.0, 0.25, 2.0]),
    ],
)
def test_every_sample_format_has_full_scale_one(
    form: str, dtype: type, values: list[float], expected: list[float]
) -> None:
    planar = np.asarray([values, values[::-1]], dtype)
    array = planar if form.endswith("p") else planar.T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(array), form, "stereo")
    assert floats(frame).tolist() == [expected, expected[::-1]]
    assert floats(frame).dtype == np.float32
