"""`python -m tests.bench.opening`: how long a lake of many versions and shards takes to open from a local disk.

The log is real, its data files are not there: nobody reads them to open a lake.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from operators.records import Modality
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.lake.checkpoint import checkpoint_bytes
from pipeline.lake.codec import canonical_json, delta_bytes
from pipeline.lake.delta import Delta, Opening, ProductSpan, Start
from pipeline.lake.history import load_state
from pipeline.lake.paths import LAST, checkpoint_path, shard_path, version_path
from pipeline.lake.state import LakeState
from pipeline.lake.store_local import LocalStore
from pipeline.observe.status_table import plain_table
from pipeline.records import Product, Shard, SourcePartition, Span

SPEC = TokenSpec(TokenKind.CODES, Modality.IMAGE, "rgb8", ("y", "x"), (1024,), "uint16", (32, 32))
BEHIND = 100
"""Checkpoints come so many versions apart: a lake is opened this far behind at the worst."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a lake: how many of each there are."""

    versions: int
    shards: int
    partitions: int
    products: int


def product(number: int) -> Product:
    """A product that nobody makes."""
    return Product(f"p{number}", 1, f"{number:064x}"[::-1], Modality.IMAGE, SPEC)


def deltas(size: Size) -> Iterator[Delta]:
    """Version 1 opens all; each later one brings shards and covers a hundred messages, in partitions by turns."""
    products = [product(number) for number in range(size.products)]
    logs = [SourcePartition("kafka:rkDu_jnDQRS1PpdPdVAy9w", number) for number in range(size.partitions)]
    starts = tuple(Start(each.key, log, 0) for each in products for log in logs)
    yield Delta(1, 0, "c1", "bench", 0, tuple(Opening(each, "image") for each in products), starts)
    a_version = size.shards // (size.versions - 1)
    a_turn = max(1, size.partitions * size.products // (size.versions - 1))
    places = [(each.key, log) for log in logs for each in products]
    done, turn = dict.fromkeys(places, 0), 0
    for version in range(2, size.versions + 1):
        covers = list[ProductSpan]()
        for _ in range(a_turn):
            key, log = place = places[turn % len(places)]
            first, turn = done[place], turn + 1
            # Ten of a hundred never come: all but the first ninety lie ahead of the watermark.
            done[place] = first + 100
            covers.append(ProductSpan(key, Span(log, ((first, first + 90),))))
        shards = tuple(_shard(covers[number % len(covers)].product, version, number) for number in range(a_version))
        yield Delta(version, version - 1, f"c{version}", "bench", version * 1000, shards=shards, covers=tuple(covers))


def _shard(key: str, version: int, number: int) -> Shard:
    # Digests that look like digests: zeros would compress to nothing.
    digest = sha256(f"{version}-{number}".encode()).hexdigest()
    path = shard_path(key, "2026-11-24", version - 1, digest[:32])
    return Shard(key, path, 1000, 1_024_000, 2_200_000, digest[::-1])


def make_log(root: Path, size: Size) -> dict[str, float]:
    """Write the log and two checkpoints, the newest and one `BEHIND` versions older.

    Returns:
        Bytes of the log and of a checkpoint, and what making a checkpoint takes, in seconds of CPU.
    """
    state, written = LakeState(), {"log": 0.0, "checkpoint": 0.0, "made_s": 0.0}
    for delta in deltas(size):
        path, body = root / version_path(delta.version), delta_bytes(delta)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        written["log"] += len(body)
        state.apply(delta)
        if delta.version in {size.versions - BEHIND, size.versions}:
            started_s = time.process_time()
            path, body = root / checkpoint_path(delta.version), checkpoint_bytes(state)
            written["made_s"] = time.process_time() - started_s
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            written["checkpoint"] = len(body)
    (root / LAST).write_bytes(canonical_json({"version": size.versions}))
    return written


def main() -> None:
    """Make lakes, open them, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.opening", description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--again", type=int, default=5, help="openings of each kind; the fastest and slowest are shown")
    given = parser.parse_args()
    table = plain_table(
        "partitions x products", "checkpoint MB", "log MB", "open s", f"{BEHIND} behind s", "log alone s"
    )
    for partitions, products in ((100, 2), (10_000, 4)):
        size = Size(given.versions, given.shards, partitions, products)
        with TemporaryDirectory(prefix="mediatok-opening-") as folder:
            root = Path(folder)
            written = make_log(root, size)
            newest = _openings(root, given.again)
            (root / checkpoint_path(size.versions)).unlink()
            behind = _openings(root, given.again)
            (root / checkpoint_path(size.versions - BEHIND)).unlink()
            alone = _openings(root, 1)
        sizes = [f"{written['checkpoint'] / 1e6:.1f}", f"{written['made_s']:.2f}", f"{written['log'] / 1e6:.1f}"]
        table.add_row(f"{partitions:,} x {products}", *sizes, newest, behind, alone)
    Console(width=130).print(f"{given.versions:,} versions, {given.shards:,} shards; wall time, and of the CPU")
    Console(width=130).print(table)


def _openings(root: Path, again: int) -> str:
    took_s, cpu_s = list[float](), list[float]()
    for _ in range(again):
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        load_state(LocalStore(root))
        took_s.append(time.perf_counter() - started_s)
        cpu_s.append(time.process_time() - started_cpu_s)
    wall = f"{min(took_s):.2f}" if again == 1 else f"{min(took_s):.2f}-{max(took_s):.2f}"
    return f"{wall} ({min(cpu_s):.2f})"


if __name__ == "__main__":
    main()
