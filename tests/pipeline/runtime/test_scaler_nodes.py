"""A cluster that grows when it is asked: the pools' wishes reach it, and are withdrawn."""

from __future__ import annotations

import random
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config import PoolConfig
from pipeline.flow.core import LaneSettings
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.runtime.placement import PoolPlan, place_later
from pipeline.runtime.pool import Pool, Worker, WorkerState
from pipeline.runtime.scaler import Scaler
from pipeline.scale.allocate import Node
from pipeline.scale.demand import HOLD_S, Bundles
from pipeline.scale.packing import Share

CPU = Share(1.0, 0.0)
KEY = "letters-00000000"
NAME = "text/workers"


class Requests:
    """What the cluster is asked for; `closed` when nothing is wanted any more."""

    def __init__(self) -> None:
        self.asked: Bundles = {}
        self.closed = False

    def ask(self, bundles: Bundles, now_s: float) -> None:
        self.asked = bundles

    def close(self) -> None:
        self.closed = True


class Growing:
    """One lane of one pool, on nodes that come and go."""

    def __init__(self, least: int = 0, most: int = 3) -> None:
        config = PoolConfig(min=least, max=most, idle_s=2.0)
        self.plan = PoolPlan(NAME, "text", (PREPARE, KEY), 1.0, 0.0, config, 1.0)
        spec: Any = SimpleNamespace(stages=self.plan.stages, gpus=0.0, views=("v",))
        self.pool = Pool(NAME, spec, 1.0)
        self.nodes: list[Node] = []
        self.requests: Any = Requests()
        lane = Lane("text", {KEY: "v"}, ["p"], LaneSettings(), random.Random(0), lambda: 0)
        driver = SimpleNamespace(pools=[self.pool], start_worker=self._start, retire_worker=self._retire)
        self.run: Any = SimpleNamespace(name="text", lane=lane, lag=0, driver=driver)
        self.scaler = Scaler([self.run], {NAME: self.plan}, lambda: self.nodes, self.requests)
        self.now_s = 0.0

    def _start(self, pool: Pool) -> None:
        name = f"{NAME}/{len(pool.workers) + 1}"
        pool.workers[name] = Worker(name, None, None, WorkerState.READY, time.monotonic(), None, None)

    def _retire(self, pool: Pool, name: str) -> None:
        del pool.workers[name]

    def go_on(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1.0
            self.scaler.tick(self.now_s)


@pytest.fixture
def growing() -> Growing:
    return Growing()


def test_a_run_starts_without_a_node_and_asks_for_none_while_there_is_no_work(growing: Growing) -> None:
    growing.scaler.start()
    growing.go_on(30)
    assert growing.pool.workers == {}
    assert growing.requests.asked == {}
    assert growing.scaler.wanted_nodes == ""


def test_a_pool_with_a_minimum_asks_for_it_at_once() -> None:
    growing = Growing(least=2)
    growing.scaler.start()
    growing.go_on(3)
    assert growing.requests.asked == {CPU: 2}


def test_work_asks_for_a_node_and_gets_a_worker_when_it_is_there(growing: Growing) -> None:
    growing.scaler.start()
    growing.run.lag = 500
    growing.go_on(3)
    assert growing.requests.asked[CPU] >= 1
    assert growing.scaler.wanted_nodes.endswith("× 1 CPU")
    assert growing.pool.workers == {}
    growing.nodes.append(Node(4.0))
    growing.go_on(2)
    assert growing.pool.workers


def test_what_has_come_is_not_asked_for_any_more(growing: Growing) -> None:
    growing.scaler.start()
    growing.run.lag = 500
    growing.go_on(3)
    growing.nodes.append(Node(4.0))
    growing.go_on(int(HOLD_S) + 5)
    assert growing.requests.asked == {}


def test_without_work_the_pool_goes_to_zero_and_back(growing: Growing) -> None:
    growing.nodes.append(Node(4.0))
    growing.scaler.start()
    assert len(growing.pool.workers) == 1
    growing.go_on(30)
    assert growing.pool.workers == {}
    growing.nodes.clear()
    growing.run.lag = 1
    growing.go_on(3)
    assert growing.requests.asked == {CPU: 1}


def test_never_more_is_asked_for_than_the_pool_may_have(growing: Growing) -> None:
    growing.scaler.start()
    growing.run.lag = 10**6
    growing.go_on(120)
    assert growing.requests.asked[CPU] <= 3


def test_at_the_end_nothing_is_wanted(growing: Growing) -> None:
    growing.run.lag = 500
    growing.go_on(3)
    growing.scaler.close()
    assert growing.requests.closed
    assert growing.scaler.wanted_nodes == ""


def test_where_a_cluster_grows_no_pool_is_shrunk_or_refused() -> None:
    plan = Growing(least=3).plan
    placement = place_later([plan], [Node(1.0)])
    assert placement.pools == (plan,)
    assert "waits for nodes" in placement.notes[0]
    assert place_later([plan], [Node(4.0)]).notes == ()
