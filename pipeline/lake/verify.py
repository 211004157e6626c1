"""Does the lake keep its promises, as far as its own files can say?

Reads everything once: the whole log, every live shard with its sidecar, every letters file. What is in them is held as
bitmaps of items, so memory grows with the gaps between offsets and not with rows; the files lie on local disk while
they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from itertools import islice
from typing import TypeVar

import numpy as np
from pyroaring import BitMap64

from operators.records import Origin
from pipeline.flow.coverage import bitmap_ranges
from pipeline.lake.findings import FindingKind, ProductTally, Report
from pipeline.lake.item_set import ItemSet
from pipeline.lake.state import LakeState, covered_messages
from pipeline.lake.store import LakeStore
from pipeline.lake.verify_files import ShardRows, Windows, verified_outcomes, verified_shard
from pipeline.lake.verify_log import verified_log
from pipeline.records import SourcePartition

READERS = 4
SHOWN = 20
"""So many items, or ranges of messages, are named where many have the same thing wrong with them."""

Job = TypeVar("Job")
Result = TypeVar("Result")


class Step(StrEnum):
    """What is being read."""

    LOG = "versions of the log"
    SHARDS = "shards"
    LETTERS = "letters files"


Told = Callable[[Step, int, int], None]
"""(step, so many are done, of so many; 0 where nobody knows)."""


def verify(store: LakeStore, told: Told = lambda *_: None) -> Report:
    """Check a lake against its own log.

    Args:
        store: of the lake.
        told: hears how far it has come.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    report = Report()
    state = verified_log(store, report, lambda version: told(Step.LOG, version, 0))
    if state is None:
        return report
    shards = sum(map(len, state.shards.values()))
    with ThreadPoolExecutor(READERS) as pool:
        done = 0
        rows = dict[str, _Rows]()
        for product, live in state.shards.items():
            here = rows[product] = _Rows(product, report)
            jobs = list(live.values())
            for found in _in_order(pool, lambda shard: verified_shard(store, shard, state.predicates), jobs):
                here.add(found)
                report.shards, done = report.shards + 1, done + 1
                told(Step.SHARDS, done, shards)
        outcomes = {product: _Outcomes() for product in state.products}
        files = list(state.outcomes.values())
        read = _in_order(pool, lambda file: verified_outcomes(store, state, file, state.predicates), files)
        for number, (file, found) in enumerate(zip(files, read, strict=True), 1):
            report.findings += found.findings
            outcomes[file.product].add(found.letters, found.open, found.empties)
            told(Step.LETTERS, number, len(files))
    for product in state.products:
        _check_product(state, product, rows[product].finished(), outcomes[product], report)
    return report


