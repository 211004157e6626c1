from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.decode.ending import file_ends_early, flac_total_samples
from tests.making import odd
from tests.making.film import write_film
from tests.making.sound import speechlike, tone, write_sound

LEAST_LEFT = 64

Make = Callable[[Path], Path]


def sound(codec: str, container: str | None = None, **options: Any) -> Make:
    return lambda path: write_sound(path, speechlike(2, 48_000, 2), 48_000, codec, container, **options)


def film(video: str = "libx264", audio: str = "aac", movflags: str | None = None) -> Make:
    options = {"movflags": movflags} if movflags else None
    heard = speechlike(2, 48_000, 2)
    return lambda path: write_film(
        path, 2, video_codec=video, sound=heard, audio_codec=audio, container_options=options
    )


FRAGMENTS = "frag_keyframe+empty_moov"
# Name, how it is made, and the fewest bytes whose loss is told.
TOLD: dict[str, tuple[Make, int]] = {
    "a.wav": (sound("pcm_s16le"), 9),
    "float.wav": (sound("pcm_f32le"), 9),
    "wide.wav": (sound("pcm_s16le", container_options={"rf64": "always"}), 9),
    "a.mp3": (sound("libmp3lame"), 400),
    "variable.mp3": (sound("libmp3lame", q="4"), 400),
    "cover.mp3": (lambda path: odd.with_cover(path, tone(2), 16_000, "libmp3lame"), 400),
    "a.m4a": (sound("aac"), 1),
    "a.mka": (sound("libopus"), 1),
    "a.webm": (sound("libopus"), 1),
    "f.mp4": (film(), 1),
    "f.mov": (film(), 1),
    "first.mp4": (film(movflags="faststart"), 1),
    "f.mkv": (film(audio="libopus"), 1),
    "vp9.webm": (film("libvpx-vp9", "libopus"), 1),
    "f.avi": (film("mpeg4", "libmp3lame"), 9),
}
# Those of which a cut between two pieces is not told.
MOSTLY: dict[str, Make] = {
    "a.aac": sound("aac", "adts"),
    "a.ogg": sound("libopus"),
    "v.ogg": sound("vorbis"),
    "pieces.mp4": film(movflags=FRAGMENTS),
}
# Those of which a cut is not told at all, or only sometimes.
SELDOM: dict[str, Make] = {
    "a.flac": sound("flac"),
    "cover.flac": lambda path: odd.with_cover(path, tone(2), 16_000, "flac"),
    "f.ts": film(),
    "200.mkv": odd.many_streams,
    "none.wav": odd.no_samples,
    "none.flac": lambda path: odd.no_samples(path, "flac"),
    "none.m4a": lambda path: odd.no_samples(path, "aac"),
    "none.ogg": lambda path: odd.no_samples(path, "libopus"),
    "none.mka": lambda path: odd.no_samples(path, "libopus"),
    "one.mp4": odd.one_frame,
    "late.mp4": odd.starting_late,
    "gap.mkv": lambda path: odd.with_gap(film(audio="libopus")(path.with_stem("whole")), path),
    "chain.ogg": lambda path: odd.chained_ogg(path, [tone(1), tone(1.5)]),
    "64.wav": odd.many_channels,
    "dash.mp4": film(movflags="dash"),
}
EVERY = {**{name: make for name, (make, _) in TOLD.items()}, **MOSTLY, **SELDOM}

BEGINNINGS = [
    *(b"", b"RIFF", b"RF64", b"RIFF\xff\xff\xff\xffWAVE", b"OggS", b"fLaC", b"\x1a\x45\xdf\xa3", b"\xff\xfb\x90"),
    *(b"\xff\xf1", b"ID3\4\0\0\0\0", b"\0\0\0\x10ftyp", b"\0\0\0\x01mdat", b"\0\0\0\x08moov"),
]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: make(folder / name).read_bytes() for name, make in EVERY.items()}


def early(content: bytes) -> bool:
    file = io.BytesIO(content)
    file.seek(5)
    told = file_ends_early(file, len(content))
    assert file.tell() == 5
    return told


@pytest.mark.parametrize("name", EVERY)
def test_a_whole_file_is_never_said_to_end_early(contents: dict[str, bytes], name: str) -> None:
    assert not early(contents[name])


@pytest.mark.parametrize("name", TOLD)
@settings(max_examples=60)
@given(data=st.data())
def test_a_file_cut_anywhere_is_told(contents: dict[str, bytes], name: str, data: st.DataObject) -> None:
    content = contents[name]
    most = len(content) - TOLD[name][1]
    left = data.draw(st.integers(LEAST_LEFT, most) | st.integers(most - 50, most))
    assert early(content[:left])


@pytest.mark.parametrize("name", MOSTLY)
def test_a_file_of_pieces_is_told_unless_it_is_cut_between_two(contents: dict[str, bytes], name: str) -> None:
    content = contents[name]
    lefts = range(LEAST_LEFT, len(content), 7)
    kept = [left for left in lefts if not early(content[:left])]
    assert len(kept) < len(lefts) / 50


