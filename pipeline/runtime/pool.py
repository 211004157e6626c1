"""One pool of a lane's actors: starts them, knows which are warm, lets them go. How many is decided elsewhere."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import ray
import structlog

from pipeline.flow.prepare_stage import PREPARE
from pipeline.runtime import hanging, last_words
from pipeline.runtime.actors import StageActor
from pipeline.runtime.memory import Departure
from pipeline.runtime.nearness import node_for, preferring
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
        node: where it runs; until it is warm, where it should.
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
    node: str = ""
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
        left_for_memory: workers that left by themselves, over their limit of memory; none of them is a death.
        stillborn: of these, those that died while they started, since one last became ready.
    """

    name: str
    spec: WorkerSpec
    cpus: float
    workers: dict[str, Worker] = field(default_factory=dict[str, Worker])
    items_in_all: float = 0.0
    busy_in_all_s: float = 0.0
    deaths: int = 0
    left_for_memory: int = 0
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

    @property
    def nodes(self) -> tuple[str, ...]:
        """Of each worker that is here to stay."""
        return tuple(worker.node for worker in self.workers.values() if worker.state is not WorkerState.RETIRING)

    def next_node(self, pools: Iterable[Pool]) -> str:
        """The node for one more worker of a pool that only decodes: one of its lane's tokenizers'; "" for any.

        Args:
            pools: of its lane.
        """
        if self.spec.stages != (PREPARE,):
            return ""
        return node_for(self.nodes, (node for pool in pools if pool is not self for node in pool.nodes))

    def start(self, near: str = "") -> Worker:
        """One worker more; it is of use once its `warm` answers.

        Args:
            near: the node that it should run on, if that has room; "": any.
        """
        name = f"{self.name}/{next(self._numbers)}"
        options = {"num_cpus": self.cpus, "num_gpus": self.spec.gpus, "scheduling_strategy": preferring(near)}
        actor: Any = StageActor.options(**options).remote(self.spec)
        worker = Worker(
            name,
            actor,
            warm=actor.info.remote(),
            state=WorkerState.STARTING,
            since_s=time.monotonic(),
            prepare=actor.prepare.options(num_returns=1 + len(self.spec.views)),
            tokenize=actor.tokenize.options(num_returns=2),
            node=near,
        )
        self.workers[name] = worker
        return worker

    def warmed(self, worker: Worker) -> WorkerInfo:
        """Its `warm` has answered: what it says.

        Raises:
            Exception: what its start failed with.
        """
        info: WorkerInfo
        info, worker.gpus = ray.get(worker.warm)
        worker.info, worker.node = info, info.node
        self.stillborn = 0
        worker.state = WorkerState.READY
        _log.info(
            "worker ready",
            worker=worker.name,
            pid=info.pid,
            device=info.device,
            gpus=list(worker.gpus),
            start_s=round(time.monotonic() - worker.since_s, 2),
            warm_up_s=round(info.warm_up_s, 2),
        )
        for product, error in info.unsuited.items():
            _log.warning("no warm-up", worker=worker.name, product=product, error=error)
        return info

    def last_words(self, name: str) -> Departure | None:
        """What a worker that is dead has said of why it went; None where it said nothing."""
        worker = self.workers.get(name)
        return last_words.take(worker.info.actor) if worker is not None and worker.info is not None else None

    def sighting(self, name: str) -> hanging.Sighting | None:
        """Where the call of a worker that takes long is."""
        worker = self.workers.get(name)
        return hanging.take(worker.info.actor) if worker is not None and worker.info is not None else None

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

    def lose(self, name: str, departure: Departure | None) -> bool:
        """A worker is dead. Returns whether another must take its place.

        Args:
            departure: why it left by itself; None: it did not.
        """
        worker = self.workers.get(name)
        self.discard(name)
        if worker is None or worker.state is WorkerState.RETIRING:
            return False
        self.deaths += departure is None
        self.left_for_memory += departure is not None
        return True

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
