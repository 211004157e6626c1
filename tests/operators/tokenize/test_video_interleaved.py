"""With a sound tokenizer that is easy to foresee; the one that ships is tried at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from operators.clips import Clip, Cue, clip_batch
from operators.decode import VideoDecoder
from operators.errors import ConfigError, TokenizeFailedError
from operators.forms import CLOCK_HZ
from operators.records import ContentFacts, TokenSequence
from operators.tokenize import registry
from operators.tokenize.audio_base import AudioTokenizer
from operators.tokenize.video_interleaved import VideoInterleavedOptions, VideoInterleavedTokenizer
from operators.window import ClipView, parse_view
from tests.making.film import write_film
from tests.making.sound import speechlike

HOP, RATE_HZ = 80, 8_000
IMAGE, AUDIO, TEXT = 0, 1, 2


class Counting(AudioTokenizer):
    """Two codes a frame: its number within the window, and how loud it is."""

    def __init__(self) -> None:
        super().__init__(rate_hz=RATE_HZ, channels=1, hop=HOP, context=HOP, window_s=10)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (4096, 1001)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"class": f"{__name__}:Counting", "options": {}}

    def to(self, device: str) -> Counting:
        return self

    def codes_of(self, windows: Sequence[Tensor]) -> list[npt.NDArray[Any]]:
        return [self._codes(window.numpy()[self.context :, 0]) for window in windows]

    def _codes(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        count = -(-len(samples) // HOP)
        frames = np.pad(samples, (0, count * HOP - len(samples))).reshape(count, HOP)
        loud = np.minimum(np.abs(frames).max(axis=1), 1) * 1000
        return np.stack([np.arange(count), loud.astype(np.int64)], axis=1).astype(np.uint16)

    def samples_of(self, tokens: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.repeat(tokens[:, 1:2].astype(np.float32) / 1000, HOP, axis=0)


def tokenizer(frames_hz: float | str = 2, clip_s: int = 4, **parts: Any) -> VideoInterleavedTokenizer:
    small = {"tokenizer": "image-rq", "options": {"size": 32, "layers": 2}}
    given = {"image": small, "audio": f"{__name__}:Counting", "text": "text-bytes", **parts}
    return VideoInterleavedTokenizer(VideoInterleavedOptions(frames_hz, clip_s, **given))


def clip(made: VideoInterleavedTokenizer, number: int = 0, sound_s: float = 4.0, cues: tuple[Cue, ...] = ()) -> Clip:
    start = number * made.clip_s * CLOCK_HZ
    rng = np.random.default_rng(number)
    period = int(CLOCK_HZ / made.frames_hz) if made.form.frames_hz else 0
    count = int(made.clip_s * made.frames_hz) if made.form.frames_hz else 0
    sampled = start + np.arange(count, dtype=np.int64) * period
    samples = rng.uniform(-1, 1, (round(sound_s * RATE_HZ), 1)).astype(np.float32)
    context = made.form.sound.context if made.form.sound else 0
    return Clip(
        start=start,
        end=start + made.clip_s * CLOCK_HZ,
        frames=rng.integers(0, 255, (count, made.form.height, made.form.width, 3), np.uint8),
        shown=np.stack([sampled - CLOCK_HZ // 100, sampled + period], axis=1),
        sampled=sampled,
        sound=np.concatenate([np.zeros((context, 1), np.float32), samples]) if len(samples) else samples,
        cues=cues,
    )


@pytest.fixture(scope="module")
def made() -> VideoInterleavedTokenizer:
    return tokenizer()


def test_the_view_is_the_parts_own_sizes_and_rates(made: VideoInterleavedTokenizer) -> None:
    assert made.view == "clip:4s:2fps:32x32:8000-mono+80:text"
    assert parse_view(made.view) == ClipView(made.form)
    assert [part.name for part in made.spec.parts] == ["image-rq", f"{__name__}:Counting", "text-bytes"]
    assert [part.shape for part in made.spec.parts] == [(4, 4, 2), (0, 2), (0,)]


def test_pictures_sound_and_subtitles_come_in_the_order_of_time(made: VideoInterleavedTokenizer) -> None:
    cue = Cue(int(0.7 * CLOCK_HZ), int(1.7 * CLOCK_HZ), "Hello", "eng")
    tokens = made.encode(clip(made, cues=(cue,)))
    assert [
        (span.tokenizer, round(span.t0 / CLOCK_HZ, 2), round(span.t1 / CLOCK_HZ, 2)) for span in tokens.spans[:7]
    ] == [
        (IMAGE, -0.01, 0.5),
        (AUDIO, 0.0, 0.5),
        (IMAGE, 0.49, 1.0),
        (AUDIO, 0.5, 0.7),
        (TEXT, 0.7, 1.7),
        (AUDIO, 0.7, 1.0),
        (IMAGE, 0.99, 1.5),
    ]
    text = tokens.spans[4]
    assert (text.text, text.language) == ("Hello", "eng")
    assert bytes(tokens.values[text.start : text.start + text.length].astype(np.uint8)) == b"Hello"


@settings(max_examples=60, deadline=None)
@given(
    frames_hz=st.sampled_from(["1", "2", "3", "30000/1001", "1/3", "7"]),
    sound_s=st.one_of(st.just(0.0), st.floats(0.001, 4.0)),
    number=st.integers(0, 3),
    at=st.lists(st.floats(0, 3.99), max_size=4),
)
def test_spans_cover_every_code_once_and_every_frame_of_sound_in_its_place(
    frames_hz: str, sound_s: float, number: int, at: list[float]
) -> None:
    made = tokenizer(frames_hz, image={"tokenizer": "image-rq", "options": {"size": 8, "layers": 1}})
    start = number * 4 * CLOCK_HZ
    cues = tuple(Cue(start + int(t * CLOCK_HZ), start + int(t * CLOCK_HZ) + 1, "x") for t in sorted(at))
    given_clip = clip(made, number, sound_s, cues)
    tokens = made.encode(given_clip)
    ends = np.cumsum([span.length for span in tokens.spans]).tolist()
    assert [span.start for span in tokens.spans] == [0, *ends[:-1]] if ends else not tokens.spans
    assert len(tokens.values) == (ends[-1] if ends else 0)
    heard = [span for span in tokens.spans if span.tokenizer == AUDIO]
    codes = [tokens.values[span.start : span.start + span.length].reshape(-1, 2) for span in heard]
    if heard:
        assert np.concatenate(codes)[:, 0].tolist() == list(range(-(-round(sound_s * RATE_HZ) // HOP)))
    else:
        assert round(sound_s * RATE_HZ) == 0
    for span, frames in zip(heard, codes, strict=True):
        for end, frame in ((span.t0, frames[0, 0]), (span.t1, frames[-1, 0] + 1)):
            assert end == start + int(Fraction(int(frame) * HOP * CLOCK_HZ, RATE_HZ))
    places = [int(given_clip.sampled[k]) for k in range(len(given_clip.sampled))]
    shown = iter(places)
    order = [next(shown) if span.tokenizer == IMAGE else span.t0 for span in tokens.spans]
    # A frame of sound belongs to where it begins, so it may reach over the picture or text that comes next.
    frame = HOP * CLOCK_HZ // RATE_HZ
    assert all(later >= earlier - frame for earlier, later in pairwise(order))
    assert sum(span.tokenizer == IMAGE for span in tokens.spans) == len(given_clip.frames)
    assert sum(span.tokenizer == TEXT for span in tokens.spans) == len(cues)


def test_a_batch_gives_what_each_clip_gives_alone(made: VideoInterleavedTokenizer) -> None:
    cue = Cue(4 * CLOCK_HZ + 5, 4 * CLOCK_HZ + 9, "in the second")
    clips = [clip(made), clip(made, 1, 0.0, (cue,)), clip(made, 2, 1.234)]
    together = made.tokenize(clip_batch(made.view, made.form, clips))
    for index, each in enumerate(clips):
        alone = made.encode(each)
        assert np.array_equal(together[index].values, alone.values)
        assert together[index].spans == alone.spans


def test_decoding_gives_the_pictures_the_sound_and_the_texts_back(made: VideoInterleavedTokenizer) -> None:
    cue = Cue(CLOCK_HZ, 2 * CLOCK_HZ, "back")
    before = clip(made, cues=(cue,))
    after = made.decode(made.encode(before))
    image = made.parts[IMAGE]
    assert np.array_equal(after.frames[3], image.decode(image.encode(before.frames[3])))
    assert after.sampled.tolist() == before.sampled.tolist()
    assert after.shown.tolist() == before.shown.tolist()
    assert after.cues == before.cues
    assert len(after.sound) == len(before.sound)
    whole = made.decode_sound([made.encode(before), made.encode(clip(made, 1))])
    assert whole.shape == (8 * RATE_HZ, 1)


def test_codes_without_their_spans_are_refused(made: VideoInterleavedTokenizer) -> None:
    with pytest.raises(TokenizeFailedError, match="spans"):
        made.decode(TokenSequence(np.zeros(4, np.uint16)))


@pytest.mark.parametrize("left_out", ["image", "audio", "text"])
def test_a_part_may_be_left_out(left_out: str) -> None:
    made = tokenizer(**{left_out: None})
    assert len(made.spec.parts) == 2
    cue = Cue(0, 9, "text") if left_out != "text" else None
    tokens = made.encode(clip(made, cues=(cue,) if cue else (), sound_s=0.0 if left_out == "audio" else 4.0))
    assert {span.tokenizer for span in tokens.spans} == {0, 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image": None, "audio": None}, "needs `image` or `audio`"),
        ({"image": "image-rqq"}, "options.image: no tokenizer is called"),
        ({"image": "image-patches"}, "gives embeddings"),
        ({"image": "text-bytes"}, "of text, not codes of image"),
        ({"audio": {"name": "x"}}, "options.audio: must be a tokenizer's name"),
        ({"frames_hz": 0}, "options.frames_hz"),
        ({"frames_hz": "24/0"}, "options.frames_hz"),
        ({"clip_s": 0}, "options.clip_s"),
        ({"image": {"tokenizer": "image-rq", "options": {"sizes": 3}}}, "did you mean"),
    ],
)
def test_wrong_options_say_what_would_be_right(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tokenizer(**options)


def test_its_identity_builds_it_again(made: VideoInterleavedTokenizer) -> None:
    again = registry.build(made.identity["class"], made.identity["options"])
    assert again.identity == made.identity
    assert tokenizer(frames_hz=3).identity != made.identity


def test_the_one_that_ships_tokenizes_a_film(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 12.0, sound=speechlike(12.0, 48_000), subtitles=[(1.0, 2.0, "Good day")])
    made = registry.build("video-interleaved", {})
    assert isinstance(made, VideoInterleavedTokenizer)
    decoded = VideoDecoder((made.form,)).decode(path, ContentFacts("1", "a", 1), None).decoded
    first, second = decoded.clips[made.form]
    tokens = made.encode(first)
    assert len(tokens.values) == 10 * 32 * 32 * 4 + 750 * 8 + sum(s.length for s in tokens.spans if s.tokenizer == TEXT)
    assert sum(span.length for span in made.encode(second).spans if span.tokenizer == AUDIO) == pytest.approx(
        2 * 600, abs=16
    )
