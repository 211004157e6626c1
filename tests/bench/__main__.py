"""`python -m tests.bench [NAME ...]`: what each bench measures, and how, stands in tests/bench/README.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

# Before Ray: no `uv run` hook in its workers, nothing sent home.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MEDIATOK_LOG", "console")

import ray
from rich.console import Console

from pipeline.observe.logs import setup_logs
from pipeline.observe.status_table import plain_table
from tests.bench.decoding import decoding
from tests.bench.driver_cost import driver_cost
from tests.bench.flow_alone import flow_alone
from tests.bench.loads import LOADS, Load
from tests.bench.memory import memory
from tests.bench.results import Figure, Results, Wish, ratio
from tests.bench.rivals import IN_DAFT, ONE_STAGE, TRAP, TWO_STAGES, compare
from tests.bench.shapes import SHAPES
from tests.bench.short_items import short_items
from tests.bench.throughput import Measured, bench_config, in_a_loop, through_pipeline

LOOP_WANTED = 0.90
US_WANTED = 15.0
ALONE_WANTED_HZ = 20_000.0
QUICK = {
    "images": 1500,
    "audio": 1800,
    "video": 240,
    "rivals": 600,
    "shapes": 400,
    "hours": 0.5,
    "sink_images": 300,
    "seconds": 15.0,
}
"""Of what is left out on the command line."""
SHAPE_SHARES = {"transcription": 1.0, "classification": 1.0, "detection": 0.01, "documents": 1.0}
"""Files, as a share of `--shapes`: so that they take about as long."""


def main() -> None:
    """Measure, print, and leave the figures in a folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)} (all)")
    parser.add_argument("--images", type=int, default=5000, help="loop: how many; 0: none (%(default)s)")
    parser.add_argument("--audio", type=int, default=3600, help="loop: seconds of sound (%(default)s)")
    parser.add_argument("--video", type=int, default=600, help="loop: seconds of film (%(default)s)")
    parser.add_argument("--rivals", type=int, default=2000, help="rivals: images (%(default)s)")
    parser.add_argument("--trap", action="store_true", help="rivals: Ray Data with its actors on all CPUs too")
    parser.add_argument("--shapes", type=int, default=1000, help="shapes: files of each (%(default)s)")
    parser.add_argument("--shape", choices=SHAPES, help="shapes: this one only")
    parser.add_argument("--references", type=int, default=20_000, help="driver: references (%(default)s)")
    parser.add_argument("--hours", type=float, default=2.0, help="memory, short: of a film (%(default)s)")
    parser.add_argument("--sink-images", type=int, default=800, help="memory: for the slow sink (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="short: of each run (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of either side (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="the default set in about ten minutes on two cores")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="where figures and plots go (%(default)s)")
    if "--quick" in sys.argv:
        parser.set_defaults(**QUICK)
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHES)
    if unknown:
        parser.error(f"no bench is called {', '.join(sorted(unknown))}: {', '.join(BENCHES)}")
    setup_logs(level="WARNING")
    console, results = Console(), Results(given.out)
    try:
        for name in given.names or BENCHES:
            BENCHES[name](given, results, console)
    finally:
        # What was measured before something failed is worth as much.
        results.write()
        console.print()
        results.show(console)


def _loop(given: argparse.Namespace, results: Results, console: Console) -> None:
    for name, load in LOADS.items():
        if amount := int(getattr(given, name)):
            _loop_of(load, amount, given.workers, results, console)


def _loop_of(load: Load, amount: int, workers: int, results: Results, console: Console) -> None:
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
    console.print(", ".join(f"{what}: {count:,.1f}" for what, count in pipeline.notes.items()))
    by_cpu = min(before.cpu_ms, after.cpu_ms) / pipeline.cpu_ms
    note = f"{load.unit}/s; by CPU time alone {by_cpu:.2f}; the loops differ by {abs(before.hz / after.hz - 1):.0%}"
    what = f"{amount:,} {load.what}: pipeline / bare loop"
    results.add(ratio("loop", what, pipeline.hz, max(before.hz, after.hz), LOOP_WANTED, note))


def _rivals(given: argparse.Namespace, results: Results, console: Console) -> None:
    variants = [ONE_STAGE, TWO_STAGES, IN_DAFT, *([TRAP] if given.trap else [])]
    compare("rivals", LOADS["images"], given.rivals, given.workers, variants, results, console)


def _shapes(given: argparse.Namespace, results: Results, console: Console) -> None:
    for name, load in SHAPES.items():
        if given.shape in {None, name}:
            files = max(2 * given.workers, round(given.shapes * SHAPE_SHARES[name]))
            compare(f"shape: {name}", load, files, given.workers, [ONE_STAGE, IN_DAFT], results, console)


def _driver(given: argparse.Namespace, results: Results, console: Console) -> None:
    del console
    alone = flow_alone(5 * given.references)
    what = "the lane's code alone, calls answered at once"
    note = f"{alone.us_per_reference:.1f} µs of CPU a reference, {alone.batch} a message"
    results.add(Figure("driver", what, alone.hz, "references/s", None, Wish.AT_LEAST, ALONE_WANTED_HZ, note))
    cost = driver_cost(given.references)
    ray.shutdown()
    what = f"coordinator on Ray, {cost.references:,} tiny texts, 32 a message"
    note = (
        f"{cost.messaging_us_per_reference:.1f} of it between lane and actors; "
        f"{cost.references / cost.wall_s:,.0f} references/s, with the actors' start"
    )
    results.add(Figure("driver", what, cost.us_per_reference, "µs a reference", None, Wish.AT_MOST, US_WANTED, note))


def _memory(given: argparse.Namespace, results: Results, console: Console) -> None:
    memory(results, console, given.hours, given.sink_images, given.workers)


def _decode(given: argparse.Namespace, results: Results, console: Console) -> None:
    del given
    decoding(results, console)


def _short(given: argparse.Namespace, results: Results, console: Console) -> None:
    short_items(results, console, given.seconds, given.hours)


BENCHES: Mapping[str, Callable[[argparse.Namespace, Results, Console], None]] = {
    "driver": _driver,
    "decode": _decode,
    "loop": _loop,
    "rivals": _rivals,
    "shapes": _shapes,
    "memory": _memory,
    "short": _short,
}


def _table(unit: str, measured: Mapping[str, Measured]) -> object:
    kinds = ("loop", "workers", "driver", "packer", "ray")
    table = plain_table("", f"{unit}/s", "s", "CPU ms", *(f"{kind}" for kind in kinds))
    for name, each in measured.items():
        parts = [f"{1000 * each.cpu_s[kind] / each.amount:.1f}" if kind in each.cpu_s else "" for kind in kinds]
        table.add_row(name, f"{each.hz:.1f}", f"{each.seconds:.1f}", f"{each.cpu_ms:.1f}", *parts)
    return table


if __name__ == "__main__":
    main()
