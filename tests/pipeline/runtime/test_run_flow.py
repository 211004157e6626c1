"""Under a tokenizer that is too slow: memory stays in its budget, sources pause, pools grow, shrink and come back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from PIL import Image

from pipeline.observe.status import LaneStatus, RunStatus
from pipeline.runtime.coordinator import EndReason
from pipeline.scale.records import ScaleReason
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.running import Ended, lanes, reference, run, send

pytestmark = pytest.mark.ray

SIDE, SLOW_S = 64, 0.03
WINDOW_BYTES = 40 * SIDE * SIDE * 3
MOST_SECONDS = 150
IMAGES_AHEAD = 400


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Script:
    """Floods the images' topic until their pool has all CPUs and the texts' has none, then sends a text.

    Attributes:
        resident: of this process, each second.
        story: what was reached, in order.
    """

    def __init__(self, broker: EmbeddedBroker, uri: str) -> None:
        self._broker = broker
        self._uri = uri
        self.images = self.texts = 0
        self.resident: list[int] = []
        self.story: list[str] = []

    def start(self) -> None:
        self._send_text()
        self._send_images(IMAGES_AHEAD)

    def __call__(self, ended: Ended, status: RunStatus) -> None:
        image, text = status.lanes
        self.resident.append(resident_bytes())
        if "a text was done again" not in self.story:
            self._send_images(max(0, IMAGES_AHEAD - (image.remaining_items or 0)))
        if not self.story and workers(text) == 0 and image.pools[0].workers_ready == 4:
            self.story.append("images have all CPUs, texts none")
            self._send_text()
        if self.story and text.done_items == self.texts and len(self.story) == 1:
            self.story.append("a text was done again")
        finished = "a text was done again" in self.story and image.remaining_items == 0
        if finished or len(ended.seen) > MOST_SECONDS:
            ended.built.coordinator.ask_to_end()

    def _send_images(self, count: int) -> None:
        send(self._broker, [reference("image", uri=self._uri)] * count)
        self.images += count

    def _send_text(self) -> None:
        send(self._broker, [reference("text", uri=f"t{self.texts}", text="abc")])
        self.texts += 1


def workers(lane: LaneStatus) -> int:
    return sum(pool.workers_ready + pool.workers_starting + pool.workers_draining for pool in lane.pools)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Iterator[tuple[Ended, Script, list[Any]]]:
    folder = tmp_path_factory.mktemp("flow")
    Image.new("RGB", (SIDE, SIDE), (1, 2, 3)).save(folder / "a.png")
    slow = {"tokenizer": "tests.pipeline.runtime.pretend:MeanColour", "options": {"sleep_s": SLOW_S, "side": SIDE}}
    limits = {"window_bytes": WINDOW_BYTES, "token_bytes": 1 << 16, "prepare_batch": 8, "tokenize_windows": 8}
    with EmbeddedBroker() as broker, structlog.testing.capture_logs() as logs:
        broker.create(["image", "text"])
        script = Script(broker, (folder / "a.png").as_uri())
        script.start()
        ended = run(
            folder,
            broker,
            lanes(
                image={
                    "products": {"mean": slow},
                    "workers": {"max": 4, "cpus": 0.5, "idle_s": 60},
                    "limits": {**limits, "most_ready": 64, "seal_age_s": 1.0},
                },
                text={"workers": {"max": 1, "cpus": 0.5, "idle_s": 1}, "limits": {"seal_age_s": 0.5}},
            ),
            until_idle=False,
            each_second=script,
            fetch={"roots": [str(folder)]},
        )
    yield ended, script, [entry for entry in logs if isinstance(entry, dict)]


def decisions(logs: list[Any], pool: str) -> list[tuple[int, int, str]]:
    """(workers, target, reason), in order."""
    return [(e["workers"], e["target"], e["reason"]) for e in logs if e["event"] == "scale" and e["pool"] == pool]


def test_images_take_all_cpus_and_a_text_still_gets_its_turn(told: tuple[Ended, Script, list[Any]]) -> None:
    ended, script, logs = told
    assert script.story == ["images have all CPUs, texts none", "a text was done again"], decisions(
        logs, "image/workers"
    )
    assert ended.reason is EndReason.ASKED


def test_every_decision_that_moves_a_pool_is_logged_with_its_reason(told: tuple[Ended, Script, list[Any]]) -> None:
    _, _, logs = told
    images, texts = decisions(logs, "image/workers"), decisions(logs, "text/workers")
    # The lag counts, so that the first growth may already ask for more than there is.
    grows = {ScaleReason.UP_BACKLOG, ScaleReason.CLAMPED_MAX, ScaleReason.CLAMPED_CAPACITY}
    assert any(target > now and reason in grows for now, target, reason in images)
    assert any(target < now and reason == ScaleReason.CLAMPED_CAPACITY for now, target, reason in images)
    moves = [(reason, target) for now, target, reason in texts if now != target]
    assert moves[:2] == [(ScaleReason.DOWN_IDLE, 0), (ScaleReason.UP_FROM_ZERO, 1)]
    assert all(entry["why"] for entry in logs if entry["event"] == "scale")


def test_bytes_in_flight_never_pass_the_budget(told: tuple[Ended, Script, list[Any]]) -> None:
    ended, _, _ = told
    core = ended.built.coordinator.lanes[0].lane.core
    assert 0 < core.windows.peak_bytes <= WINDOW_BYTES
    assert 0 < core.tokens.peak_bytes <= core.tokens.limit_bytes
    assert core.windows.used_bytes == core.tokens.used_bytes == 0


def test_the_source_is_paused_and_goes_on(told: tuple[Ended, Script, list[Any]]) -> None:
    ended, _, logs = told
    image = ended.built.coordinator.lanes[0]
    assert image.paused_times >= 1
    assert [e["lane"] for e in logs if e["event"] == "source resumed"].count("image") >= 1


def test_the_coordinator_does_not_grow(told: tuple[Ended, Script, list[Any]]) -> None:
    _, script, _ = told
    settled = script.resident[5:]
    assert max(settled) - settled[0] < 64 << 20


def test_every_message_has_its_row(told: tuple[Ended, Script, list[Any]]) -> None:
    ended, script, _ = told
    ended.verified()
    assert sorted(ended.rows("mean")["offset"].to_pylist()) == list(range(script.images))
    assert sorted(ended.rows("letters")["offset"].to_pylist()) == list(range(script.texts))
