"""A lane's actors as threads of this process: what `LaneDriver` does on Ray, for replicas that start in a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pipeline.flow.calls import Action, Block, Forget, Pack, Prepare, Seal, Tokenize
from pipeline.flow.lane import Lane
from pipeline.runtime.driver import Tally
from pipeline.runtime.packer import Packer
from pipeline.runtime.worker import StageWorker, WorkerSpec


class LocalDriver:
    """Workers and packers of the production code, each on a thread of its own.

    An item whose attributes say `takes_s` takes so long to prepare.

    Args:
        lane: the state machine.
        spec: of each worker.
        workers: how many.
        packers: by name.
    """

    refs = ()
    """There is nothing to wait for: answers are taken by `step`."""
    pools = ()

    def __init__(self, lane: Lane, spec: WorkerSpec, workers: int, packers: Mapping[str, Packer]) -> None:
        self.tally = Tally()
        self._lane = lane
        self._spec = spec
        self._workers = {f"worker-{number}": StageWorker(spec) for number in range(workers)}
        self._packers = dict(packers)
        self._threads = {name: ThreadPoolExecutor(1, name) for name in (*self._workers, *self._packers)}
        self._sent: list[tuple[Action, Future[Any]]] = []
        for name in self._workers:
            lane.worker_ready(name, spec.stages)

    def step(self, now_s: float) -> int:
        """See `LaneDriver.step`."""
        for action, answer in [each for each in self._sent if each[1].done()]:
            self._sent.remove((action, answer))
            self._receive(action, answer.result(), now_s)
        actions = self._lane.actions(now_s)
        for action in actions:
            on = action.worker if isinstance(action, Prepare | Tokenize) else action.packer
            self._sent.append((action, self._threads[on].submit(self._work(action))))
        return len(actions)

    def stop(self) -> None:
        """See `LaneDriver.stop`."""
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)

    def _work(self, action: Action) -> Callable[[], Any]:
        match action:
            case Prepare(worker=worker, leases=leases):

                def prepare() -> Any:
                    time.sleep(sum(lease.reference.attributes.get("takes_s", 0.0) for lease in leases))
                    return self._workers[worker].prepare(leases)

                return prepare
            case Tokenize(worker=worker, product=product, pieces=pieces):
                rows = [(piece.start, piece.stop) for piece in pieces]
                blocks = [piece.block.handle for piece in pieces]
                return lambda: self._workers[worker].tokenize(product, rows, blocks)
            case Pack(packer=packer, deliveries=deliveries, batches=batches):
                return lambda: self._packers[packer].add(deliveries, batches)
            case Seal(packer=packer, reason=reason):
                return lambda: self._packers[packer].seal(reason)
            case Forget(packer=packer, logs=logs):
                return lambda: self._packers[packer].forget(logs)

    def _receive(self, action: Action, answer: Any, now_s: float) -> None:
        match action:
            case Prepare():
                said, batches = answer
                assert said.report.failure is None, said.report.failure
                each = zip(self._spec.views, batches, said.sizes_bytes, strict=True)
                blocks = {view: Block(batch, size) for view, batch, size in each if size}
                self._lane.prepared(action.call, said.items, blocks, now_s)
            case Tokenize():
                said, tokens = answer
                assert said.report.failure is None, said.report.failure
                self._lane.tokenized(action.call, Block(tokens, said.size_bytes))
            case _:
                self._lane.packed(action.call, answer)
