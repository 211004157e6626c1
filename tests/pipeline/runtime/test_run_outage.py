"""A web server that is down gives no letters; one that has nothing stops the lane, and a second run does it all."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from operators.errors import FailureShareError
from pipeline.flow.waits import WaitReason
from pipeline.observe.status import LaneStatus, RunStatus
from pipeline.runtime.coordinator import EndReason
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.running import Ended, lanes, reference, run, send

pytestmark = pytest.mark.ray

IMAGES = 200
OUTAGE_SECONDS, MOST_SECONDS = 4, 90
FAILURES = {"window_s": 4.0}


class Web:
    """A server of one picture under every path, answering with `status`.

    Attributes:
        asked: how many requests came while it was down.
    """

    def __init__(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), (10, 20, 30)).save(picture, "PNG")
        self.status = 200
        self.asked = 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked += web.status != 200
                content = picture.getvalue() if web.status == 200 else b""
                self.send_response(web.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.close()


def in_outage(ended: Ended) -> list[LaneStatus]:
    """What was shown while the lane waited for the server."""
    return [status.lanes[0] for status in ended.seen if status.lanes[0].waiting is WaitReason.OUTAGE]


def run_images(folder: Path, broker: EmbeddedBroker, web: Web) -> Ended:
    """A server that is down comes back once the lane has waited for it for a while."""

    def each_second(ended: Ended, status: RunStatus) -> None:
        if web.status == 503 and (len(in_outage(ended)) >= OUTAGE_SECONDS or len(ended.seen) > MOST_SECONDS):
            web.status = 200

    workers = {"max": 1, "cpus": 0.5}
    return run(
        folder,
        broker,
        lanes(image={"workers": workers, "failures": FAILURES, "limits": {"prepare_batch": 8}}),
        each_second=each_second,
        fetch={"allow_private_addresses": True, "retry_s": 0.0},
    )


def test_a_server_that_is_down_for_a_while_gives_no_letters(web: Web, tmp_path: Path, ray_session: None) -> None:
    web.status = 503
    with EmbeddedBroker() as broker:
        broker.create(["image"])
        send(broker, [reference("image", uri=f"{web.url}/{number}.png") for number in range(IMAGES)])
        ended = run_images(tmp_path, broker, web)
    assert ended.reason is EndReason.IDLE
    assert sorted(ended.rows("mean")["offset"].to_pylist()) == list(range(IMAGES))
    assert ended.letters("mean") == {}
    ended.verified()
    waiting = in_outage(ended)
    assert len(waiting) >= OUTAGE_SECONDS
    outages = [outage for lane in waiting for outage in lane.outages]
    assert {(outage.place, "503" in outage.error) for outage in outages} == {(web.url, True)}
    # The last that was seen may be of when the load was coming back.
    assert max(outage.waiting_items for outage in outages) > IMAGES - 8, "all but what is probed with"
    oldest = {(lane.oldest.uri, lane.oldest.stage) for lane in waiting if lane.oldest is not None}
    assert (f"{web.url}/0.png", "outage") in oldest
    # Far fewer than there are items: probes only, once it was known to be down.
    assert web.asked < IMAGES / 2


def test_a_server_that_has_nothing_stops_the_lane_and_the_next_run_does_it_all(
    web: Web, tmp_path: Path, ray_session: None
) -> None:
    web.status = 404
    with EmbeddedBroker() as broker:
        broker.create(["image"])
        send(broker, [reference("image", uri=f"{web.url}/{number}.png") for number in range(IMAGES)])
        ended = run_images(tmp_path, broker, web)
        error = ended.built.coordinator.errors()["image"]
        assert isinstance(error, FailureShareError)
        assert "fetch.not_found (e.g. " + web.url in str(error)
        assert "lanes.image.failures.most_share (0.5)" in str(error)
        assert ended.letters("mean") == {}
        web.status = 200
        ended = run_images(tmp_path, broker, web)
    assert ended.reason is EndReason.IDLE
    assert sorted(ended.rows("mean")["offset"].to_pylist()) == list(range(IMAGES))
    assert ended.letters("mean") == {}
