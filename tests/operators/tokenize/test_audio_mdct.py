from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import ConfigError, TokenizeFailedError
from operators.fit.sound_measures import log_spectral_distance_db, si_sdr_db
from operators.forms import PcmForm
from operators.records import TokenBatch, TokenSequence, WindowBatch
from operators.tokenize.audio_mdct import SHIPPED, AudioMdctOptions, AudioMdctTokenizer
from operators.tokenize.registry import describe
from tests.making.sound import speechlike

Sound = npt.NDArray[np.float32]
HOP, RATE_HZ = 320, 24000


@pytest.fixture(scope="module")
def tokenizer() -> AudioMdctTokenizer:
    return AudioMdctTokenizer(AudioMdctOptions())


@pytest.fixture(scope="module")
def speech() -> Sound:
    """Four seconds, `[N]`."""
    return speechlike(4.0, RATE_HZ)[:, 0]


def windows_of(sound: Sound, cuts: list[int]) -> WindowBatch:
    """Cut at these samples, each window with the hop before it."""
    bounds = [0, *cuts, len(sound)]
    padded = np.concatenate([np.zeros(HOP, np.float32), sound])
    parts = [padded[start : end + HOP] for start, end in itertools.pairwise(bounds)]
    return WindowBatch(
        f"pcm:24000:mono:720000+{HOP}", np.concatenate(parts)[:, None], np.asarray([len(part) for part in parts])
    )


def codes_of(tokens: TokenBatch) -> list[npt.NDArray[Any]]:
    return [tokens[index].values for index in range(len(tokens))]


def test_sound_becomes_frames_of_codes_at_six_kilobits_a_second(tokenizer: AudioMdctTokenizer, speech: Sound) -> None:
    tokens = tokenizer.tokenize(windows_of(speech, [32000]))
    assert tokens.values.dtype == np.uint16
    assert tokens.shapes.tolist() == [[100, 8], [200, 8]]
    assert tokens.n_tokens.tolist() == [800, 1600]
    assert int(tokens.values.max()) < 1024
    spec = tokenizer.spec
    bits = float(tokenizer.frame_rate_hz) * sum(np.log2(size) for size in spec.codebook_sizes)
    assert bits == 6000
    assert bits == next(each for each in describe() if each.name == "audio-mdct").bits_per_second
    assert (spec.axes, spec.shape) == (("t", "codebook"), ())


def test_its_form_and_view_say_how_sound_is_to_be_cut(tokenizer: AudioMdctTokenizer) -> None:
    assert tokenizer.form == PcmForm(24000, 1, 720000, 320)
    assert tokenizer.spec.view == "pcm:24000:mono:720000+320"
    assert tokenizer.frame_rate_hz == Fraction(75)
    assert AudioMdctTokenizer(AudioMdctOptions(window_s=5)).view == "pcm:24000:mono:120000+320"


@settings(max_examples=25)
@given(cuts=st.sets(st.integers(1, 74), max_size=6), end=st.integers(75 * HOP - HOP + 1, 75 * HOP))
def test_a_recording_has_the_same_codes_whatever_windows_it_is_cut_into(
    tokenizer: AudioMdctTokenizer, cuts: set[int], end: int
) -> None:
    sound = speechlike(1.0, RATE_HZ, seed=3)[:end, 0]
    whole = tokenizer.encode(sound).values
    parts = codes_of(tokenizer.tokenize(windows_of(sound, [cut * HOP for cut in sorted(cuts)])))
    assert np.array_equal(np.concatenate(parts), whole)


def test_codes_do_not_depend_on_the_batch(tokenizer: AudioMdctTokenizer) -> None:
    sounds = [speechlike(0.1 + 0.37 * seed, RATE_HZ, seed=seed)[:, 0] for seed in range(5)]
    alone = [tokenizer.encode(sound).values for sound in sounds]
    batches = [windows_of(sound, []) for sound in sounds]
    for codes, together in zip(alone, codes_of(tokenizer.tokenize(WindowBatch.join(batches))), strict=True):
        assert np.array_equal(codes, together)


def test_codes_do_not_depend_on_threads_nor_on_the_precision_of_the_process(
    tokenizer: AudioMdctTokenizer, speech: Sound
) -> None:
    expected = tokenizer.encode(speech).values
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = tokenizer.encode(speech).values
    finally:
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("highest")
    assert np.array_equal(found, expected)


def test_fewer_codebooks_are_a_prefix_of_more(tokenizer: AudioMdctTokenizer, speech: Sound) -> None:
    whole = AudioMdctTokenizer(AudioMdctOptions(codebooks=12)).encode(speech).values
    assert np.array_equal(tokenizer.encode(speech).values, whole[:, :8])
    for count in (1, 3, 6, 9):
        part = AudioMdctTokenizer(AudioMdctOptions(codebooks=count))
        assert np.array_equal(part.encode(speech).values, whole[:, :count])


def test_more_codebooks_come_nearer(speech: Sound) -> None:
    found = list[float]()
    for count in (5, 7, 8, 12):
        tokenizer = AudioMdctTokenizer(AudioMdctOptions(codebooks=count))
        back = tokenizer.decode(tokenizer.encode(speech))[: len(speech), 0]
        found.append(si_sdr_db(speech, back))
    assert found == sorted(found)


def test_speech_like_sound_comes_back_well(tokenizer: AudioMdctTokenizer, speech: Sound) -> None:
    tokens = tokenizer.encode(speech)
    back = tokenizer.decode(tokens)
    assert back.shape == (len(tokens.values) * HOP, 1)
    assert back.dtype == np.float32
    assert si_sdr_db(speech, back[: len(speech), 0]) > 4.5
    assert log_spectral_distance_db(speech, back[: len(speech), 0]) < 9.5


