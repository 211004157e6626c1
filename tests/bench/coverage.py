"""`python -m tests.bench.coverage`: what a million offsets in flight, ahead, or ended as letters cost.

Each row is measured in a process of its own: memory is what the process grew by, time is of the CPU.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from operators.records import Failure, MediaReference, Modality, Origin
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.flow.ledger import Ledger
from pipeline.lake.checkpoint import checkpoint_bytes, read_checkpoint
from pipeline.lake.codec import parse_delta
from pipeline.lake.commit import Commit
from pipeline.lake.delta import Opening, Start
from pipeline.lake.outcomes import outcome_bytes
from pipeline.lake.parts import outcome_file
from pipeline.lake.paths import outcomes_path
from pipeline.lake.proposal import (
    Action,
    Committed,
    CreateAnswered,
    CreateVersion,
    OutcomesWritten,
    Proposal,
    ReadVersion,
    VersionRead,
    WriteOutcomes,
)
from pipeline.lake.state import LakeState
from pipeline.lake.store import CreateAnswer
from pipeline.observe.status_table import plain_table
from pipeline.records import Letter, Message, Product, Sealed, SourcePartition, Span, ranges_of

SPEC = TokenSpec(TokenKind.CODES, Modality.IMAGE, "rgb8", ("y", "x"), (1024,), "uint16", (32, 32))
PRODUCT = Product("image-rq", 1, "1a2b3c4d" * 8, Modality.IMAGE, SPEC)
KEY = PRODUCT.key
SOURCE = "kafka:rkDu_jnDQRS1PpdPdVAy9w"
RUN = 4096
PACKERS = tuple(f"packer-{number}" for number in range(8))
PLACEMENTS = ("scattered", "in runs")


def rss_mb() -> float:
    """What this process holds, in MB."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def logs(partitions: int) -> list[SourcePartition]:
    """Of one topic."""
    return [SourcePartition(SOURCE, number) for number in range(partitions)]


@dataclass
class Memory:
    """A store that answers at once, and a lake's state."""

    state: LakeState = field(default_factory=LakeState)
    log: dict[str, bytes] = field(default_factory=dict[str, bytes])
    letters_bytes: int = 0
    ids: Iterator[int] = field(default_factory=itertools.count)

    def commit(self, proposal: Proposal) -> float:
        """Through the production machine. Returns what CPU time it took, in seconds."""
        machine = Commit(
            proposal, self.state, writer="bench:1", new_id=lambda: f"{next(self.ids):032x}", now_ms=lambda: 0
        )
        started_s, action = time.process_time(), machine.begin()
        while not isinstance(action, Committed):
            action = machine.handle(self._do(action))
        return time.process_time() - started_s

    def _do(self, action: Action) -> CreateAnswered | VersionRead | OutcomesWritten:
        match action:
            case CreateVersion(_, path, body):
                self.log[path] = body
                return CreateAnswered(CreateAnswer.CREATED)
            case ReadVersion(_, path):
                return VersionRead(self.log.get(path))
            case WriteOutcomes(product, letters, empties, base):
                self.letters_bytes += len(outcome_bytes(letters, empties))
                path = outcomes_path(base, f"{next(self.ids):032x}")
                return OutcomesWritten(outcome_file(product, path, letters, empties))
            case _:
                raise AssertionError(action)

    def folded_s(self) -> float:
        """What reading and folding the whole log takes."""
        started_s, state = time.process_time(), LakeState()
        for path in sorted(self.log):
            state.apply(parse_delta(self.log[path]))
        return time.process_time() - started_s

    def opened(self) -> tuple[int, float]:
        """A checkpoint's bytes, and what opening it takes."""
        body = checkpoint_bytes(self.state)
        started_s = time.process_time()
        read_checkpoint(body)
        return len(body), time.process_time() - started_s


def opened_lake(partitions: int) -> Memory:
    """With one product, and a start of each partition."""
    lake = Memory()
    starts = tuple(Start(KEY, log, 0) for log in logs(partitions))
    lake.commit(Proposal(openings=(Opening(PRODUCT, "image"),), starts=starts))
    return lake


