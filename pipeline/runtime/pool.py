"""One pool of a lane's actors: starts them, knows which are warm, lets them go. How many is decided elsewhere."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import ray
import structlog

from pipeline.runtime.actors import StageActor
from pipeline.runtime.worker import WorkerInfo, WorkerSpec

_log = structlog.get_logger(__name__)


class WorkerState(StrEnum):
    """A worker's life."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"


@dataclass(slots=True)
class Worker:
    """An actor of a pool.

    Attributes:
        warm: answers when it can take calls.
        prepare, tokenize: its methods, told how many values they return.
        gpus: ids that Ray gave it.
        stages: of which it has answered a call.
    """

    name: str
    actor: Any
    warm: Any
    state: WorkerState
    since_s: float
    prepare: Any
    tokenize: Any
    info: WorkerInfo | None = None
    gpus: tuple[str, ...] = ()
    stages: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class Work:
    """What a pool did since it was last asked.

    Attributes:
        left_items: that left it, however they ended.
        finished_items, busy_s: items, and seconds computed for them; the first call of each worker and stage, in which
            it warms up, is in neither.
    """

    left_items: int
    finished_items: int
    busy_s: float


@dataclass(slots=True)
class Pool:
    """See the module.

    Attributes:
        name: "<lane>/<pool>", e.g. "image/workers".
        cpus: of one worker, as Ray accounts them.
        items_in_all, busy_in_all_s: since the run began, every call counted.
        deaths: workers that ended without being asked.
        stillborn: of these, those that died while they started, since one last became ready.
    """

    name: str
    spec: WorkerSpec
    cpus: float
    workers: dict[str, Worker] = field(default_factory=dict[str, Worker])
    items_in_all: float = 0.0
    busy_in_all_s: float = 0.0
    deaths: int = 0
    stillborn: int = 0
    _left: float = 0.0
    _finished: float = 0.0
    _busy_s: float = 0.0
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def present(self) -> int:
        """Workers that are here to stay: ready or starting."""
        return len(self.workers) - self.count(WorkerState.RETIRING)

    def count(self, state: WorkerState) -> int:
        """Workers in this state."""
        return sum(worker.state is state for worker in self.workers.values())

    def start(self) -> Worker:
        """One worker more; it is of use once its `warm` answers."""
        name = f"{self.name}/{next(self._numbers)}"
        actor: Any = StageActor.options(num_cpus=self.cpus, num_gpus=self.spec.gpus).remote(self.spec)
        worker = Worker(
            name,
            actor,
            warm=actor.info.remote(),
            state=WorkerState.STARTING,
            since_s=time.monotonic(),
            prepare=actor.prepare.options(num_returns=1 + len(self.spec.views)),
            tokenize=actor.tokenize.options(num_returns=2),
        )
        self.workers[name] = worker
        return worker

    def warmed(self, worker: Worker) -> None:
        """Its `warm` has answered.

        Raises:
            Exception: what its start failed with.
        """
        info, worker.gpus = ray.get(worker.warm)
        worker.info = info
        self.stillborn = 0
        worker.state = WorkerState.READY
        _log.info(
            "worker ready",
            worker=worker.name,
            pid=info.pid,
            device=info.device,
            gpus=list(worker.gpus),
            start_s=round(time.monotonic() - worker.since_s, 2),
        )

    def to_retire(self, count: int) -> list[Worker]:
        """Choose `count` workers to let go: those that have not warmed up first."""
        order = sorted(
            (worker for worker in self.workers.values() if worker.state is not WorkerState.RETIRING),
            key=lambda worker: (worker.state is WorkerState.READY, -worker.since_s),
        )
        return order[:count]

    def discard(self, name: str) -> None:
        """Stop a worker, dead or alive, and forget it."""
        worker = self.workers.pop(name, None)
        if worker is not None:
            ray.kill(worker.actor, no_restart=True)

    def worked(self, name: str, stage: str, items: float, busy_s: float) -> None:
        """A worker's call has come back.

        Args:
            items: that have left the pool by it; a part of one where other products' calls are still to come.
        """
        self._left += items
        self.items_in_all += items
        self.busy_in_all_s += busy_s
        worker = self.workers.get(name)
        if worker is None or stage in worker.stages:
            self._finished += items
            self._busy_s += busy_s
        else:
            worker.stages.add(stage)

    def take_work(self) -> Work:
        """What was done since the last time this was asked; parts of items are kept for the next time."""
        work = Work(int(self._left), int(self._finished), self._busy_s)
        self._left -= work.left_items
        self._finished -= work.finished_items
        self._busy_s = 0.0
        return work

    def stop(self) -> None:
        """Stop them all."""
        for name in list(self.workers):
            self.discard(name)
