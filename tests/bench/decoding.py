"""Decoders against each other, one thread each: JPEG, at which scale; a film at 1 Hz, how; sound, by which resampler.

Each time is of the CPU, the best of several tries: what else the machine does only ever adds. Where another way that
keeps the pixels is faster than what our operators choose, that is a figure above 1.
"""

from __future__ import annotations

import importlib.util
import io
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import simplejpeg
import soxr
from PIL import Image
from rich.console import Console

from operators.decode.image import decode_image
from operators.fit.image_rq import psnr_db
from operators.resizing import resized
from pipeline.app.demo_media import photographs
from pipeline.observe.status_table import plain_table
from tests.bench.films_at_1hz import WAYS
from tests.bench.recordings import Wandering
from tests.bench.results import Figure, Results, Wish
from tests.bench.sums import crossover
from tests.making.film import write_film
from tests.making.photograph import jpeg_of
from tests.making.sound import speechlike, write_sound

Pixels = npt.NDArray[np.uint8]
WINDOW = 256
SIDES = (300, 512, 768, 1024, 2048, 4096)
GOPS = (12, 25, 48, 100, 250)
"""Frames from keyframe to keyframe, at 25 Hz."""
FILM_SIZE = (360, 640)
TOLERANCE_DB = 36.0
"""What `decode_image` promises of reduced scales against the whole."""
SLACK = 1.1
"""A way that is faster by less than this is as good: that is the noise."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a 256×256 window of a JPEG.

    Attributes:
        db: PSNR against the whole, resized; infinite for the whole.
    """

    name: str
    ms: float
    db: float


def best_s(does: Callable[[], object], tries: int = 5, least_s: float = 0.05) -> float:
    """CPU time: the shortest of several tries, each of as many calls as take a while."""
    does()
    calls, best = 1, math.inf
    for _ in range(tries):
        began_s = time.process_time()
        for _ in range(calls):
            does()
        took_s = max(1e-9, time.process_time() - began_s)
        best = min(best, took_s / calls)
        calls = max(1, min(1000, round(least_s / best)))
    return best


def jpeg_ways(side: int) -> dict[str, Way]:
    """Every way from a JPEG of `side`×`side` to the window; the photograph that suffers most counts."""
    contents = [jpeg_of(photo.path, side) for photo in photographs()]
    ways: dict[str, Callable[[bytes], Pixels]] = {
        "simplejpeg, whole": lambda content: resized(simplejpeg.decode_jpeg(content, "RGB"), WINDOW, WINDOW),
        "PIL, whole": lambda content: resized(_with_pillow(content, None), WINDOW, WINDOW),
        "PIL, draft": lambda content: resized(_with_pillow(content, 2 * WINDOW), WINDOW, WINDOW),
        "ours": _ours,
    }
    for eighths in (1, 2, 4):
        if side * eighths >= 8 * WINDOW:
            ways[f"simplejpeg, {eighths}/8"] = _scaled(math.ceil(side * eighths / 8))
    if importlib.util.find_spec("torchvision"):
        ways["torchvision, whole"] = _with_torchvision
    wholes = [ways["simplejpeg, whole"](content) for content in contents]
    return {
        name: Way(
            name,
            1000 * best_s(lambda way=way: way(contents[0])),
            min(psnr_db(way(content), whole) for content, whole in zip(contents, wholes, strict=True)),
        )
        for name, way in ways.items()
    }


def film_ways(folder: Path, gop: int, seconds: int) -> dict[str, float]:
    """ms a picture at 1 Hz, by way; asserts that all show the same frames."""
    path = folder / f"gop-{gop}.mp4"
    write_film(path, seconds, Fraction(25), FILM_SIZE, gop_s=gop / 25, b_frames=2, picture=Wandering(0, FILM_SIZE))
    shown: dict[str, list[Any]] = {}
    found: dict[str, float] = {}
    for name, way in WAYS.items():
        times = []
        for _ in range(2):
            began_s = time.process_time()
            shown[name] = way(path, seconds)
            times.append(time.process_time() - began_s)
        found[name] = 1000 * min(times) / seconds
    assert len({tuple(each) for each in shown.values()}) == 1, shown
    return found


def sound_ways(folder: Path) -> dict[str, float]:
    """ms of CPU for a second of stereo at 44.1 kHz, to mono at 24 kHz, by codec and resampler."""
    sound = speechlike(10, 44_100, 2, seed=0)
    found: dict[str, float] = {}
    for codec, ending in (("flac", "flac"), ("libmp3lame", "mp3")):
        path = folder / f"sound.{ending}"
        write_sound(path, sound, 44_100, codec)
        found[f"decode {ending}"] = 100 * best_s(lambda path=path: _decoded(path), 3)
    mono = np.ascontiguousarray(sound.mean(axis=1))
    for quality in ("VHQ", "HQ", "MQ", "LQ", "QQ"):
        found[f"soxr {quality}"] = 100 * best_s(lambda quality=quality: soxr.resample(mono, 44_100, 24_000, quality), 3)
    found["swresample"] = 100 * best_s(lambda: _swresampled(mono), 3)
    if importlib.util.find_spec("scipy"):
        from scipy.signal import resample_poly

        found["scipy polyphase"] = 100 * best_s(lambda: resample_poly(mono, 80, 147), 3)
    return found


