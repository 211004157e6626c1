"""A simulated coordinator's actors: workers with random service times that die, packers that die with their spools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from operators.errors import StoreUnavailableError
from pipeline.flow.calls import Action, CallFailure, Forget, Pack, Prepare, Seal, Tokenize
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import PackReport, Shard
from pipeline.simulate.desk import Desk
from pipeline.simulate.faults import Kind, Step
from pipeline.simulate.media import TOKEN_BYTES, Bench, raised
from pipeline.simulate.mistakes import Mistake, assembler_for, sealed_for
from pipeline.simulate.packer import ShardRow, SimulatedPacker
from pipeline.simulate.world import World

WORKERS = 2
TARGET_BYTES = 6 * TOKEN_BYTES
CALL_S = 0.3
UPLOAD_S = 1.5
RETRY_S = 0.5


class Crew:
    """See the module.

    Args:
        world: what goes wrong.
        lane: whose calls are carried out.
        desk: knows the version that goes into the names of shards.
        products: keys.
        packers: names.
        later: does something in a while, if the coordinator lives so long.
        reached: is told of each step; raises to kill.
    """

    def __init__(
        self,
        world: World,
        lane: Lane,
        desk: Desk,
        products: Sequence[str],
        packers: Sequence[str],
        later: Callable[[float, Callable[[], None]], None],
        reached: Callable[[Step], None],
    ) -> None:
        self._world = world
        self._lane = lane
        self._desk = desk
        self._products = tuple(products)
        self._later = later
        self._reached = reached
        self._bench = Bench(world.broker.media, world.down)
        self._sent: dict[int, Prepare | Tokenize] = {}
        self._packers = {name: self._new_packer() for name in packers}
        self._hired = self._newest = 0
        for _ in range(WORKERS):
            self._later(world.rng.uniform(0.0, 1.0), self._hire)

    def act(self) -> None:
        """Send what can be sent."""
        for action in self._lane.actions(self._world.now_s):
            self._reached(Step.SENT)
            if isinstance(action, Prepare | Tokenize):
                self._sent[action.call] = action
                self._later(self._takes_s(), lambda action=action: self._worked(action))
            else:
                packer = self._packers[action.packer]
                self._later(self._takes_s(), lambda action=action, packer=packer: self._pack(action, packer))

    def _takes_s(self) -> float:
        slow = self._world.faults.happens(Kind.SLOW)
        return self._world.rng.uniform(0.0, CALL_S) * (10 if slow else 1)

    # --- workers ---

    def _hire(self) -> None:
        self._hired += 1
        self._lane.worker_ready(f"worker-{self._hired}", (PREPARE, *self._products))
        self.act()

    def _worked(self, action: Prepare | Tokenize) -> None:
        if action.call not in self._sent:
            return
        if action.call < self._newest:
            self._world.faults.seen["call overtaken by a later one"] += 1
        self._newest = max(self._newest, action.call)
        faults = self._world.faults
        if faults.happens(Kind.WORKER_DIED):
            self._died(action)
        elif isinstance(action, Tokenize) and faults.happens(Kind.VALUE_LOST):
            self._failed(action, CallFailure.VALUE_LOST)
        elif isinstance(action, Prepare):
            answer = self._bench.prepare(action)
            if isinstance(answer, CallFailure):
                self._failed(action, answer)
            else:
                del self._sent[action.call]
                self._lane.prepared(action.call, *answer, self._world.now_s)
        else:
            answer = self._bench.tokenize(action)
            if isinstance(answer, CallFailure):
                self._failed(action, answer)
            else:
                del self._sent[action.call]
                self._lane.tokenized(action.call, answer)
        self._reached(Step.ANSWERED)
        self.act()

    def _failed(self, action: Prepare | Tokenize, how: CallFailure) -> None:
        if how is CallFailure.WORKER_DIED:
            self._died(action)
        else:
            del self._sent[action.call]
            self._lane.failed(action.call, how, raised())

    def _died(self, action: Prepare | Tokenize) -> None:
        """Every call of its worker fails, the others blameless; another worker is hired."""
        self._lane.core.workers.remove(action.worker)
        for call, other in list(self._sent.items()):
            if other.worker == action.worker:
                del self._sent[call]
                how = CallFailure.WORKER_DIED if call == action.call else CallFailure.WORKER_LEFT
                self._lane.failed(call, how, raised())
        self._later(self._world.rng.uniform(0.0, 1.0), self._hire)

    # --- packers ---

    def _new_packer(self) -> SimulatedPacker:
        assembler = assembler_for(self._world.mistake, self._products)
        return SimulatedPacker(self._products, self._upload, TARGET_BYTES, assembler)

    def _upload(self, product: str, rows: tuple[ShardRow, ...]) -> Shard:
        # A packer asks the store how far the log is, as the hint has it: perhaps not quite.
        base, store = self._world.store.hint, self._world.store
        if self._world.mistake is not Mistake.REPORTED_BEFORE_UPLOAD:
            return self._desk.upload(product, rows, base)
        shard = self._desk.named(product, rows, base)
        self._later(self._world.rng.uniform(0.0, UPLOAD_S), lambda: store.shards.update({shard.path: rows}))
        return shard

    def _pack(self, action: Action, packer: SimulatedPacker) -> None:
        assert isinstance(action, Pack | Seal | Forget)
        if self._packers[action.packer] is not packer:
            return
        if self._world.faults.happens(Kind.PACKER_DIED):
            self._later(self._takes_s(), lambda: self._packer_died(action.packer, packer))
            return
        try:
            match action:
                case Pack():
                    report = packer.add(action.deliveries, action.batches)
                case Seal():
                    report = packer.seal()
                case Forget():
                    report = packer.forget(action.logs)
        except StoreUnavailableError:
            # The same call again, after a pause: what it had taken is known to the packer.
            self._later(RETRY_S, lambda: self._pack(action, packer))
            return
        if report.sealed and self._world.faults.happens(Kind.PACKER_DIED_UNHEARD):
            self._later(self._takes_s(), lambda: self._packer_died(action.packer, packer))
            return
        self._later(self._takes_s(), lambda: self._packed(action, packer, report))

    def _packed(self, action: Pack | Seal | Forget, packer: SimulatedPacker, report: PackReport) -> None:
        if self._packers[action.packer] is not packer or action.call not in self._lane.core.calls:
            return
        sealed = sealed_for(self._world.mistake, report.sealed)
        self._lane.packed(action.call, PackReport(sealed, report.spooled_bytes, report.waiting_messages))
        if self._world.faults.happens(Kind.ANSWERED_TWICE):
            self._later(self._takes_s(), lambda: self._packed(action, packer, report))
        self._reached(Step.PACKED)
        self.act()

    def _packer_died(self, name: str, packer: SimulatedPacker) -> None:
        if self._packers[name] is packer:
            self._packers[name] = self._new_packer()
            self._lane.packer_lost(name)
            self.act()