def test_of_aac_frames_every_cut_but_at_their_ends_is_told(contents: dict[str, bytes]) -> None:
    content = contents["a.aac"]
    ends, at = set[int](), 0
    while at < len(content):
        at += (content[at + 3] & 3) << 11 | content[at + 4] << 3 | content[at + 5] >> 5
        ends.add(at)
    untold = {left for left in range(LEAST_LEFT, len(content) + 1) if not early(content[:left])}
    assert untold == ends


def test_a_film_without_its_index_ends_early(contents: dict[str, bytes]) -> None:
    content = contents["f.mp4"]
    assert early(content[: content.rindex(b"moov") - 4])


def test_a_film_without_its_media_ends_early(contents: dict[str, bytes]) -> None:
    content = contents["first.mp4"]
    assert early(content[: content.index(b"mdat") - 4])


def test_flac_frames_fewer_than_the_least_that_their_number_takes_are_told(contents: dict[str, bytes]) -> None:
    content = contents["a.flac"]
    assert early(content[: len(content) // 10])


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_F024, 0x7FFF_FFFF, 0x8000_0000])
def test_a_wav_of_unknown_size_does_not_end_early(contents: dict[str, bytes], size: int) -> None:
    content = bytearray(contents["a.wav"][:5_000])
    assert early(bytes(content))
    content[4:8] = struct.pack("<I", size)
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", size)
    assert not early(bytes(content))


def test_a_wav_whose_data_alone_say_their_size_is_told(contents: dict[str, bytes]) -> None:
    content = bytearray(contents["a.wav"])
    content[4:8] = b"\xff" * 4
    assert not early(bytes(content))
    assert early(bytes(content[:-100]))


def test_of_an_avi_film_in_several_riff_chunks_the_last_one_counts() -> None:
    first = b"RIFF" + struct.pack("<I", 101) + b"AVI " + bytes(98)
    second = b"RIFF" + struct.pack("<I", 200) + b"AVIX" + bytes(196)
    assert not early(first + second)
    assert early(first + second[:-9])


def test_a_matroska_file_of_unknown_size_does_not_end_early(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mka", tone(2), 16_000, "libopus", container_options={"live": "1"})
    content = path.read_bytes()
    assert not early(content)
    assert not early(content[: len(content) // 2])


def test_an_mp3_without_a_header_that_counts_its_bytes_does_not_end_early(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mp3", tone(2), 16_000, "libmp3lame", container_options={"write_xing": "0"})
    content = path.read_bytes()
    assert not early(content)
    assert not early(content[: len(content) // 2])


def test_an_mp3_whose_tag_reaches_beyond_its_end_is_told(contents: dict[str, bytes]) -> None:
    assert early(contents["cover.mp3"][:500])


@pytest.mark.parametrize("name", [name for name in EVERY if Path(name).suffix not in {".mka", ".webm", ".mkv"}])
def test_what_was_appended_harms_nothing(contents: dict[str, bytes], name: str) -> None:
    assert not early(contents[name] + b"\0" * 300)
    if name.endswith((".mp3", ".aac", ".flac")):
        assert not early(contents[name] + b"TAG" + b" " * 125)


def test_an_avif_picture_needs_no_index() -> None:
    ftyp = struct.pack(">I4s4sI", 16, b"ftyp", b"avif", 0)
    meta, mdat = struct.pack(">I4s", 8, b"meta"), struct.pack(">I4s", 8, b"mdat")
    assert not early(ftyp + meta + mdat)


def test_headers_without_end_are_given_up() -> None:
    assert not early(struct.pack(">I4s", 8, b"free") * 300_000)


@settings(max_examples=300)
@given(
    begin=st.sampled_from(BEGINNINGS),
    rest=st.binary(max_size=400),
)
def test_random_bytes_never_raise(begin: bytes, rest: bytes) -> None:
    assert early(begin + rest) in {True, False}
    total = flac_total_samples(io.BytesIO(begin + rest))
    assert total is None or total > 0


@pytest.mark.parametrize("name", EVERY)
def test_damaged_files_never_raise(contents: dict[str, bytes], name: str) -> None:
    rng = random.Random(name)
    for _ in range(50):
        damaged = bytearray(contents[name][:3_000])
        for _ in range(10):
            damaged[rng.randrange(min(len(damaged), 200))] = rng.randrange(256)
        assert early(bytes(damaged)) in {True, False}


def test_flac_says_how_many_samples_it_has(contents: dict[str, bytes]) -> None:
    assert flac_total_samples(io.BytesIO(contents["a.flac"])) == 96_000
    assert flac_total_samples(io.BytesIO(b"ID3\4\0\0\0\0\0\5hello" + contents["a.flac"])) == 96_000
    assert flac_total_samples(io.BytesIO(contents["none.flac"])) is None
    assert flac_total_samples(io.BytesIO(contents["a.wav"])) is None


def test_a_late_film_is_whole_too(tmp_path: Path) -> None:
    path = odd.starting_late(tmp_path / "late.mov", Fraction(-1))
    with path.open("rb") as file:
        assert not file_ends_early(file, path.stat().st_size)