def _in_order(pool: ThreadPoolExecutor, work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """As `pool.map`, but results are let go of, and only a few jobs are ahead of whoever takes them."""
    ahead = [pool.submit(work, job) for job in jobs[: 2 * READERS]]
    for job in islice(jobs, 2 * READERS, None):
        yield ahead.pop(0).result()
        ahead.append(pool.submit(work, job))
    for future in ahead:
        yield future.result()


class _Rows:
    """The items with rows of one product, shard by shard."""

    def __init__(self, product: str, report: Report) -> None:
        self._product, self._report = product, report
        self._whole, self._parts = ItemSet(), dict[Origin, list[Windows]]()

    def add(self, found: ShardRows) -> None:
        self._report.findings += found.findings
        self._twice(self._whole & found.whole)
        self._whole.update(found.whole)
        for origin, windows in found.parts.items():
            self._parts.setdefault(origin, []).append(windows)

    def finished(self) -> ItemSet:
        spread = ItemSet(self._parts)
        self._twice(self._whole & spread)
        repeated, missing = list[Origin](), dict[Origin, str]()
        for origin, some in self._parts.items():
            seen = np.concatenate([windows.seen for windows in some])
            distinct = len(np.unique(seen))
            if distinct < len(seen):
                repeated.append(origin)
            if distinct != some[0].count and origin not in self._whole:
                missing[origin] = f"{origin} has {distinct} of {some[0].count} windows"
        self._twice(ItemSet(repeated))
        for what in islice(missing.values(), SHOWN):
            self._report.add(FindingKind.WINDOW_MISSING, self._product, what)
        if len(missing) > SHOWN:
            what = f"{len(missing) - SHOWN} more items lack windows"
            self._report.add(FindingKind.WINDOW_MISSING, self._product, what)
        self._whole.update(spread)
        return self._whole

    def _twice(self, items: ItemSet) -> None:
        _add_all(self._report, FindingKind.ROW_TWICE, self._product, items, "has rows twice, in two shards")


class _Outcomes:
    """The items with letters (all, and those that are open) and the empties of one product."""

    def __init__(self) -> None:
        self.letters, self.open, self.empties = ItemSet(), ItemSet(), ItemSet()

    def add(self, letters: ItemSet, still_open: ItemSet, empties: ItemSet) -> None:
        self.letters.update(letters)
        self.open.update(still_open)
        self.empties.update(empties)


def _check_product(state: LakeState, product: str, rows: ItemSet, outcomes: _Outcomes, report: Report) -> None:
    spoken = rows.messages()
    _check_covered(state, product, spoken, "a row", report)
    others = _union(outcomes.letters.messages(), outcomes.empties.messages())
    _check_covered(state, product, others, "a letter or empty", report)
    # An item that was replayed has a letter besides its new outcome, but no longer an open one.
    two = ItemSet()
    for left, right in ((rows, outcomes.empties), (rows, outcomes.open), (outcomes.empties, outcomes.open)):
        two.update(left & right)
    _add_all(report, FindingKind.TWO_OUTCOMES, product, two, "has two outcomes")
    report.products.append(_tally(state, product, rows, outcomes))
    _check_silent(state, product, _union(spoken, others), report)


def _check_covered(
    state: LakeState, product: str, messages: Mapping[SourcePartition, BitMap64], what: str, report: Report
) -> None:
    for log, offsets in messages.items():
        left = offsets.copy()
        for coverage in state.coverages(product, log):
            left -= coverage.aside
            left.remove_range(coverage.start, coverage.watermark)
        for start, end in bitmap_ranges(left)[:SHOWN]:
            report.add(FindingKind.ROW_UNCOVERED, product, f"{what} of {log} [{start}, {end}), which is not covered")


def _check_silent(state: LakeState, product: str, spoken: Mapping[SourcePartition, BitMap64], report: Report) -> None:
    """A covered message without rows, letters or empties is void; void items are counted, not listed."""
    heard = 0
    for log, offsets in spoken.items():
        coverage = state.own_coverage.get((product, log))
        if coverage is not None:
            between = offsets.range_cardinality(coverage.start, coverage.watermark)
            heard += between + offsets.intersection_cardinality(coverage.aside)
    silent = covered_messages(state, product) - heard
    voids = sum(state.counters[product].voids.values())
    if silent > voids:
        report.add(FindingKind.NO_OUTCOME, product, f"{silent} messages have no outcome, but only {voids} void items")


def _tally(state: LakeState, product: str, rows: ItemSet, outcomes: _Outcomes) -> ProductTally:
    counters = state.counters[product]
    voids = sum(counters.voids.values())
    return ProductTally(
        product=product,
        messages=covered_messages(state, product),
        items=len(rows) + len(outcomes.empties) + len(outcomes.open) + voids,
        items_with_rows=len(rows),
        rows=counters.rows,
        tokens=counters.tokens,
        empties=len(outcomes.empties),
        letters=len(outcomes.open),
        voids=voids,
    )


def _union(
    left: Mapping[SourcePartition, BitMap64], right: Mapping[SourcePartition, BitMap64]
) -> dict[SourcePartition, BitMap64]:
    return {log: left.get(log, BitMap64()) | right.get(log, BitMap64()) for log in {**left, **right}}


def _add_all(report: Report, kind: FindingKind, where: str, items: ItemSet, what: str) -> None:
    """A finding an item, until there are too many."""
    for origin in islice(items, SHOWN):
        report.add(kind, where, f"{origin} {what}")
    if len(items) > SHOWN:
        report.add(kind, where, f"{len(items) - SHOWN} more: {what}")
