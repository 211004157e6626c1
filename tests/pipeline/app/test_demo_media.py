from __future__ import annotations

import importlib.util
import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from operators.errors import ConfigError
from operators.records import Modality
from pipeline.app.demo_film import make_film
from pipeline.app.demo_folder import MadeMedium, demo_media
from pipeline.app.demo_media import photographs
from pipeline.app.demo_speech import spoken


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[MadeMedium, ...]:
    return demo_media(tmp_path_factory.mktemp("made") / "media")


def duration_s(path: Path) -> float:
    with av.open(path) as opened:
        assert opened.duration is not None
        return opened.duration / 1_000_000


def test_a_text_is_spoken_the_same_each_time_whatever_was_spoken_before() -> None:
    rate_hz, first = spoken("A cup of coffee.")
    other = spoken("A cup of coffee.", "de")[1]
    again = spoken("A cup of coffee.")[1]
    assert rate_hz == 22_050
    assert first.dtype == np.float32
    assert 0.1 < np.abs(first).max() <= 1
    assert 0.5 < len(first) / rate_hz < 2
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_longer_text_takes_longer() -> None:
    assert len(spoken("One, two, three, four, five, six.")[1]) > 2 * len(spoken("One.")[1])


@pytest.mark.parametrize("voice", ["klingon-from-nowhere", "en-us+nobody", ""])
def test_a_voice_that_does_not_exist_is_an_error_of_the_configuration(voice: str) -> None:
    with pytest.raises(ConfigError, match="no voice"):
        spoken("hello", voice)


def test_without_the_package_the_error_names_the_group_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="demo group"):
        spoken("hello")


def test_speech_comes_in_several_containers_and_voices(made: tuple[MadeMedium, ...]) -> None:
    sounds = [each for each in made if each.modality is Modality.AUDIO]
    assert len(sounds) == 8
    codecs = set[str]()
    for sound in sounds:
        assert 3 < duration_s(sound.path) < 10
        with av.open(sound.path) as opened:
            (stream,) = opened.streams.audio
            codecs.add(stream.codec_context.codec.canonical_name)
            samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in opened.decode(stream)])
            assert samples.astype(float).std() > 0.02 * np.abs(samples).max()
    assert codecs == {"pcm_s16le", "flac", "mp3", "opus", "aac"}


def test_a_film_shows_speaks_and_writes_its_captions(made: tuple[MadeMedium, ...]) -> None:
    films = [each for each in made if each.modality is Modality.VIDEO]
    assert len(films) == 2
    for film in films:
        assert 20 < duration_s(film.path) < 30
        with av.open(film.path) as opened:
            subtitles = opened.streams.subtitles[0]
            codecs = [stream.codec_context.codec.canonical_name for stream in opened.streams]
            assert codecs == ["h264", "aac", "mov_text"]
            assert subtitles.language == "eng"
            texts = [packet.decode()[0].dialogue.decode() for packet in opened.demux(subtitles) if packet.size > 2]
        assert " ".join(texts) == film.caption


def test_no_two_frames_next_to_each_other_are_alike(made: tuple[MadeMedium, ...]) -> None:
    with av.open(made[-1].path) as opened:
        frames = [frame.to_ndarray(format="gray").astype(int) for frame in opened.decode(video=0)]
    changes = [np.abs(after - before).mean() for before, after in pairwise(frames)]
    assert min(changes) > 0.1
    assert sum(change > 20 for change in changes) == 4  # from photograph to photograph


def test_a_caption_is_written_while_it_is_heard(tmp_path: Path) -> None:
    shown = photographs()[:2]
    captions = ["First.", "And second."]
    length_s = make_film(tmp_path / "a.mp4", [each.path for each in shown], captions, size=(64, 96), frames_hz=5)
    assert duration_s(tmp_path / "a.mp4") == pytest.approx(length_s, abs=0.05)
    with av.open(tmp_path / "a.mp4") as opened:
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in opened.decode(audio=0)])
        rate_hz = opened.streams.audio[0].codec_context.sample_rate
    with av.open(tmp_path / "a.mp4") as opened:
        written = [
            (packet.pts * packet.time_base, (packet.pts + packet.duration) * packet.time_base)
            for packet in opened.demux(subtitles=0)
            if packet.size > 2
        ]
    assert len(written) == 2
    silent = np.ones(len(samples), bool)
    for t0_s, t1_s in written:
        within = slice(int(t0_s * rate_hz), int((t1_s + Fraction(1, 10)) * rate_hz))
        assert np.abs(samples[within]).max() > 0.1
        silent[within] = False
    assert np.abs(samples[silent]).max() < 0.01


def test_what_is_there_already_is_left_as_it_is(made: tuple[MadeMedium, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made[0].path.parent
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(folder)}
    assert set(before) == {each.path.name for each in made}
    monkeypatch.setattr("pipeline.app.demo_folder.spoken", pytest.fail)
    monkeypatch.setattr("pipeline.app.demo_folder.make_film", pytest.fail)
    assert demo_media(folder) == made
    assert {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(folder)} == before


def test_a_file_that_failed_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(text: str, voice: str) -> None:
        raise ConfigError("no speech today")

    monkeypatch.setattr("pipeline.app.demo_folder.spoken", failing)
    with pytest.raises(ConfigError, match="today"):
        demo_media(tmp_path)
    assert not list(tmp_path.iterdir())


def test_speech_made_again_has_the_same_bytes(
    made: tuple[MadeMedium, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.app.demo_folder.make_film", lambda path, *_, **__: path.write_bytes(b""))
    for again in demo_media(tmp_path)[:8]:
        assert again.path.read_bytes() == (made[0].path.parent / again.path.name).read_bytes(), again.path.name


def test_a_film_made_again_has_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path in paths:
        make_film(path, [each.path for each in photographs()[:2]], ["One.", "Two."], size=(64, 96), frames_hz=5)
    assert paths[0].read_bytes() == paths[1].read_bytes()
