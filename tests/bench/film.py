"""`python -m tests.bench.film`: one long film, made on the spot: time and memory by workers; clicks against flashes.

Memory is what a process has for itself (`RssAnon`), sampled twice a second; its course is shown by
`python -m tests.bench memory`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
from rich.console import Console

from operators.decode import VideoDecoder
from operators.forms import CLOCK_HZ, ClipForm, PcmForm
from operators.records import ContentFacts, Modality
from pipeline.observe.logs import setup_logs
from pipeline.observe.status_table import plain_table
from tests.bench.memory import watched
from tests.bench.throughput import bench_config
from tests.making.long import click_and_flash, long_film

MIB = 1 << 20
TOKENIZER = "video-interleaved"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.film", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="one run each (1 2)")
    given = parser.parse_args()
    setup_logs(level="WARNING")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="mediatok-film-") as name:
        folder = Path(name)
        console.print(_offsets(folder / "sync.mp4", given.hours))
        (folder / "media").mkdir()
        film = long_film(folder / "media" / "film.mp4", given.hours)
        table = plain_table("workers", "s", "× real time", "workers MiB", "coordinator MiB", "packer MiB")
        for workers in given.workers:
            peaks, seconds = _run(folder / f"run-{workers}", film, workers)
            kinds = [peaks.get(kind, 0.0) for kind in ("workers", "coordinator", "packer")]
            speed = given.hours * 3600 / seconds
            table.add_row(str(workers), f"{seconds:.0f}", f"{speed:.0f}", *(f"{mib:.0f}" for mib in kinds))
        size_mib = film.stat().st_size / MIB
        console.print(f"\n{given.hours} h of 256×256 at 25 Hz with sound, {size_mib:.0f} MiB; {TOKENIZER}")
        console.print("seconds without start-up; the most that a kind of process had for itself, with its libraries")
        console.print(table)


def _run(folder: Path, film: Path, workers: int) -> tuple[Mapping[str, float], float]:
    """The most that each kind of process had for itself, in MiB, and seconds from the first answer on."""
    folder.mkdir()
    config = bench_config(folder, Modality.VIDEO, workers, {TOKENIZER: TOKENIZER})
    config = config.model_copy(update={"fetch": config.fetch.model_copy(update={"roots": [film.parent]})})
    watch, seconds = watched(config, film.parent)
    return {kind: max(mib for _, mib in curve) for kind, curve in watch.curves.items()}, seconds


def _offsets(path: Path, hours: float) -> object:
    """Where a click is heard against where its flash is seen, at the start, the middle and the end of a film."""
    times_s = click_and_flash(path, hours * 3600, 30.0)
    form = ClipForm(10, Fraction(25), 32, 32, PcmForm(24_000, 1, 240_000, 320), text=False)
    decoder, facts = VideoDecoder((form,)), ContentFacts("1", "sync", 1)
    first = decoder.decode(path, facts, None)
    table = plain_table("at", "flash − click")
    cursors = [None, *first.forks]
    for share in (0.0, 0.5, 1.0):
        event_s = min(times_s, key=lambda each: abs(each - Fraction(share * hours * 3600)))
        cursor = [c for c in cursors if c is None or c["from_s"] <= event_s][-1]
        while True:
            segment = decoder.decode(path, facts, cursor)
            clips = segment.decoded.clips[form]
            found = [clip for clip in clips if clip.start <= event_s * CLOCK_HZ < clip.end]
            if found:
                break
            cursor = segment.cursor
        (clip,) = found
        lit = int(np.argmax(clip.frames.mean(axis=(1, 2, 3))))
        click = int(np.argmax(np.abs(clip.sound[320:, 0])))
        flash_ms = 1000 * int(clip.shown[lit, 0]) / CLOCK_HZ
        click_ms = 1000 * (clip.start / CLOCK_HZ + click / 24_000)
        table.add_row(f"{float(event_s) / 3600:.2f} h", f"{flash_ms - click_ms:+.2f} ms")
    return table


if __name__ == "__main__":
    main()
