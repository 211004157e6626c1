"""Messages that point to sound and film, right and wrong, and what each must become."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from tests.making import broken, long, lures, odd
from tests.making.film import write_film
from tests.making.sound import speechlike, tone, write_sound
from tests.pipeline.runtime.bad_images import Case

LONG_H = 12


def sound_and_film_cases(folder: Path, url: str) -> Iterator[Case]:
    """Made into a folder.

    Args:
        folder: for the files.
        url: that nothing must ever connect to.
    """

    def at(path: Path, **fields: str) -> bytes:
        return json.dumps({"uri": path.as_uri(), **fields}).encode()

    def sound(name: str, path: Path, becomes: str, says: str = "", topic: str = "audio", windows: int = 1) -> Case:
        # The modality is said, so that a name like .mp4 does not send it elsewhere.
        return Case(name, at(path, modality="audio"), becomes, says, topic=topic, windows=windows)

    def film(name: str, path: Path, becomes: str, says: str = "", topic: str = "video", windows: int = 1) -> Case:
        return Case(name, at(path, modality="video"), becomes, says, topic=topic, windows=windows)

    good = write_sound(folder / "good.flac", tone(3.0), 16_000, "flac")
    yield sound("good sound", good, "rows")
    part = json.dumps({"uri": good.as_uri(), "modality": "audio", "time_range_s": [1, 2]}).encode()
    yield Case("a part of a sound", part, "reference.refused", "time_range_s", topic="audio")
    yield sound("no audio stream", odd.without_sound(folder / "mute.mp4"), "decode.no_stream", "no audio stream")
    yield sound("0 samples", odd.no_samples(folder / "none.wav"), "decode.empty")
    yield sound("64 channels", odd.many_channels(folder / "64.wav"), "decode.limit", "64 channels")
    yield sound("NaN samples", odd.not_finite(folder / "nan.wav"), "decode.failed", "no numbers")
    yield sound("200 streams", odd.many_streams(folder / "200.mka"), "decode.limit", "200 streams")
    for suffix in ("flac", "mp3", "m4a", "wav"):
        cut = broken.cut_sound(folder / f"cut.{suffix}", 0.6, seconds=12.0)
        yield sound(f"cut {suffix}", cut, "decode.truncated")
        if suffix != "m4a":  # its index was at the end
            yield sound(f"cut {suffix}, kept", cut, "rows", topic="audio-kept")
    yield sound("NaN samples, kept", folder / "nan.wav", "rows", topic="audio-kept")
    cover = odd.with_cover(folder / "cover.m4a", speechlike(1.0, 48_000), 48_000, "aac")
    yield sound("sound with a cover", cover, "rows")
    late = write_sound(folder / "late.mka", tone(1.0), 16_000, "flac", start_s=Fraction(5, 2))
    yield sound("starts late", late, "rows")
    yield sound("twelve hours", long.sparse_wav(folder / "12h.wav", LONG_H), "rows", windows=LONG_H * 360)
    yield sound("garbage", broken.garbage(folder / "noise.mp3"), "decode.not_media")
    empty = folder / "zero.mp3"
    empty.write_bytes(b"")
    yield sound("no bytes", empty, "decode.empty")

    whole = write_film(folder / "good.mp4", 3.0, sound=speechlike(3.0, 48_000), subtitles=[(0.5, 1.0, "Hello")])
    yield film("good film", whole, "rows")
    # A bit less, so that the encoder's padding of the sound does not reach into a clip of its own.
    half_an_hour = long.long_film(folder / "long.mp4", 0.499, size=(32, 32), gop_s=10.0, rate_hz=8_000)
    yield film("half an hour, in three ranges", half_an_hour, "rows", windows=180)
    yield film("film without sound", folder / "mute.mp4", "rows")
    yield film("a cover is no film", cover, "decode.no_stream", "no video stream")
    yield film("one frame", odd.one_frame(folder / "one.mp4"), "rows")
    yield film("sound starts late", odd.starting_late(folder / "late.mkv"), "rows")
    yield film("negative timestamps", odd.negative_times(folder / "negative.ts"), "rows")
    cut = broken.cut_film(folder / "cut.mp4", 0.5, moov_first=True)
    yield film("cut film", cut, "decode.truncated")
    yield film("cut film, kept", cut, "rows", topic="video-kept")
    yield film("cut film without its index", broken.cut_film(folder / "cut2.mp4", 0.5), "decode.truncated")
    yield film("no such film", folder / "none.mp4", "fetch.not_found")
    for kind in lures.KINDS:
        for name in (f"{kind}.m3u8", f"{kind}.mp4", f"{kind}.mp3"):
            for where, target in (("file", whole), ("url", url)):
                lure = lures.write_lure(folder / f"{where}-{name}", kind, target)
                yield film(f"{kind} to a {where} as {name}", lure, "decode.not_media")
        yield sound(f"{kind} as sound", folder / f"file-{kind}.mp3", "decode.not_media")
