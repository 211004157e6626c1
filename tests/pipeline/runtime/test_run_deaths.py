"""Actors that are killed in mid-run: what they had is done again, and nothing is lost or there twice.

Canaries too for what the runtime relies on in Ray: an upgrade that changes it shows here.
"""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import ray.exceptions

from pipeline.observe.status import RunStatus, read_status
from pipeline.runtime.actors import StageActor
from pipeline.runtime.coordinator import EndReason
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.running import Ended, reference, run, send

pytestmark = pytest.mark.ray

TEXTS = 1500
LANE = "novels"
"""Of its own name: metrics of the runs before are still there."""


@ray.remote(max_restarts=0, max_task_retries=0, num_cpus=0)
class Mortal:
    def pid(self) -> int:
        return os.getpid()

    def wait(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds


def test_a_killed_actor_fails_each_of_its_calls_and_says_that_it_died(ray_session: None) -> None:
    actor = Mortal.remote()
    pid = ray.get(actor.pid.remote())
    done, computing, waiting = actor.wait.remote(0), actor.wait.remote(60), actor.wait.remote(0)
    assert ray.get(done) == 0
    os.kill(pid, signal.SIGKILL)
    for ref in (computing, waiting):
        with pytest.raises(ray.exceptions.ActorDiedError) as raised:
            ray.get(ref, timeout=30)
        assert not getattr(raised.value, "preempted", False)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.pid.remote(), timeout=30)


class Reaper:
    """Kills a worker and a packer once some messages are committed and more are on their way."""

    def __init__(self) -> None:
        self.killed: dict[str, int] = {}
        self.replaced: set[str] = set()

    def __call__(self, ended: Ended, status: RunStatus) -> None:
        lane = status.lanes[0]
        for name in (f"{LANE}/workers/1", f"packer {LANE}-0"):
            pid = status.pids.get(name)
            if pid is not None and name not in self.killed and lane.in_flight_items and lane.done_items:
                os.kill(pid, signal.SIGKILL)
                self.killed[name] = pid
                return  # the other one a second later
        new = {name for name, pid in status.pids.items() if self.killed and pid not in self.killed.values()}
        self.replaced |= new


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Iterator[tuple[Ended, Reaper, Path]]:
    folder = tmp_path_factory.mktemp("deaths")
    reaper = Reaper()
    with EmbeddedBroker() as broker:
        broker.create(["text"])
        send(broker, [reference("text", uri=f"t{n}", text=f"text number {n}") for n in range(TEXTS)])
        tokenizer = {"tokenizer": "tests.pipeline.runtime.pretend:Letters", "options": {"sleep_s": 0.01}}
        novels = {
            "modality": "text",
            "topics": ["text"],
            "products": {"letters": tokenizer},
            "workers": {"max": 1, "cpus": 0.5},
            "limits": {"prepare_batch": 16, "tokenize_windows": 16, "seal_age_s": 0.5},
        }
        ended = run(folder, broker, {LANE: novels}, each_second=reaper)
    yield ended, reaper, folder


def test_a_worker_and_a_packer_are_killed_and_replaced(told: tuple[Ended, Reaper, Path]) -> None:
    ended, reaper, _ = told
    assert set(reaper.killed) == {f"{LANE}/workers/1", f"packer {LANE}-0"}
    assert reaper.replaced == {f"{LANE}/workers/2", f"packer {LANE}-0"}
    assert ended.built.coordinator.lanes[0].driver.pools[0].deaths == 1
    assert ended.reason is EndReason.IDLE


def test_no_row_is_lost_or_repeated(told: tuple[Ended, Reaper, Path]) -> None:
    ended, _, _ = told
    assert sorted(ended.rows("letters")["offset"].to_pylist()) == list(range(TEXTS))
    (tally,) = ended.verified().products
    assert (tally.messages, tally.items_with_rows, tally.letters) == (TEXTS, TEXTS, 0)


def test_the_status_file_tells_what_went_on(told: tuple[Ended, Reaper, Path]) -> None:
    ended, _, folder = told
    reading = read_status(folder / "state", time.time())
    (lane,) = reading.status.lanes
    assert reading.status.pid == os.getpid()
    assert lane.done_items + lane.in_flight_items + (lane.lag_items or 0) == TEXTS
    busiest = max(ended.seen, key=lambda status: status.lanes[0].rate_hz).lanes[0]
    assert busiest.rate_hz > 0
    assert busiest.credits.bytes_total > busiest.credits.bytes_used >= 0
    assert {status.lanes[0].pools[0].stage for status in ended.seen} == {"workers"}


def test_stage_actors_are_left_dead_by_ray() -> None:
    options = StageActor._default_options
    assert (options["max_restarts"], options["max_task_retries"]) == (0, 0)


def test_the_metrics_come_out_where_ray_exports_them(told: tuple[Ended, Reaper, Path]) -> None:
    ended, _, _ = told
    lane = ended.built.coordinator.lanes[0]
    wanted = {
        "ray_mediatok_messages_total": lane.admitted,
        "ray_mediatok_rows_total": TEXTS,
        "ray_mediatok_worker_deaths_total": 1,
    }
    until_s = time.monotonic() + 40
    found: dict[str, float] = {}
    while found != wanted and time.monotonic() < until_s:
        time.sleep(1)
        found = {name: value for name, value in _exported() if name in wanted}
    assert found == wanted


def _exported() -> Iterator[tuple[str, float]]:
    """What a Prometheus would read of this node."""
    port = ray.nodes()[0]["MetricsExportPort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("ray_mediatok") and f'lane="{LANE}"' in line:
                series, _, value = line.rpartition(" ")
                yield series.partition("{")[0], float(value)
