"""References a second through the coordinator's flow code alone: the production `Lane`, its calls answered at once.

Timed is what the lane itself does, in CPU time of its thread: taking messages in, deciding, taking answers. Not timed
is who answers: workers whose every reference has one window, packers with the production assembler.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Generator
from dataclasses import dataclass, replace

from operators.records import ContentFacts, MediaReference, Origin, WindowMeta
from pipeline.flow.calls import Action, Block, Forget, Pack, Prepare, PreparedItem, RowSpan, Seal, Tokenize
from pipeline.flow.core import LaneSettings
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Message, PackReport, Shard, SourcePartition
from pipeline.simulate.media import PRODUCTS, Row, Token
from pipeline.simulate.packer import ShardRow, SimulatedPacker

(PRODUCT, _) = PRODUCTS
LOG = SourcePartition("bench", 0)
POLL = 500
SHARD_BYTES = 20_000
WORKERS = 4
FACTS = ContentFacts("1", "00" * 32, 1)
ONE_WINDOW = (WindowMeta(0, 1),)


@dataclass(frozen=True, slots=True)
class FlowCost:
    """What a run cost.

    Attributes:
        lane_s: CPU time within the lane.
        batch: references a message to a worker.
    """

    references: int
    lane_s: float
    batch: int

    @property
    def hz(self) -> float:
        """References a second, of one core."""
        return self.references / self.lane_s

    @property
    def us_per_reference(self) -> float:
        """CPU µs."""
        return self.lane_s / self.references * 1e6


class _Stopwatch:
    """CPU time of this thread, summed over what is done within."""

    def __init__(self) -> None:
        self.total_s = 0.0

    @contextlib.contextmanager
    def __call__(self) -> Generator[None]:
        began_s = time.thread_time()
        yield
        self.total_s += time.thread_time() - began_s


def flow_alone(references: int = 100_000, batch: int = 32) -> FlowCost:
    """Run them.

    Raises:
        AssertionError: the lane does nothing although something is in flight.
    """
    settings = replace(LaneSettings(), prepare_batch=batch, tokenize_windows=256, lease_bytes=1 << 10)
    lane = Lane("image", {PRODUCT.key: PRODUCT.spec.view}, ("packer-0",), settings, random.Random(0), lambda: 0)
    packer = SimulatedPacker((PRODUCT.key,), _upload, SHARD_BYTES)
    for number in range(WORKERS):
        lane.worker_ready(f"worker-{number}", (PREPARE, PRODUCT.key))
    messages = iter([_message(number) for number in range(references)])
    in_lane, now_s, settled, more = _Stopwatch(), 0.0, 0, True
    while more or not lane.quiet:
        with in_lane():
            if not lane.holds_back():
                taken = 0
                for message, reference in messages:
                    lane.admit(message, (reference,), (PRODUCT.key,), now_s)
                    taken += 1
                    if taken == POLL:
                        break
                more = taken == POLL
            actions = lane.actions(now_s)
        for action in actions:
            _answer(lane, packer, action, in_lane, now_s)
        with in_lane():
            for sealed in lane.take_sealed():
                settled += lane.settled(sealed.product, sealed.covers)
        lane.draining = not more
        now_s += 0.01
        assert now_s < references, f"stuck: {lane.core.waits}"
    assert settled == references
    return FlowCost(references, in_lane.total_s, batch)


def _answer(lane: Lane, packer: SimulatedPacker, action: Action, in_lane: _Stopwatch, now_s: float) -> None:
    match action:
        case Prepare(call=call, leases=leases):
            items = [_prepared(number) for number in range(len(leases))]
            block = Block(tuple(Row(lease.reference.uri, PRODUCT.spec.view, 0) for lease in leases), 100 * len(leases))
            with in_lane():
                lane.prepared(call, items, {PRODUCT.spec.view: block}, now_s)
        case Tokenize(call=call, pieces=pieces):
            rows = [row for piece in pieces for row in piece.block.handle[piece.start : piece.stop]]
            tokens = Block(tuple(Token(PRODUCT.key, row) for row in rows), 10 * len(rows))
            with in_lane():
                lane.tokenized(call, tokens)
        case Pack(call=call, deliveries=deliveries, batches=batches):
            _packed(lane, call, packer.add(deliveries, batches), in_lane)
        case Seal(call=call):
            _packed(lane, call, packer.seal(), in_lane)
        case Forget(call=call, logs=logs):
            _packed(lane, call, packer.forget(logs), in_lane)


def _packed(lane: Lane, call: int, report: PackReport, in_lane: _Stopwatch) -> None:
    with in_lane():
        lane.packed(call, report)


def _prepared(number: int) -> PreparedItem:
    return PreparedItem(FACTS, {PRODUCT.spec.view: RowSpan(number, ONE_WINDOW)})


def _message(number: int) -> tuple[Message, MediaReference]:
    origin = Origin(*LOG, number, 0)
    return Message(origin, "images", None, b""), MediaReference(f"s3://media/{number:09d}.jpg", origin)


def _upload(product: str, rows: tuple[ShardRow, ...]) -> Shard:
    return Shard(product, f"part-{rows[0].origin.offset}", len(rows), len(rows), 0, "")