def test_equal_codes_decode_to_equal_sound(tokenizer: AudioMdctTokenizer, speech: Sound) -> None:
    tokens = tokenizer.encode(speech)
    assert np.array_equal(tokenizer.decode(tokens), tokenizer.decode(tokens))


def test_silence_stays_silent(tokenizer: AudioMdctTokenizer) -> None:
    tokens = tokenizer.encode(np.zeros(RATE_HZ, np.float32))
    assert len(np.unique(tokens.values, axis=0)) == 1
    assert float(np.abs(tokenizer.decode(tokens)).max()) < 1e-3


@pytest.mark.parametrize(
    "sound",
    [
        np.full(4800, 1.0, np.float32),
        np.full(4800, -1.0, np.float32),
        np.tile(np.array([1.0, -1.0], np.float32), 2400),
        np.full(4800, 1e30, np.float32),
        np.float32(3.0) * speechlike(0.2, RATE_HZ)[:, 0],
        np.random.default_rng(0).uniform(-1, 1, 4800).astype(np.float32),
        np.array([0.5], np.float32),
    ],
    ids=["DC", "negative DC", "Nyquist", "huge", "clipped speech", "noise", "one sample"],
)
def test_any_finite_sound_has_codes_that_decode(tokenizer: AudioMdctTokenizer, sound: Sound) -> None:
    tokens = tokenizer.encode(sound)
    assert tokens.values.shape == (-(-len(sound) // HOP), 8)
    assert int(tokens.values.max()) < 1024
    back = tokenizer.decode(tokens)
    assert bool(np.isfinite(back).all())
    assert float(np.abs(back).max()) <= 1


def test_any_codes_decode(tokenizer: AudioMdctTokenizer) -> None:
    codes = np.random.default_rng(0).integers(0, 1024, (50, 8)).astype(np.uint16)
    back = tokenizer.decode(TokenSequence(codes))
    assert back.shape == (50 * HOP, 1)
    assert bool(np.isfinite(back).all())
    assert tokenizer.decode(TokenSequence(codes[:0])).shape == (0, 1)


def test_no_windows_give_no_tokens(tokenizer: AudioMdctTokenizer) -> None:
    tokens = tokenizer.tokenize(WindowBatch(tokenizer.view, np.zeros((0, 1), np.float32), np.zeros(0, np.int64)))
    assert len(tokens) == 0
    assert tokens.shapes.shape == (0, 2)
    assert tokens.values.dtype == np.uint16


def test_windows_that_may_not_be_written_to_are_taken(tokenizer: AudioMdctTokenizer, speech: Sound) -> None:
    batch = windows_of(speech, [])
    batch.data.flags.writeable = False
    assert len(tokenizer.tokenize(batch)) == 1


@pytest.mark.parametrize(
    ("data", "lengths", "message"),
    [
        (np.zeros((640, 2), np.float32), [640], r"\[N, 1\] float32"),
        (np.zeros(640, np.float32), [640], r"\[N, 1\] float32"),
        (np.zeros((640, 1), np.float64), [640], r"\[N, 1\] float32"),
        (np.zeros((320, 1), np.float32), [320], "320 samples of context"),
        (np.zeros((640, 1), np.float32), [641], "640 in all"),
        (np.full((640, 1), np.nan, np.float32), [640], "finite"),
        (np.full((640, 1), np.inf, np.float32), [640], "finite"),
    ],
)
def test_what_is_no_window_is_refused(
    tokenizer: AudioMdctTokenizer, data: npt.NDArray[Any], lengths: list[int], message: str
) -> None:
    with pytest.raises(TokenizeFailedError, match=message):
        tokenizer.tokenize(WindowBatch(tokenizer.view, data, np.asarray(lengths)))


@pytest.mark.parametrize(
    "values",
    [np.zeros((4, 7), np.uint16), np.zeros(8, np.uint16), np.full((4, 8), 1024, np.uint16)],
    ids=["codebooks", "axes", "code"],
)
def test_what_can_not_be_its_tokens_is_refused(tokenizer: AudioMdctTokenizer, values: npt.NDArray[Any]) -> None:
    with pytest.raises(TokenizeFailedError):
        tokenizer.decode(TokenSequence(values))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codebooks": 0}, "options.codebooks"),
        ({"codebooks": 13}, "1..12"),
        ({"window_s": 0}, "options.window_s"),
        ({"window_s": 2.5}, "options.window_s"),
        ({"weights": 3}, "options.weights"),
        ({"weights": "no/such.safetensors"}, "no such file"),
    ],
)
def test_bad_options_are_refused_with_their_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AudioMdctTokenizer(AudioMdctOptions(**options))


def test_the_identity_names_the_weights_but_neither_path_nor_device(
    tokenizer: AudioMdctTokenizer, tmp_path: Any
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(SHIPPED.read_bytes())
    assert AudioMdctTokenizer(AudioMdctOptions(weights=str(copy))).identity == tokenizer.to("cpu").identity
    assert AudioMdctTokenizer(AudioMdctOptions(codebooks=4)).identity != tokenizer.identity


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same_codes(tokenizer: AudioMdctTokenizer, speech: Sound) -> None:
    there = AudioMdctTokenizer(AudioMdctOptions()).to("cuda:0")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # TF32, which the search must not use
    try:
        found = there.encode(speech)
    finally:
        torch.set_float32_matmul_precision(before)
    expected = tokenizer.encode(speech)
    assert np.array_equal(found.values, expected.values)
    assert si_sdr_db(tokenizer.decode(expected)[:, 0], there.decode(found)[:, 0]) > 40
