"""`python -m tests.bench.pace`: how long commits take where many replicas share one log, by a model of the store."""

from __future__ import annotations

import argparse
import random

from rich.console import Console

from pipeline.observe.status_table import plain_table
from tests.pipeline.lake.replicas import Latency, Replicas

WARM_INTERVALS = 5
"""Not counted: until the pace has found itself."""


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pace", description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--interval", type=float, nargs="+", default=[10.0], help="configured, in seconds")
    parser.add_argument("--intervals", type=int, default=12, help="how many are measured")
    parser.add_argument("--fixed", action="store_true", help="do not adapt")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table = plain_table(
        "replicas",
        "every s",
        "commits",
        "p50 s",
        "p99 s",
        "most s",
        "versions/s",
        "conflicts",
        "puts",
        "reads",
        "interval s",
    )
    for interval_s in given.interval:
        for count in given.replicas:
            world = Replicas(random.Random(given.seed), [Latency()] * count, interval_s, adapts=not given.fixed)
            warm_s = WARM_INTERVALS * interval_s
            until_s = warm_s + given.intervals * interval_s
            landed = [each for each in world.run(until_s) if each.at_s >= warm_s]
            took_s = sorted(each.took_s for each in landed)
            commits = len(world.landed)
            table.add_row(
                f"{count}",
                f"{interval_s:g}",
                f"{len(landed)}",
                f"{took_s[len(took_s) // 2]:.2f}",
                f"{took_s[int(len(took_s) * 0.99)]:.2f}",
                f"{took_s[-1]:.2f}",
                f"{len(landed) / (until_s - warm_s):.1f}",
                f"{sum(each.conflicts for each in landed) / len(landed):.1f}",
                f"{world.puts / commits:.1f}",
                f"{world.reads / commits:.1f}",
                f"{sum(each.due.interval_s for each in landed) / len(landed):.1f}",
            )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
