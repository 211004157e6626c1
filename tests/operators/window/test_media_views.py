from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.clips import Clip, Cue, clips_of
from operators.decode.audio import DecodedAudio
from operators.decode.pcm import PcmSpan
from operators.decode.video import DecodedVideo
from operators.errors import ConfigError
from operators.forms import CLOCK_HZ, ClipForm, PcmForm
from operators.records import WindowBatch
from operators.window import AudioView, ClipView, parse_view

FORM = PcmForm(24_000, 1, 100, 7)
CLIPS = ClipForm(2, Fraction(3), 4, 6, PcmForm(8_000, 2, 16_000, 5), text=True)


@given(
    st.builds(PcmForm, st.integers(1, 192_000), st.sampled_from([1, 2]), st.integers(1, 10**9), st.integers(0, 10**6))
)
def test_a_sounds_view_is_all_in_its_name(form: PcmForm) -> None:
    assert parse_view(AudioView(form).key) == AudioView(form)


@given(
    clip_s=st.integers(1, 3600),
    frames_hz=st.fractions(min_value=0, max_value=99, max_denominator=1001),
    side=st.integers(1, 2000),
    sound=st.one_of(st.none(), st.tuples(st.integers(1, 96_000), st.sampled_from([1, 2]), st.integers(0, 9999))),
    text=st.booleans(),
)
def test_a_films_view_is_all_in_its_name(
    clip_s: int, frames_hz: Fraction, side: int, sound: tuple[int, int, int] | None, text: bool
) -> None:
    form = PcmForm(sound[0], sound[1], sound[0] * clip_s, sound[2]) if sound else None
    view = ClipView(ClipForm(clip_s, frames_hz, side, side + 1, form, text))
    assert parse_view(view.key) == view


@pytest.mark.parametrize(
    "key",
    ["pcm:24000:mono:0+0", "pcm:24000:quad:10+0", "pcm:024000:mono:10+0", "clip:0s:1fps:4x4:silent:mute", "clip:2s"],
)
def test_other_names_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="not one of"):
        parse_view(key)


@given(st.integers(0, 5), st.integers(0, 450))
def test_windows_of_sound_lie_end_to_end_each_with_what_came_before(first: int, count: int) -> None:
    samples = np.arange(7 + count, dtype=np.float32)[:, None]
    decoded = DecodedAudio(9.5, Fraction(1, 2), {FORM: PcmSpan(first * 100, samples)})
    windows = AudioView(FORM).windows(decoded)
    assert sum(meta.end - meta.start for meta, _ in windows) == count
    for number, (meta, window) in enumerate(windows):
        assert meta.start == first * 100 + number * 100
        assert len(window) == 7 + meta.end - meta.start
        assert window[0, 0] == number * 100
        assert (meta.rate_num, meta.rate_den, meta.duration_s, meta.raw_start) == (24_000, 1, 9.5, 12_000)
    batch = AudioView(FORM).stack([window for _, window in windows])
    assert len(batch) == len(windows)
    assert all(np.array_equal(batch[number], window) for number, (_, window) in enumerate(windows))


def test_damage_marks_the_window_it_lies_in_and_at_the_end_the_last_one() -> None:
    samples = np.zeros((7 + 250, 1), np.float32)

    def marks(*damage: Fraction, ended: bool = True) -> list[bool]:
        decoded = DecodedAudio(0.0, Fraction(0), {FORM: PcmSpan(0, samples)}, damage, ended)
        return [meta.partial for meta, _ in AudioView(FORM).windows(decoded)]

    assert marks() == [False] * 3
    assert marks(Fraction(150, 24_000)) == [False, True, False]
    assert marks(Fraction(250, 24_000)) == [False, False, True]
    assert marks(Fraction(250, 24_000), ended=False) == [False] * 3


def clip(number: int, frames: int, samples: int, cues: tuple[Cue, ...] = ()) -> Clip:
    rng = np.random.default_rng(number)
    return Clip(
        start=number * 2 * CLOCK_HZ,
        end=(number + 1) * 2 * CLOCK_HZ,
        frames=rng.integers(0, 255, (frames, 4, 6, 3), np.uint8),
        shown=rng.integers(0, 10**12, (frames, 2)),
        sampled=np.arange(frames, dtype=np.int64),
        sound=rng.standard_normal((samples, 2)).astype(np.float32),
        cues=cues,
    )


def same(one: Clip, other: Clip) -> bool:
    arrays = ("frames", "shown", "sampled", "sound")
    equal = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return equal and (one.start, one.end, one.cues) == (other.start, other.end, other.cues)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=5),
    texts=st.lists(st.text(max_size=9), max_size=3),
    data=st.data(),
)
def test_clips_come_out_of_a_batch_as_they_went_in_whatever_is_cut_and_joined(
    sizes: list[tuple[int, int]], texts: list[str], data: st.DataObject
) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    cues = tuple(Cue(number, number + 1, text, "eng") for number, text in enumerate(texts))
    clips = [clip(number, *size, cues if number % 2 else ()) for number, size in enumerate(sizes)]
    batch = ClipView(CLIPS).stack(clips)
    at = data.draw(st.integers(0, len(clips)))
    parts = [part for part in (batch.rows(0, at), batch.rows(at, len(clips))) if len(part)]
    out = clips_of(WindowBatch.join(parts))
    assert len(out) == len(clips)
    assert all(same(one, other) for one, other in zip(out, clips, strict=True))
    assert batch.size_bytes > sum(one.frames.nbytes + one.sound.nbytes for one in clips)


def test_a_film_has_its_facts_on_each_clip() -> None:
    clips = (clip(0, 2, 9), clip(1, 1, 9))
    decoded = DecodedVideo(640, 360, 4.5, Fraction(-1, 2), {CLIPS: clips}, (Fraction(4),), ended=True)
    metas = [meta for meta, _ in ClipView(CLIPS).windows(decoded)]
    assert [(meta.width, meta.height, meta.duration_s, meta.raw_start) for meta in metas] == [
        (640, 360, 4.5, -CLOCK_HZ // 2)
    ] * 2
    assert [meta.partial for meta in metas] == [False, True]
