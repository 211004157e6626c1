"""Carries out one lane's actions on Ray and turns the answers into the lane's events. Decides nothing."""

from __future__ import annotations

import heapq
import pickle
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ray
import ray.exceptions
import structlog

from operators.errors import Disposition, InvariantError, MediatokError, MemoryPressureError
from operators.records import Failure
from pipeline.flow.call_times import CallAge, CallTimes, Deadlines, stage_and_actor
from pipeline.flow.calls import Action, Block, CallFailure, Forget, Lease, Pack, Prepare, PreparedItem, Seal, Tokenize
from pipeline.flow.lane import Lane
from pipeline.flow.lease import backoff_s
from pipeline.flow.prepare_stage import PREPARE
from pipeline.runtime.call_errors import DIED, LOST, blameless, brief
from pipeline.runtime.cluster import packer_options
from pipeline.runtime.intake import Claims
from pipeline.runtime.memory import Departure, Leaving, memory_failure
from pipeline.runtime.packer import Packer
from pipeline.runtime.packer_actor import PackerActor
from pipeline.runtime.pool import Pool, WorkerState
from pipeline.runtime.worker import CallReport, PrepareAnswer, TokenizeAnswer

_log = structlog.get_logger(__name__)

SETTLE_S = 2.0
"""How long the other calls of a dead worker may take to say so."""
MOST_STILLBORN = 3


@dataclass(slots=True)
class Tally:
    """What a lane has done since the run began.

    Attributes:
        tokens: by product key, made (not yet committed).
        fetched_bytes: of content.
        prepared: items.
    """

    tokens: dict[str, int] = field(default_factory=dict[str, int])
    fetched_bytes: int = 0
    prepared: int = 0


@dataclass(slots=True)
class _Sent:
    action: Action
    handles: tuple[Any, ...] = ()
    tries: int = 0


