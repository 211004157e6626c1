"""`python -m tests.bench.commits [--commits N]`: how long a commit takes, on a folder and on each store to be had here.

A commit is one small live part that is uploaded already: deciding, creating the version, reading it back, the hint. The
stores are our own on loopback, so these are the protocol's and the clients' own times: add the way to a real one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.services import AzureServer, GcsServer, S3Server, ServiceUnavailableError
from pipeline.lake.delta import Opening, Start
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.proposal import Proposal
from pipeline.records import Sealed, Shard
from tests.golden.make_lake import FIRST, LOG, span

WARM = 10


def commit_times_s(uri: str, options: dict[str, Any], commits: int) -> list[float]:
    """Of so many commits, one after the other by one committer, after a few that don't count."""
    lake = Lake(open_store(uri, options))
    lake.commit(Proposal((), (Opening(FIRST, "image"),), (Start(FIRST.key, LOG, 0),)))
    lake.checkpoint()  # the first one loads libraries
    times = list[float]()
    for offset in range(WARM + commits):
        shard = Shard(FIRST.key, f"data/part-{lake.state.version}-{offset:032x}.arrow", 1, 4, 100, "00" * 32)
        began = time.perf_counter()
        lake.commit(Proposal((Sealed(FIRST.key, (shard,), (span(LOG, offset),)),)))
        times.append(time.perf_counter() - began)
    return times[WARM:]


def places(folder: Path, stack: ExitStack, console: Console) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, URI and options of each store that can be started here."""
    yield "folder", str(folder / "lake"), {}
    s3, gcs, azure = S3Server(folder / "s3"), GcsServer(folder / "gcs"), AzureServer(folder / "azure")
    kinds: list[tuple[Any, str, Callable[[], str]]] = [
        (s3, "s3", s3.make_bucket),
        (gcs, "gs", gcs.make_bucket),
        (azure, "az", azure.make_container),
    ]
    for server, scheme, make_bucket in kinds:
        try:
            stack.enter_context(server)
        except ServiceUnavailableError as error:
            console.print(f"{server.name}: {error}")
            continue
        yield f"{scheme}:// ({server.name})", f"{scheme}://{make_bucket()}/lake", server.storage_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=200)
    commits = parser.parse_args().commits
    console = Console()
    table = Table("store", "commits", "p50 ms", "p99 ms", "most ms", box=None)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name, uri, options in places(Path(folder), stack, console):
            times_ms = [1000 * each for each in commit_times_s(uri, options, commits)]
            cuts = statistics.quantiles(times_ms, n=100, method="inclusive")
            table.add_row(name, str(commits), f"{cuts[49]:.1f}", f"{cuts[98]:.1f}", f"{max(times_ms):.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
