"""Runs a lane's stages on samples, by the very code of its workers, and takes the time.

Each lane is measured in a process of its own, so that its memory and its threads are those of one worker. First
prepare, for half of the time; then each product on the windows that prepare gave.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from operators.errors import ConfigError, InvariantError
from operators.records import Failure, MediaReference, WindowBatch, WindowMeta
from pipeline.app.plan.hop import hop_of
from pipeline.app.plan.measured import Call, Cost, Measured, Memory, cost_of
from pipeline.flow.calls import Lease, PreparedItem
from pipeline.runtime.memory import own_bytes
from pipeline.runtime.worker import CallReport, StageWorker, WorkerSpec

MOST_KEPT_BYTES = 256 << 20
"""Of windows, to tokenize afterwards."""
LEAST_CALLS = 3
"""Of a stage, the first to warm up, however long they take."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be measured.

    Attributes:
        prepare, tokenize: a worker of each of the two stages.
        views: by product key.
        prepare_batch, tokenize_windows: as in the lane's settings.
        seconds: to spend, about.
    """

    lane: str
    prepare: WorkerSpec
    tokenize: WorkerSpec
    views: Mapping[str, str]
    references: tuple[MediaReference, ...]
    prepare_batch: int
    tokenize_windows: int
    seconds: float


def measure_apart(work: Work) -> Measured:
    """In a fresh process, with what Ray's actors have in their environment.

    Raises:
        MediatokError: as `measure`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_as_actor, initargs=(work.tokenize,)) as pool:
        return pool.submit(measure, work).result()


def measure(work: Work) -> Measured:
    """Here and now.

    Raises:
        ConfigError: none of the samples can be prepared.
        InvariantError: a tokenizer fails on the windows of a sample.
    """
    bare_bytes, clock = own_bytes(), Clock()
    prepared = _prepare(work, clock)
    kept_bytes = sum(block.size_bytes for block in prepared.blocks)
    prepare_bytes = _settled_bytes() - kept_bytes
    worker = StageWorker(work.tokenize)
    tokenize: dict[str, Cost] = {}
    tokens: dict[str, float] = {}
    for key in work.views:
        tokenize[key], tokens[key] = _tokenize(work, worker, key, prepared, clock)
    fused_bytes = _settled_bytes() - kept_bytes
    hop = hop_of([block.by_view for block in prepared.blocks])
    kept = sum(block.references for block in prepared.blocks) or 1.0
    return Measured(
        prepare=cost_of(prepared.calls),
        tokenize=tokenize,
        windows=sum(len(batch) for block in prepared.blocks for batch in block.by_view.values()) / kept,
        window_bytes=kept_bytes / kept,
        tokens=tokens,
        media_s=prepared.media_s,
        put_s=hop.put_s / kept,
        get_s=hop.get_s / kept,
        memory=Memory(bare_bytes, prepare_bytes, bare_bytes + max(0, fused_bytes - prepare_bytes)),
        device=worker.info().device,
        stolen=clock.stolen,
        refused=prepared.refused,
    )


class Clock:
    """Seconds of calls, less those that this thread waited for a CPU that others had: a busy machine is no slow one."""

    def __init__(self) -> None:
        self._wall_s = self._waited_s = 0.0
        self._began_waited_s = 0.0

    @property
    def stolen(self) -> float:
        """Share of the time that others had."""
        return self._waited_s / self._wall_s if self._wall_s else 0.0

    def begin(self) -> None:
        """A call begins."""
        self._began_waited_s = _waited_s()

    def end(self, report: CallReport) -> float:
        """It has ended: its seconds."""
        waited_s = min(report.busy_s, _waited_s() - self._began_waited_s)
        self._wall_s += report.busy_s
        self._waited_s += waited_s
        return report.busy_s - waited_s


@dataclass(slots=True)
class _Block:
    by_view: Mapping[str, WindowBatch]
    references: float

    @property
    def size_bytes(self) -> int:
        return sum(batch.size_bytes for batch in self.by_view.values())


@dataclass(slots=True)
class _Prepared:
    calls: list[Call] = field(default_factory=list[Call])
    blocks: list[_Block] = field(default_factory=list[_Block])
    refused: Counter[str] = field(default_factory=Counter[str])
    media_s: float = 0.0


