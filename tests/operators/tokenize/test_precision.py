"""Parts and precision: codes do not depend on how a call is cut; bfloat16 changes some of them, and says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import ConfigError
from operators.records import WindowBatch
from operators.tokenize import registry
from operators.tokenize.base import Precision, Tokenizer

rng = np.random.default_rng(0)
WINDOWS = {
    "image-rq": ({"size": 32}, WindowBatch("", rng.integers(0, 256, (5, 32, 32, 3), np.uint8), np.ones(5, np.int64))),
    "image-patches": (
        {"size": 32},
        WindowBatch("", rng.integers(0, 256, (5, 32, 32, 3), np.uint8), np.ones(5, np.int64)),
    ),
    "audio-mdct": (
        {},
        WindowBatch("", rng.uniform(-0.5, 0.5, (7200, 1)).astype(np.float32), np.asarray([800, 1600, 321, 3200, 1279])),
    ),
}


def made(name: str, precision: Precision = Precision.FLOAT32) -> Tokenizer:
    return registry.in_precision(registry.build(name, WINDOWS[name][0]), precision)


@pytest.mark.parametrize("name", WINDOWS)
@given(part_bytes=st.integers(1, 40_000))
@settings(max_examples=5)
def test_codes_do_not_depend_on_the_parts_that_a_call_is_cut_into(name: str, part_bytes: int) -> None:
    tokenizer: Any = made(name)
    windows = WINDOWS[name][1]
    whole = tokenizer.tokenize(windows)
    tokenizer.part_bytes = part_bytes
    cut = tokenizer.tokenize(windows)
    assert np.array_equal(cut.values, whole.values)
    assert np.array_equal(cut.shapes, whole.shapes)


@pytest.mark.parametrize("name", ["image-rq", "audio-mdct"])
def test_bfloat16_changes_some_codes_but_none_of_their_shapes(name: str) -> None:
    exact, rounded = made(name).tokenize(WINDOWS[name][1]), made(name, Precision.BFLOAT16).tokenize(WINDOWS[name][1])
    assert np.array_equal(exact.shapes, rounded.shapes)
    assert exact.values.dtype == rounded.values.dtype
    assert 0 < np.mean(exact.values != rounded.values) < 0.9


@pytest.mark.parametrize("name", ["image-rq", "audio-mdct"])
def test_codes_in_bfloat16_do_not_depend_on_the_batch(name: str) -> None:
    tokenizer = made(name, Precision.BFLOAT16)
    together, first = tokenizer.tokenize(WINDOWS[name][1]), tokenizer.tokenize(WINDOWS[name][1].rows(0, 1))
    assert np.array_equal(first[0].values, together[0].values)


def test_float32_is_not_part_of_the_identity_and_bfloat16_is() -> None:
    assert registry.identity_of(made("image-rq")) == made("image-rq").identity
    assert registry.identity_of(made("image-rq", Precision.BFLOAT16)) == {
        **made("image-rq").identity,
        "precision": "bfloat16",
    }


def test_all_that_has_an_encoder_in_a_film_follows() -> None:
    made = registry.in_precision(registry.build("video-interleaved", {}), Precision.BFLOAT16)
    assert registry.identity_of(made)["precision"] == "bfloat16"
    assert [getattr(part, "precision", None) for part in made.parts] == ["bfloat16", "bfloat16", None]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["text-bpe", "text-bytes", "image-patches"])
def test_what_has_no_encoder_refuses_another_precision(name: str) -> None:
    with pytest.raises(ConfigError, match=r"precision: .*bfloat16"):
        registry.in_precision(registry.build(name, {}), Precision.BFLOAT16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["image-rq", "audio-mdct"])
def test_a_gpu_finds_the_same_codes_in_parts(name: str) -> None:
    tokenizer: Any = made(name)
    expected = tokenizer.tokenize(WINDOWS[name][1])
    on_gpu: Any = made(name).to("cuda:0")
    on_gpu.part_bytes = 5000
    assert np.array_equal(on_gpu.tokenize(WINDOWS[name][1]).values, expected.values)
