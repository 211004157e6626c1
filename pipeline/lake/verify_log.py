"""The log against itself: folded anew, and its coverage counted a second time by simpler code."""

from __future__ import annotations

from collections.abc import Callable

from pyroaring import BitMap64

from operators.errors import InvariantError
from pipeline.flow.coverage import bitmap_of
from pipeline.lake.checkpoint import checkpoint_bytes
from pipeline.lake.delta import Delta
from pipeline.lake.findings import FindingKind, Report
from pipeline.lake.history import checkpoints, read_if_there, read_log
from pipeline.lake.paths import checkpoint_path
from pipeline.lake.state import Key, LakeState
from pipeline.lake.store import LakeStore
from pipeline.records import Span


def verified_log(store: LakeStore, report: Report, told: Callable[[int], None]) -> LakeState | None:
    """The state that the log amounts to; None where it amounts to none.

    Args:
        store: of the lake.
        report: takes what is found.
        told: hears the number of each version read.
    """
    state, recount = LakeState(), _Recount(report)
    newest = max(checkpoints(store), default=0)
    try:
        for delta in read_log(store):
            state.apply(delta)
            recount.add(delta, state)
            if delta.version == newest and read_if_there(store, checkpoint_path(newest)) != checkpoint_bytes(state):
                report.add(FindingKind.CHECKPOINT_DIFFERS, checkpoint_path(newest), "not what its log amounts to")
            told(delta.version)
    except InvariantError as error:
        report.add(FindingKind.LOG_BROKEN, f"version {state.version + 1}", str(error))
        return None
    if newest > state.version:
        report.add(FindingKind.LOG_BROKEN, f"version {state.version + 1}", f"missing, yet checkpoint {newest} is there")
    report.version = state.version
    recount.compare(state)
    return state


class _Recount:
    """Every message of every version once more, as plain sets."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._own = dict[Key, BitMap64]()
        self._names = dict[Key, BitMap64]()
        self._replaced = set[str]()

    def add(self, delta: Delta, state: LakeState) -> None:
        where = f"version {delta.version}"
        for each in (*delta.covers, *delta.skips):
            name = state.products[each.product].product.name
            self._once(self._names, name, each.span, where)
            self._once(self._own, each.product, each.span, where)
        for each in delta.remade:
            self._once(self._own, each.product, each.span, where)
        for rewrite in delta.rewrites:
            self._replaced.update(rewrite.removes)

    def _once(self, sets: dict[Key, BitMap64], owner: str, span: Span, where: str) -> None:
        here, more = sets.setdefault((owner, span.log), BitMap64()), bitmap_of(span.ranges)
        if twice := here.intersection_cardinality(more):
            self._report.add(FindingKind.COVERED_TWICE, where, f"{twice} messages of {span.log} in {owner}")
        here |= more
        sets[owner, span.log] = here

    def compare(self, state: LakeState) -> None:
        report = self._report
        for (product, log), coverage in state.own_coverage.items():
            counted, said = self._own.get((product, log), BitMap64()), coverage.aside.copy()
            said.add_range(coverage.start, coverage.watermark)
            if said != counted:
                differ = counted.symmetric_difference_cardinality(said)
                report.add(FindingKind.COVERAGE_DIFFERS, product, f"{differ} messages of {log}")
            gap = coverage.watermark - coverage.start - counted.range_cardinality(coverage.start, coverage.watermark)
            if gap or coverage.watermark in counted:
                what = f"{gap} messages of {log} in [{coverage.start}, {coverage.watermark}) are not covered"
                report.add(FindingKind.COVERAGE_GAP, product, what)
        for key in self._own.keys() - state.own_coverage.keys():
            report.add(FindingKind.COVERAGE_DIFFERS, key[0], f"{len(self._own[key])} messages of {key[1]}")
        for path in sorted(self._replaced & state.live_paths):
            report.add(FindingKind.REPLACED_YET_LIVE, path, "a rewrite replaced it")
