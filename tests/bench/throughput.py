"""Images, or seconds of sound or film, a second through the whole pipeline, against the same operators in a bare loop.

Neither figure has its start-up in it. The pipeline's source is held back until every worker is ready; its time runs
from the first message admitted to the last commit. The loop's processes build their operators, meet, and run; its
time is that of the last to end. Both decode, cut and tokenize with one torch thread a process; the loop throws its
tokens away.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from operators.records import Modality
from pipeline.app.build import build, claims_of, plan_and_start
from pipeline.config import Config, parse_config
from pipeline.graph import LanePlan
from pipeline.lake.open_store import open_store
from pipeline.runtime.pool import WorkerState
from pipeline.source.base import Positions, Source
from pipeline.source.events import Event
from pipeline.source.listing import freeze
from pipeline.source.listing_source import ListingSource
from tests.bench.operators import Whole, Work, in_batches, work_of

TICK_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One way of doing it.

    Attributes:
        amount: images, or seconds of sound or film.
        seconds: as the module says.
        cpu_s: by kind of process, over that time.
        whole_s: the same with the start of everything; 0.0 where that was not measured.
        notes: what else was seen.
    """

    amount: float
    seconds: float
    cpu_s: Mapping[str, float]
    whole_s: float = 0.0
    notes: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def hz(self) -> float:
        """Images, or seconds of media, a second."""
        return self.amount / self.seconds

    @property
    def whole_hz(self) -> float:
        """Images, or seconds of media, a second, start-up included."""
        return self.amount / self.whole_s

    @property
    def cpu_ms(self) -> float:
        """Of all processes together, an image or a second of media."""
        return 1000 * sum(self.cpu_s.values()) / self.amount


def bench_config(
    folder: Path,
    modality: Modality,
    workers: int,
    products: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
) -> Config:
    """A lane of one modality from a folder; `options` are of each of its tokenizers."""
    lane = {
        "products": {name: {"tokenizer": tokenizer, "options": options or {}} for name, tokenizer in products.items()},
        "workers": {"min": workers, "max": workers},
    }
    return parse_config(
        {
            "lake": str(folder / "lake"),
            "state": str(folder / "state"),
            "fetch": {"roots": [str(folder / "media")]},
            "lanes": {modality.value: lane},
        }
    )


class _HeldBack:
    """A source that has nothing until it is let go."""

    def __init__(self, inner: Source, ready: Callable[[], bool]) -> None:
        self._inner, self._ready = inner, ready
        self.began_s: float | None = None
        self.pause, self.resume, self.recheck = inner.pause, inner.resume, inner.recheck
        self.advise, self.lag, self.close = inner.advise, inner.lag, inner.close

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`."""
        if self.began_s is None:
            if not self._ready():
                time.sleep(timeout_s)
                return []
            self.began_s = time.monotonic()
        return self._inner.poll(max_messages, timeout_s)


def through_pipeline(config: Config, media: Path, amount: float) -> Measured:
    """Everything: listing, admission, Ray, packing, commits."""
    started_s = time.monotonic()
    store = open_store(config.lake)
    listings = freeze([str(media)], store, {})
    (only,) = config.lanes.values()
    workers = only.workers.min
    sources: list[_HeldBack] = []
    before: list[Counter[str]] = []

    def ready() -> bool:
        pools = [pool for lane in built.coordinator.lanes for pool in lane.driver.pools]
        all_ready = all(pool.count(WorkerState.READY) >= workers for pool in pools)
        if all_ready:
            before.append(_cpu_s())
        return all_ready

    def make_source(lane: LanePlan, positions: Positions) -> Source:
        del lane
        sources.append(_HeldBack(ListingSource(listings, store, positions), ready))
        return sources[-1]

    claims = claims_of(config, lambda _: [listing.source_id for listing in listings])
    plans, nodes = plan_and_start(config)
    built = build(config, "bench", make_source, claims, plans=plans, nodes=nodes, until_idle=True, show=lambda _: None)
    try:
        built.coordinator.run(until_idle=True)
        ended_s = time.monotonic()
        cpu_s = _cpu_s() - before[0]
        (lane,) = built.coordinator.lanes
        assert sources[0].began_s is not None
        notes = {
            "rows": float(sum(lane.committed_rows.values())),
            "commits": float(built.coordinator.progress.commits),
            "workers busy": sum(pool.busy_in_all_s for pool in lane.driver.pools),
        }
    finally:
        built.coordinator.close()
        ray.shutdown()
    return Measured(amount, ended_s - sources[0].began_s, dict(cpu_s), ended_s - started_s, notes)


def in_a_loop(config: Config, paths: list[Path], amount: float) -> Measured:
    """The same operators, called by as many processes as the pipeline has workers; nothing between them."""
    work = work_of(config)
    context = multiprocessing.get_context("spawn")
    barrier, ends = context.Barrier(work.workers + 1), context.Queue()
    processes = [
        context.Process(target=_loop, args=(work, [str(path) for path in paths[n :: work.workers]], barrier, ends))
        for n in range(work.workers)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    began_s = time.monotonic()
    results = [ends.get() for _ in processes]
    for process in processes:
        process.join()
    ended_s = max(end for end, _ in results)
    return Measured(amount, ended_s - began_s, {"loop": sum(cpu for _, cpu in results)})


def _loop(work: Work, paths: list[str], barrier: Any, ends: Any) -> None:
    whole = Whole(work)
    barrier.wait()
    cpu_s = time.process_time()
    for some in in_batches(paths, work.batch):
        whole(some)
    ends.put((time.monotonic(), time.process_time() - cpu_s))


def _cpu_s() -> Counter[str]:
    """CPU seconds so far of this process and all below it, by what they are."""
    parents: dict[int, int] = {}
    used: dict[int, tuple[str, float]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text()
            name = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        fields = stat.rpartition(")")[2].split()
        parents[int(entry.name)] = int(fields[1])
        used[int(entry.name)] = (_kind(name), (int(fields[11]) + int(fields[12])) / TICK_HZ)
    total: Counter[str] = Counter()
    me = os.getpid()
    total["driver"] = used[me][1]
    for pid, (kind, seconds) in used.items():
        if pid != me and _below(pid, me, parents):
            total[kind] += seconds
    return total


def _below(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def _kind(name: str) -> str:
    if "StageActor" in name:
        return "workers"
    if "PackerActor" in name:
        return "packer"
    return "ray"
