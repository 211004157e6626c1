"""`python -m tests.bench`: see `throughput` and `driver_cost` for what is measured and how."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

# Before Ray: no `uv run` hook in its workers, nothing sent home.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MEDIATOK_LOG", "console")

from rich.console import Console

from pipeline.observe.logs import setup_logs
from pipeline.observe.status_table import plain_table
from tests.bench.driver_cost import driver_cost
from tests.bench.pictures import QUALITY, SIDE, make_pictures
from tests.bench.throughput import Measured, bench_config, in_a_loop, through_pipeline


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of either side (%(default)s)")
    parser.add_argument("--tokenizer", action="append", help="repeat for more (image-rq)")
    parser.add_argument("--references", type=int, default=20_000, help="for the driver's own cost (%(default)s)")
    given = parser.parse_args()
    tokenizers: list[str] = given.tokenizer or ["image-rq"]
    setup_logs(level="WARNING")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="mediatok-bench-") as name:
        folder = Path(name)
        (folder / "media").mkdir()
        paths = make_pictures(folder / "media", given.images)
        config = bench_config(folder, given.workers, {tokenizer: tokenizer for tokenizer in tokenizers})
        # Before and after: on a host with other work the two tell how far to trust the ratio; the faster one counts.
        before = in_a_loop(config, paths)
        pipeline = through_pipeline(config, folder / "media")
        after = in_a_loop(config, paths)
    console.print(
        f"{given.images} JPEGs of {SIDE}×{SIDE} (quality {QUALITY}), {', '.join(tokenizers)}, "
        f"{given.workers} workers on {os.cpu_count()} cores"
    )
    console.print("CPU in ms an image: in all, then by process")
    console.print(_table({"bare loop": before, "pipeline": pipeline, "bare loop again": after}))
    loop_hz, loop_ms = max(before.hz, after.hz), min(before.cpu_ms, after.cpu_ms)
    console.print(
        f"\nthe pipeline reaches {pipeline.hz / loop_hz:.0%} of the bare loop's images a second; "
        f"by CPU time alone it would be {loop_ms / pipeline.cpu_ms:.0%}"
    )
    console.print(", ".join(f"{what}: {count:,.1f}" for what, count in pipeline.notes.items()))
    cost = driver_cost(given.references)
    console.print(
        f"the coordinator spends {cost.us_per_reference:.0f} µs of CPU a reference "
        f"({cost.references:,} texts of a few bytes, 32 references a message to an actor)"
    )


def _table(measured: Mapping[str, Measured]) -> object:
    kinds = ("loop", "workers", "driver", "packer", "ray")
    table = plain_table("", "images/s", "s", "CPU ms", *(f"{kind}" for kind in kinds))
    for name, each in measured.items():
        parts = [f"{1000 * each.cpu_s[kind] / each.images:.1f}" if kind in each.cpu_s else "" for kind in kinds]
        table.add_row(name, f"{each.hz:.1f}", f"{each.seconds:.1f}", f"{each.cpu_ms:.1f}", *parts)
    return table


if __name__ == "__main__":
    main()