class _Begun:
    """References under way: how much of each is done."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._done: dict[int, float] = {}
        self._lengths_s: dict[int, float] = {}

    @property
    def media_s(self) -> float:
        """Of a reference, on average."""
        return sum(self._lengths_s.values()) / len(self._lengths_s) if self._lengths_s else 0.0

    def advance(self, lease: Lease, item: PreparedItem) -> float:
        """A segment has come. Returns the part of its reference that it is."""
        attempt = lease.attempt
        further = (item.cursor is not None) + len(item.forks)
        self._open[attempt] = self._open.get(attempt, 1) - 1 + further
        metas = [meta for rows in itertools.islice(item.rows.values(), 1) for meta in rows.windows]
        self._lengths_s.setdefault(attempt, max((meta.duration_s for meta in metas), default=0.0))
        left = 1.0 - self._done.get(attempt, 0.0)
        length_s = self._lengths_s[attempt]
        part = min(left, _covered_s(metas) / length_s if length_s else 0.0) if self._open[attempt] else left
        self._done[attempt] = 1.0 - left + part
        return part


def _covered_s(metas: Sequence[WindowMeta]) -> float:
    return sum((meta.end - meta.start) * meta.rate_den / meta.rate_num for meta in metas if meta.rate_num)


def _prepare(work: Work, clock: Clock) -> _Prepared:
    worker, prepared, begun = StageWorker(work.prepare), _Prepared(), _Begun()
    good = {reference.uri: reference for reference in work.references}
    fresh = _endless(good)
    queue: deque[Lease] = deque()
    kept_bytes, until_s = 0, time.monotonic() + work.seconds / 2
    failure: Failure | None = None
    while good and (time.monotonic() < until_s or len(prepared.calls) < LEAST_CALLS):
        while len(queue) < work.prepare_batch:
            queue.append(next(fresh))
        leases = [queue.popleft() for _ in range(work.prepare_batch)]
        clock.begin()
        answer, batches = worker.prepare(leases)
        seconds = clock.end(answer.report)
        if answer.report.failure is not None:
            raise InvariantError(f"lane {work.lane}: {answer.report.failure.message}")
        parts = 0.0
        for lease, item in zip(leases, answer.items, strict=True):
            if item.ended is not None:
                if good.pop(lease.reference.uri, None) is not None:
                    failure = item.ended if isinstance(item.ended, Failure) else failure
                    prepared.refused[item.ended.code if isinstance(item.ended, Failure) else item.ended.value] += 1
                continue
            parts += begun.advance(lease, item)
            cursors = [*([item.cursor] if item.cursor is not None else []), *item.forks]
            queue.extendleft(replace(lease, cursor=cursor, facts=item.facts) for cursor in reversed(cursors))
        prepared.calls.append(Call(parts, seconds))
        block = _Block({v: b for v, b in zip(work.prepare.views, batches, strict=True) if b is not None}, parts)
        if parts and (not prepared.blocks or kept_bytes + block.size_bytes <= MOST_KEPT_BYTES):
            kept_bytes += block.size_bytes
            prepared.blocks.append(block)
    if not prepared.blocks:
        why = failure.message if failure else ", ".join(prepared.refused)
        raise ConfigError(f"lane {work.lane}: none of {len(work.references)} samples can be prepared: {why}")
    prepared.calls = _warm(prepared.calls)
    prepared.media_s = begun.media_s
    return prepared


def _endless(good: Mapping[str, MediaReference]) -> Iterator[Lease]:
    """The samples again and again, each time as another attempt; those that fail are left out the next time."""
    attempts = itertools.count(1)
    while good:
        for reference in list(good.values()):
            yield Lease(next(attempts), reference)


def _tokenize(work: Work, worker: StageWorker, key: str, prepared: _Prepared, clock: Clock) -> tuple[Cost, float]:
    """What a product costs, and how many tokens a reference gives."""
    view = work.views[key]
    blocks = [block for block in prepared.blocks if len(block.by_view.get(view, ()))]
    calls: list[Call] = []
    tokens = 0
    until_s = time.monotonic() + work.seconds / 2 / len(work.views)
    batches = itertools.cycle(list(_batched(blocks, view, work.tokenize_windows)))
    while time.monotonic() < until_s or len(calls) < LEAST_CALLS:
        group = next(batches)
        windows = [block.by_view[view] for block in group]
        clock.begin()
        answer, _ = worker.tokenize(key, [(0, len(batch)) for batch in windows], windows)
        seconds = clock.end(answer.report)
        if answer.report.failure is not None:
            raise InvariantError(f"{key}: {answer.report.failure.message}")
        calls.append(Call(sum(block.references for block in group), seconds))
        tokens += answer.tokens
    return cost_of(_warm(calls)), tokens / sum(call.references for call in calls)


def _batched(blocks: Sequence[_Block], view: str, most_windows: int) -> Iterator[list[_Block]]:
    """As a lane's batcher closes them: what fits, at least one."""
    group: list[_Block] = []
    windows = 0
    for block in blocks:
        size = len(block.by_view[view])
        if group and windows + size > most_windows:
            yield group
            group, windows = [], 0
        group.append(block)
        windows += size
    yield group


def _warm(calls: list[Call]) -> list[Call]:
    """Without the first: it warms up. Calls that did nothing but refuse are left out too."""
    worked = [call for call in calls if call.references]
    return worked[1:] if len(worked) > 1 else worked


def _settled_bytes() -> int:
    gc.collect()
    return own_bytes()


def _as_actor(spec: WorkerSpec) -> None:
    """Before anything that looks at these is imported; see `pipeline.runtime.actors`."""
    if spec.gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["RAYON_NUM_THREADS"] = str(spec.threads)


def _waited_s() -> float:
    """How long this thread has been ready to run while no CPU was free; 0.0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0