def some_offsets(count: int, placement: str) -> list[int]:
    """Half of twice as many: each by chance, or every second run of 4,096."""
    if placement == "scattered":
        return sorted(random.Random(0).sample(range(1, 2 * count + 1), count))
    run = min(RUN, max(1, count // 2))
    return [offset for offset in range(1, 2 * count + run) if (offset // run) % 2 == 0 or offset > 2 * count][:count]


# --- the measurements, one row each


def in_flight(messages: int, partitions: int) -> list[str]:
    """The ledger with so many messages, two products each."""
    ledger, before_mb = Ledger(PACKERS, messages // (4 * len(PACKERS))), rss_mb()
    started_s = time.process_time()
    for log in logs(partitions):
        for offset in range(messages // partitions):
            origin = Origin(log.source_id, log.partition, offset, 0)
            uri = f"s3://media/incoming/2026/11/24/{log.partition:05d}/{offset:012d}.jpg"
            message = Message(origin, "media.image", None, b'{"uri": "%s"}' % uri.encode())
            ledger.admit(message, [MediaReference(uri, origin, Modality.IMAGE)], ("image-rq-1", "image-vq-2"), 0.0)
    admitted_s, grown_mb = time.process_time() - started_s, rss_mb() - before_mb
    spans = [Span(log, ((0, messages // partitions),)) for log in logs(partitions)]
    started_s = time.process_time()
    for product in ("image-rq-1", "image-vq-2"):
        ledger.settle(product, spans)
    settled_s = time.process_time() - started_s
    assert not len(ledger)
    per = f"{grown_mb * 1e6 / messages:,.0f}"
    return [f"{partitions:,}", f"{grown_mb:,.0f}", per, f"{admitted_s:.1f}", f"{settled_s:.1f}"]


def ahead(messages: int, partitions: int, placement: str) -> list[str]:
    """A commit of so many messages, none of them the next one that is owed: nothing becomes watermark."""
    lake = opened_lake(partitions)
    offsets = some_offsets(messages // partitions, placement)
    spans = tuple(Span(log, ranges_of(offsets)) for log in logs(partitions))
    took_s = lake.commit(Proposal((Sealed(KEY, covers=spans),)))
    before_mb = rss_mb()
    twin = lake.state.copy()
    grown_mb = rss_mb() - before_mb
    assert twin.version == lake.state.version
    size, opened_s = lake.opened()
    delta = len(list(lake.log.values())[-1])
    cells = [f"{grown_mb:,.1f}", f"{delta / 1e3:,.0f}", f"{took_s:.2f}", f"{lake.folded_s():.2f}"]
    return [f"{partitions:,}", placement, *cells, f"{size / 1e3:,.0f}", f"{opened_s:.3f}"]


def stuck(messages: int, placement: str) -> list[str]:
    """One item hangs; what comes after it goes on being committed, in 100 commits."""
    lake = opened_lake(1)
    (log,) = logs(1)
    a_commit = messages // 100
    order = list(range(1, messages + 1))
    if placement == "scattered":
        # Eight packers finish in any order, not further apart than what is in flight.
        rng = random.Random(0)
        order = [at for at, _ in sorted(((at, at + rng.uniform(0, 20_000)) for at in order), key=lambda each: each[1])]
    took_s, sizes, coverages = list[float](), list[int](), list[int]()
    for first in range(0, messages, a_commit):
        covers = (Span(log, ranges_of(order[first : first + a_commit])),)
        took_s.append(lake.commit(Proposal((Sealed(KEY, covers=covers),))))
        sizes.append(len(list(lake.log.values())[-1]))
        coverages.append(len(lake.state.own_coverage[KEY, log].serialize()))
    assert lake.state.own_coverage[KEY, log].watermark == 0
    size, opened_s = lake.opened()
    most = [f"{max(sizes) / 1e3:,.1f}", f"{1e3 * max(took_s):.1f}"]
    return [placement, f"{max(coverages):,}", *most, f"{size / 1e3:,.1f}", f"{opened_s:.3f}"]


def letters(count: int, placement: str) -> list[str]:
    """So many items end as letters, in 100 commits."""
    lake = opened_lake(100)
    a_log, took_s = count // 100, list[float]()
    offsets = some_offsets(a_log, placement)
    failure = Failure("fetch.not_found", "fetch", "s3://media/incoming/a.jpg: there is no such object")
    for number in range(100):
        part = offsets[number * a_log // 100 : (number + 1) * a_log // 100]
        made = [
            Letter(
                KEY,
                Origin(SOURCE, log.partition, offset, 0),
                f"s3://media/incoming/{offset:012d}.jpg",
                failure,
                "media.image",
                None,
                b'{"uri": "s3://media/incoming/%012d.jpg"}' % offset,
                (),
                1,
                1_795_000_000_000,
            )
            for log in logs(100)
            for offset in part
        ]
        covers = tuple(Span(log, ranges_of(part)) for log in logs(100))
        took_s.append(lake.commit(Proposal((Sealed(KEY, covers=covers, letters=tuple(made)),))))
    log_bytes = sum(map(len, lake.log.values()))
    size, opened_s = lake.opened()
    sizes = [f"{log_bytes / 1e3:,.0f}", f"{lake.letters_bytes / 1e6:,.0f}", f"{max(took_s):.2f}"]
    return [placement, *sizes, f"{lake.folded_s():.2f}", f"{size / 1e3:,.0f}", f"{opened_s:.3f}"]


Job = tuple[Callable[..., list[str]], tuple[int | str, ...]]


def _apart(jobs: Sequence[Job]) -> Iterator[list[str]]:
    context = multiprocessing.get_context("spawn")
    for work, arguments in jobs:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            yield pool.submit(work, *arguments).result()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.coverage", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    given = parser.parse_args()
    count, console = given.messages, Console(width=130)
    partitions = (1, 100, 10_000)
    opened = ("checkpoint kB", "open s")
    sections: list[tuple[str, tuple[str, ...], list[Job]]] = [
        (
            f"{count:,} messages in flight: the ledger",
            ("partitions", "MB", "bytes a message", "admit s", "settle s"),
            [(in_flight, (count, each)) for each in partitions],
        ),
        (
            f"{count:,} messages committed ahead, in one commit",
            ("partitions", "offsets", "state MB", "delta kB", "commit s", "fold s", *opened),
            [(ahead, (count, each, placement)) for each in partitions for placement in PLACEMENTS],
        ),
        (
            f"one stuck item, {count:,} behind it committed in 100 commits",
            ("offsets", "most coverage bytes", "largest delta kB", "slowest commit ms", *opened),
            [(stuck, (count, placement)) for placement in ("in order", "scattered")],
        ),
        (
            f"{count:,} letters in 100 commits over 100 partitions",
            ("offsets", "log kB", "letters MB", "slowest commit s", "fold s", *opened),
            [(letters, (count, placement)) for placement in PLACEMENTS],
        ),
    ]
    for title, columns, jobs in sections:
        table = plain_table(*columns, left=2 if "partitions" not in columns else 1)
        for row in _apart(jobs):
            table.add_row(*row)
        console.print(f"\n{title}")
        console.print(table)


if __name__ == "__main__":
    main()