class LaneDriver:
    """One lane on Ray.

    Args:
        lane: the state machine.
        pools: by stage, the pool whose workers serve it.
        make_packer: by packer name, what builds it inside its actor.
        claims: which lane takes what.
        deadlines: after which a call's actor is killed.

    Attributes:
        times: how long calls take, and which are under way.
    """

    def __init__(
        self,
        lane: Lane,
        pools: Mapping[str, Pool],
        make_packer: Mapping[str, Callable[[], Packer]],
        claims: Claims,
        rng: random.Random,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.lane = lane
        self.times = CallTimes(deadlines)
        self.tally = Tally()
        self.pools = list({id(pool): pool for pool in pools.values()}.values())
        self._make_packer = make_packer
        self._packer_starts: dict[Any, str] = {}
        self._packer_pids: dict[str, int] = {}
        self._packers = {name: self._start_packer(name) for name in make_packer}
        self._sent: dict[Any, _Sent] = {}
        self._warming: dict[Any, tuple[Pool, str]] = {}
        self._later: list[tuple[float, int, _Sent]] = []
        self._rng = rng
        self._claims = claims
        self._modality = self.pools[0].spec.modality

    # --- what to wait for ---

    @property
    def refs(self) -> list[Any]:
        """Everything that this lane waits for."""
        return [*self._sent, *self._warming, *self._packer_starts]

    @property
    def pids(self) -> dict[str, int]:
        """Of the actors that have started, by name: "image/workers/1", "packer image-0"."""
        workers = (worker for pool in self.pools for worker in pool.workers.values())
        pids = {worker.name: worker.info.pid for worker in workers if worker.info is not None}
        return pids | {f"packer {name}": pid for name, pid in self._packer_pids.items()}

    # --- sending ---

    def start_worker(self, pool: Pool) -> None:
        """One worker more in a pool."""
        worker = pool.start(near=pool.next_node(self.pools))
        self._warming[worker.warm] = (pool, worker.name)

    def retire_worker(self, pool: Pool, name: str) -> None:
        """Let a worker finish and go."""
        worker = pool.workers[name]
        if worker.state is WorkerState.READY:
            worker.state = WorkerState.RETIRING
            self.lane.core.workers.retire(name)
        else:
            self._warming.pop(worker.warm, None)
            pool.discard(name)

    def step(self, now_s: float) -> int:
        """Send all that can be sent; stop workers that have retired. Returns how many calls were sent."""
        for late in self.times.overdue(now_s):
            self._give_up(late)
        actions = self.lane.actions(now_s)
        for action in actions:
            self._send(_Sent(action), now_s)
        while self._later and self._later[0][0] <= now_s:
            self._send(heapq.heappop(self._later)[2], now_s)
        for left in self.lane.take_abandoned():
            if (worker := self._pool_of(left.worker).workers.get(left.worker)) is not None:
                worker.actor.forget.remote(left.facts, left.cursor)
        for name in self.lane.core.workers.retired():
            self.lane.core.workers.remove(name)
            self._pool_of(name).discard(name)
            _log.info("worker let go", worker=name)
        return len(actions)

    def _send(self, sent: _Sent, now_s: float) -> None:
        self.times.begin(sent.action.call, *stage_and_actor(sent.action), now_s)
        match sent.action:
            case Prepare(worker=worker, leases=leases):
                call = self._pool_of(worker).workers[worker].prepare
                refs = call.remote(pickle.dumps(leases, pickle.HIGHEST_PROTOCOL))
            case Tokenize(worker=worker, product=product, pieces=pieces):
                call = self._pool_of(worker).workers[worker].tokenize
                rows = [(piece.start, piece.stop) for piece in pieces]
                refs = call.remote(product, rows, *(piece.block.handle for piece in pieces))
            case Pack(packer=packer, deliveries=deliveries, batches=batches):
                refs = [self._packers[packer].add.remote(pickle.dumps(deliveries, pickle.HIGHEST_PROTOCOL), *batches)]
            case Seal(packer=packer, reason=reason):
                refs = [self._packers[packer].seal.remote(reason)]
            case Forget(packer=packer, logs=logs):
                refs = [self._packers[packer].forget.remote(logs)]
        sent.handles = tuple(refs[1:])
        self._sent[refs[0]] = sent

    # --- receiving ---

    def receive(self, ref: Any, now_s: float) -> None:  # noqa: ANN401  Ray's ObjectRef has no useful type
        """A ref that this lane waits for is ready.

        Raises:
            StopError: an actor says that the run must not go on.
        """
        if ref in self._warming:
            self._warmed(ref)
            return
        if ref in self._packer_starts:
            self._packer_started(ref)
            return
        sent = self._sent.pop(ref, None)
        if sent is None:
            return
        if sent.action.call not in self.lane.core.calls:
            self.times.end(sent.action.call, now_s, answered=False)
            return  # its actor was lost, and with it this call
        try:
            answer: Any = ray.get(ref)
        except Exception as error:  # noqa: BLE001  sorted by kind below; what is unknown is raised again
            self.times.end(sent.action.call, now_s, answered=False)
            self._failed(sent, error, now_s)
            return
        self.times.end(sent.action.call, now_s)
        if isinstance(sent.action, Prepare | Tokenize) and not self._begun(sent, sent.action.worker, answer.report):
            return
        match sent.action:
            case Prepare():
                self._prepared(sent, answer, now_s)
            case Tokenize():
                self._tokenized(sent, answer)
            case _:
                self.lane.packed(sent.action.call, answer)

    def _prepared(self, sent: _Sent, answer: PrepareAnswer, now_s: float) -> None:
        assert isinstance(sent.action, Prepare)
        pool = self._pool_of(sent.action.worker)
        # Where the pool tokenizes too, what goes on to that has not left it yet.
        fused = len(pool.spec.stages) > 1
        left = sum(item.ended is not None for item in answer.items) if fused else len(answer.items)
        pool.worked(sent.action.worker, PREPARE, left, answer.report.busy_s)
        if self._raised(sent, answer.report):
            return
        self.tally.prepared += len(answer.items)
        self.tally.fetched_bytes += answer.fetched_bytes
        sizes = zip(pool.spec.views, sent.handles, answer.sizes_bytes, strict=True)
        node = self.lane.core.workers.node_of(sent.action.worker)
        blocks = {view: Block(handle, size, node=node) for view, handle, size in sizes if size}
        sent.handles = ()
        items = [self._claim(lease, item) for lease, item in zip(sent.action.leases, answer.items, strict=True)]
        self.lane.prepared(sent.action.call, items, blocks, now_s)

    def _claim(self, lease: Lease, item: PreparedItem) -> PreparedItem:
        """An item whose bytes show another modality: void here if another lane takes it, else a letter."""
        entry = self.lane.core.ledger.entry(lease.reference.origin)
        if item.elsewhere is None or entry is None:
            return item
        return replace(item, ended=self._claims.judge(entry.message.topic, item.elsewhere, self._modality))

    def _tokenized(self, sent: _Sent, answer: TokenizeAnswer) -> None:
        assert isinstance(sent.action, Tokenize)
        pool = self._pool_of(sent.action.worker)
        action, product = sent.action, sent.action.product
        fused = PREPARE in pool.spec.stages
        left = len(action.items) / (len(pool.spec.stages) - 1) if fused else sum(piece.size for piece in action.pieces)
        pool.worked(action.worker, product, left, answer.report.busy_s)
        if self._raised(sent, answer.report):
            return
        self.tally.tokens[product] = self.tally.tokens.get(product, 0) + answer.tokens
        self.lane.tokenized(sent.action.call, Block(sent.handles[0], answer.size_bytes))

    def _raised(self, sent: _Sent, report: CallReport) -> bool:
        if report.failure is None:
            return False
        if report.stops:
            raise InvariantError(f"{report.failure.code}: {report.failure.message}\n{report.failure.stack}")
        blame = self.lane.failed(sent.action.call, CallFailure.RAISED, report.failure)
        _log.warning(
            "operator raised", action=type(sent.action).__name__, blame=blame.value, error=report.failure.message
        )
        return True

    def _failed(self, sent: _Sent, error: Exception, now_s: float) -> None:
        """A call that brought no answer: its actor died, an argument is lost, or a packer raised."""
        action = sent.action
        if isinstance(action, Pack | Seal | Forget):
            self._packer_failed(sent, error, now_s)
        elif isinstance(error, (*DIED, ray.exceptions.OutOfMemoryError)):
            self._worker_died(sent, error, now_s)
        elif isinstance(error, LOST):
            self._call_failed(sent, CallFailure.VALUE_LOST, error)
        else:
            raise error

    def _worker_died(self, first: _Sent, error: Exception, now_s: float) -> None:
        """All of a worker's calls end with it, but only the oldest without an answer was being computed."""
        assert isinstance(first.action, Prepare | Tokenize)
        worker = first.action.worker
        pool = self._pool_of(worker)
        departure = pool.last_words(worker)
        suspect = worker in pool.workers and not blameless(error)
        suspect = suspect and (departure is None or departure.reason is Leaving.MEMORY_IN_CALL)
        others = {ref: sent for ref, sent in self._sent.items() if getattr(sent.action, "worker", None) == worker}
        if others:
            ray.wait(list(others), num_returns=len(others), timeout=SETTLE_S, fetch_local=False)
        failed = [(first, error)]
        for ref, sent in others.items():
            try:
                ray.get(ref, timeout=0)
            except ray.exceptions.GetTimeoutError:
                continue  # comes by itself
            except Exception as each:  # noqa: BLE001  sorted below, like the first
                del self._sent[ref]
                self.times.end(sent.action.call, now_s, answered=False)
                failed.append((sent, each))
            else:
                self.receive(ref, now_s)
        self._lose_worker(worker, departure)
        for sent, each in sorted(failed, key=lambda pair: pair[0].action.call):
            how = CallFailure.WORKER_DIED if suspect else CallFailure.WORKER_LEFT
            suspect = False
            told = each if departure is None else memory_failure(departure)
            self._call_failed(sent, CallFailure.VALUE_LOST if isinstance(each, LOST) else how, told)

    def _call_failed(self, sent: _Sent, how: CallFailure, error: Exception) -> None:
        assert isinstance(sent.action, Prepare | Tokenize)
        code = error.code if isinstance(error, MemoryPressureError) else "worker.died"
        why = self.times.given_up.pop(sent.action.call, brief(error))
        blame = self.lane.failed(sent.action.call, how, Failure(code, "worker", why))
        _log.warning("call failed", worker=sent.action.worker, how=how.value, blame=blame.value, error=why)

    def _packer_failed(self, sent: _Sent, error: Exception, now_s: float) -> None:
        assert isinstance(sent.action, Pack | Seal | Forget)
        packer = sent.action.packer
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if isinstance(error, (*DIED, *LOST)):
            # A token batch that is lost has no way back but from the start; its packer goes with it, to begin clean.
            _log.warning("packer lost", packer=packer, error=brief(error))
            ray.kill(self._packers[packer], no_restart=True)
            self.lane.packer_lost(packer)
            self._packers[packer] = self._start_packer(packer)
        elif isinstance(cause, MediatokError) and cause.disposition is Disposition.RETRY:
            sent.tries += 1
            due_s = now_s + backoff_s(sent.tries, self._rng)
            _log.warning("packer tries again", packer=packer, tries=sent.tries, error=brief(cause))
            heapq.heappush(self._later, (due_s, sent.action.call, sent))
        else:
            raise cause if isinstance(cause, MediatokError) else error

    def _give_up(self, late: CallAge) -> None:
        """A call is past its deadline: its actor is killed, and the call fails like any whose actor died."""
        pool = None if late.who in self._packers else self._pool_of(late.who)
        seen = None if pool is None else pool.sighting(late.who)
        if seen is not None:
            self.times.given_up[late.call] += f"; last seen in {seen.innermost}"
        told = {} if seen is None else {"stack": "".join(seen.stack)}
        _log.warning("call given up", who=late.who, stage=late.stage, age_s=round(late.age_s), **told)
        ray.kill(self._packers[late.who] if pool is None else pool.workers[late.who].actor, no_restart=True)

    # --- actors ---

    def _warmed(self, ref: Any) -> None:  # noqa: ANN401
        pool, name = self._warming.pop(ref)
        worker = pool.workers[name]
        try:
            info = pool.warmed(worker)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, MediatokError) else error) from error
        except DIED as error:
            if getattr(error, "actor_init_failed", False):
                raise InvariantError(f"{name} can't start: {error}") from error
            self._stillborn(pool, name, brief(error))
            return
        self.lane.worker_ready(name, pool.spec.stages, worker.node, info.window_tokens_bytes)

    def _stillborn(self, pool: Pool, name: str, error: str) -> None:
        pool.discard(name)
        pool.deaths += 1
        pool.stillborn += 1
        _log.error("worker died while starting", worker=name, times=pool.stillborn, error=error)
        if pool.stillborn >= MOST_STILLBORN:
            raise InvariantError(f"{pool.name}: {pool.stillborn} workers in a row died while they started: {error}")
        self.start_worker(pool)

    def _begun(self, sent: _Sent, name: str, report: CallReport) -> bool:
        """Whether the call was begun at all; a worker that says that it leaves is replaced."""
        if report.leaving is None:
            return True
        pool = self._pool_of(name)
        if pool.workers[name].state is WorkerState.READY:
            _log.warning("worker leaves", worker=name, memory=report.leaving.message)
            pool.left_for_memory += 1
            self.retire_worker(pool, name)
            self.start_worker(pool)
        if not report.begun:
            self._call_failed(sent, CallFailure.WORKER_LEFT, memory_failure(report.leaving))
        return report.begun

    def _lose_worker(self, name: str, departure: Departure | None) -> None:
        self.lane.core.workers.remove(name)
        pool = self._pool_of(name)
        if pool.lose(name, departure):
            self.start_worker(pool)

    def _pool_of(self, worker: str) -> Pool:
        prefix = worker.rpartition("/")[0]
        return next(pool for pool in self.pools if pool.name == prefix)

    def _start_packer(self, name: str) -> Any:  # noqa: ANN401
        self._packer_pids.pop(name, None)
        actor: Any = PackerActor.options(**packer_options()).remote(self._make_packer[name])
        self._packer_starts[actor.info.remote()] = name
        return actor

    def _packer_started(self, ref: Any) -> None:  # noqa: ANN401
        name = self._packer_starts.pop(ref)
        try:
            self._packer_pids[name] = ray.get(ref)
        except DIED as error:
            if getattr(error, "actor_init_failed", False):
                raise InvariantError(f"packer {name} can't start: {error}") from error
            # It died later: the next call to it says so, and it is replaced then.
            _log.warning("packer died while starting", packer=name, error=brief(error))

    def stop(self) -> None:
        """Stop every actor of this lane."""
        for pool in self.pools:
            pool.stop()
        for actor in self._packers.values():
            ray.kill(actor, no_restart=True)
