"""Which worker takes the next call: slots, never a queue inside an actor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Worker:
    stages: frozenset[str]
    node: str
    calls: set[int] = field(default_factory=set[int])
    retiring: bool = False


class Workers:
    """A lane's actors that are warm. Two slots each: while one call computes, the next one's arguments travel."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._workers: dict[str, _Worker] = {}
        self._of_call: dict[int, str] = {}

    def add(self, worker: str, stages: Iterable[str], node: str = "") -> None:
        """A worker has warmed up and serves these stages, on this node."""
        self._workers[worker] = _Worker(frozenset(stages), node)

    def retire(self, worker: str) -> None:
        """It finishes what it has and gets nothing more."""
        self._workers[worker].retiring = True

    def remove(self, worker: str) -> None:
        """It is gone; its calls fail one by one."""
        self._workers.pop(worker, None)

    def retired(self) -> tuple[str, ...]:
        """Workers that have finished and may be stopped."""
        return tuple(name for name, worker in self._workers.items() if worker.retiring and not worker.calls)

    def ready(self, stage: str) -> int:
        """Workers that take calls of this stage."""
        return sum(stage in worker.stages and not worker.retiring for worker in self._workers.values())

    def free_slots(self, stage: str) -> int:
        """Calls of this stage that could be sent now."""
        return sum(
            max(0, self._slots - len(worker.calls))
            for worker in self._workers.values()
            if stage in worker.stages and not worker.retiring
        )

    def pick(self, stage: str, may: Callable[[str], bool] = lambda _: True, near: str = "") -> str | None:
        """The least loaded worker of this stage that has a free slot and `may`; None where there is none.

        Of equally loaded ones, one on the node `near`, where what the call reads lies already.
        """
        free = (
            (len(worker.calls), worker.node != near, name)
            for name, worker in self._workers.items()
            if stage in worker.stages and not worker.retiring and len(worker.calls) < self._slots and may(name)
        )
        return min(free, default=(0, False, None))[2]

    def node_of(self, worker: str) -> str:
        """Where it runs; "" once it is gone."""
        found = self._workers.get(worker)
        return found.node if found is not None else ""

    def serves(self, worker: str, stage: str) -> bool:
        """Whether this worker is there to stay, and takes calls of this stage."""
        found = self._workers.get(worker)
        return found is not None and stage in found.stages and not found.retiring

    def is_fused(self, worker: str) -> bool:
        """Whether this worker is there, and takes calls of several stages."""
        found = self._workers.get(worker)
        return found is not None and len(found.stages) > 1

    def has_slot(self, worker: str) -> bool:
        """Whether this worker could be sent a call now."""
        return len(self._workers[worker].calls) < self._slots

    def begin(self, worker: str, call: int) -> None:
        """The call takes a slot."""
        self._workers[worker].calls.add(call)
        self._of_call[call] = worker

    def end(self, call: int) -> None:
        """The call gives its slot back."""
        worker = self._workers.get(self._of_call.pop(call))
        if worker is not None:
            worker.calls.discard(call)
