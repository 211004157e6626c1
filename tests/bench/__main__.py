"""`python -m tests.bench`: see `throughput` and `driver_cost` for what is measured and how."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Before Ray: no `uv run` hook in its workers, nothing sent home.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MEDIATOK_LOG", "console")

from rich.console import Console

from operators.records import Modality
from pipeline.observe.logs import setup_logs
from pipeline.observe.status_table import plain_table
from tests.bench.driver_cost import driver_cost
from tests.bench.pictures import QUALITY, SIDE, make_pictures
from tests.bench.recordings import make_films, make_sounds
from tests.bench.throughput import Measured, bench_config, in_a_loop, through_pipeline


@dataclass(frozen=True, slots=True)
class Load:
    """Media of one kind.

    Attributes:
        unit: what is counted: images, or seconds of sound or film.
        what: for people.
    """

    modality: Modality
    tokenizer: str
    make: Callable[[Path, int], list[Path]]
    unit: str
    what: str


LOADS = {
    "images": Load(Modality.IMAGE, "image-rq", make_pictures, "images", f"JPEGs of {SIDE}×{SIDE} (quality {QUALITY})"),
    "audio": Load(Modality.AUDIO, "audio-mdct", make_sounds, "audio s", "s of sound in clips of 10 s, FLAC and MP3"),
    "video": Load(
        Modality.VIDEO, "video-interleaved", make_films, "film s", "s of film, a minute each, 640×360, H.264 and AAC"
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="how many; 0: none (%(default)s)")
    parser.add_argument("--audio", type=int, default=3600, help="seconds of sound (%(default)s)")
    parser.add_argument("--video", type=int, default=600, help="seconds of film (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of either side (%(default)s)")
    parser.add_argument("--references", type=int, default=20_000, help="for the driver's own cost (%(default)s)")
    given = parser.parse_args()
    setup_logs(level="WARNING")
    console = Console()
    for name, load in LOADS.items():
        if amount := int(getattr(given, name)):
            _bench(console, load, amount, given.workers)
    cost = driver_cost(given.references)
    console.print(
        f"the coordinator spends {cost.us_per_reference:.0f} µs of CPU a reference "
        f"({cost.references:,} texts of a few bytes, 32 references a message to an actor)"
    )


def _bench(console: Console, load: Load, amount: int, workers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="mediatok-bench-") as name:
        folder = Path(name)
        (folder / "media").mkdir()
        paths = load.make(folder / "media", amount)
        config = bench_config(folder, load.modality, workers, {load.tokenizer: load.tokenizer})
        # Before and after: on a host with other work the two tell how far to trust the ratio; the faster one counts.
        before = in_a_loop(config, paths, amount)
        pipeline = through_pipeline(config, folder / "media", amount)
        after = in_a_loop(config, paths, amount)
    console.print(f"\n{amount} {load.what}; {load.tokenizer}, {workers} workers on {os.cpu_count()} cores")
    console.print("CPU in ms for each of them: in all, then by process")
    console.print(_table(load.unit, {"bare loop": before, "pipeline": pipeline, "bare loop again": after}))
    loop_hz, loop_ms = max(before.hz, after.hz), min(before.cpu_ms, after.cpu_ms)
    console.print(
        f"the pipeline reaches {pipeline.hz / loop_hz:.0%} of the bare loop's {load.unit} a second; "
        f"by CPU time alone it would be {loop_ms / pipeline.cpu_ms:.0%}"
    )
    console.print(", ".join(f"{what}: {count:,.1f}" for what, count in pipeline.notes.items()))


def _table(unit: str, measured: Mapping[str, Measured]) -> object:
    kinds = ("loop", "workers", "driver", "packer", "ray")
    table = plain_table("", f"{unit}/s", "s", "CPU ms", *(f"{kind}" for kind in kinds))
    for name, each in measured.items():
        parts = [f"{1000 * each.cpu_s[kind] / each.amount:.1f}" if kind in each.cpu_s else "" for kind in kinds]
        table.add_row(name, f"{each.hz:.1f}", f"{each.seconds:.1f}", f"{each.cpu_ms:.1f}", *parts)
    return table


if __name__ == "__main__":
    main()