def decoding(results: Results, console: Console, seconds: int = 60, sides: tuple[int, ...] = SIDES) -> None:
    """Measure, print, note."""
    jpegs = {side: jpeg_ways(side) for side in sides}
    with tempfile.TemporaryDirectory(prefix="mediatok-decode-") as name:
        films = {gop: film_ways(Path(name), gop, seconds) for gop in GOPS}
        sounds = sound_ways(Path(name))
    _show(
        console,
        "JPEG of side",
        "ms to 256×256 (dB)",
        {s: {w.name: _said(w) for w in v.values()} for s, v in jpegs.items()},
    )
    _show(
        console,
        "keyframe every",
        "ms a picture at 1 Hz",
        {g: {n: f"{v:.2f}" for n, v in w.items()} for g, w in films.items()},
    )
    _show(console, "sound", "ms a second", {"44.1 kHz": {name: f"{ms:.2f}" for name, ms in sounds.items()}})
    results.details["decode"] = {
        "jpeg": {side: {way.name: [way.ms, way.db] for way in ways.values()} for side, ways in jpegs.items()},
        "film": films,
        "sound": sounds,
    }
    results.add(*_jpeg_figures(jpegs), *_film_figures(films), *_sound_figures(sounds))


def _jpeg_figures(jpegs: Mapping[int, Mapping[str, Way]]) -> list[Figure]:
    """PIL against ours, and the best way that stays within tolerance against ours."""
    figures: list[Figure] = []
    for side, ways in jpegs.items():
        ours, pillow = ways["ours"], ways["PIL, draft"]
        figures.append(
            Figure("decode", f"JPEG {side}²: PIL draft / ours", pillow.ms / ours.ms, of=(pillow.ms, ours.ms))
        )
        best = min((way for way in ways.values() if way.db >= TOLERANCE_DB), key=lambda way: way.ms)
        what = f"JPEG {side}²: ours / the fastest within {TOLERANCE_DB:.0f} dB"
        note = f"{best.name}, {best.db:.1f} dB"
        figures.append(Figure("decode", what, ours.ms / best.ms, "×", (ours.ms, best.ms), Wish.AT_MOST, SLACK, note))
    return figures


def _film_figures(films: Mapping[int, Mapping[str, float]]) -> list[Figure]:
    figures = [
        Figure(
            "decode",
            f"film at 1 Hz, GOP {gop}: sequential / {way}",
            ways["sequential"] / ways[way],
            of=(ways["sequential"], ways[way]),
        )
        for gop, ways in films.items()
        for way in ways
        if way != "sequential"
    ]
    for way in ("seek", "skip"):
        at = crossover([(float(gop), ways[way] / ways["sequential"]) for gop, ways in films.items()])
        note = "beyond it sequential is faster" if at else f"{way} is never slower up to {max(films)}"
        figures.append(
            Figure("decode", f"film at 1 Hz: {way} pays up to a GOP of", at or math.inf, "frames", note=note)
        )
    return figures


def _sound_figures(sounds: Mapping[str, float]) -> list[Figure]:
    return [
        Figure(
            "decode",
            f"resample: {other} / ours (soxr HQ)",
            sounds[other] / sounds["soxr HQ"],
            of=(sounds[other], sounds["soxr HQ"]),
        )
        for other in ("swresample", "scipy polyphase", "soxr VHQ", "soxr MQ")
        if other in sounds
    ]


def _show(console: Console, first: str, title: str, rows: Mapping[Any, Mapping[str, str]]) -> None:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = plain_table(first, *columns)
    for key, row in rows.items():
        table.add_row(str(key), *(row.get(name, "") for name in columns))
    console.print(f"\n{title}")
    console.print(table)


def _said(way: Way) -> str:
    return f"{way.ms:.2f}" if way.db == math.inf else f"{way.ms:.2f} ({way.db:.0f})"


def _ours(content: bytes) -> Pixels:
    decoded = decode_image(content, ((WINDOW, WINDOW),))
    pixels = decoded.pixels(WINDOW, WINDOW)
    return resized(pixels, WINDOW, WINDOW, part=decoded.part(pixels))


def _scaled(least: int) -> Callable[[bytes], Pixels]:
    def decoded(content: bytes) -> Pixels:
        return resized(simplejpeg.decode_jpeg(content, "RGB", min_height=least, min_width=least), WINDOW, WINDOW)

    return decoded


def _with_pillow(content: bytes, draft: int | None) -> Pixels:
    image = Image.open(io.BytesIO(content))
    if draft:
        image.draft("RGB", (draft, draft))
    return np.asarray(image.convert("RGB"))


def _with_torchvision(content: bytes) -> Pixels:
    import torch
    from torchvision.io import decode_jpeg

    given = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return resized(np.ascontiguousarray(decode_jpeg(given).permute(1, 2, 0).numpy()), WINDOW, WINDOW)


def _decoded(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(frame.samples for frame in container.decode(audio=0))


def _swresampled(mono: npt.NDArray[np.float32]) -> int:
    resampler = av.AudioResampler("fltp", "mono", 24_000)
    frame = av.AudioFrame.from_ndarray(mono[None].astype(np.float32), "fltp", "mono")
    frame.sample_rate = 44_100
    return sum(each.samples for each in (*resampler.resample(frame), *resampler.resample(None)))
