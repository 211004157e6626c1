from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
import ray.exceptions
from structlog.testing import capture_logs

from operators.errors import RayLostError
from pipeline.runtime import lifeline
from pipeline.runtime.lifeline import MOST_SILENT, HeadWatch


def until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_head_that_stops_answering_is_told_of_once_and_so_is_its_return() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    watch = HeadWatch(f"127.0.0.1:{port}", look_s=0.02)
    with capture_logs() as lines:
        watch.start()
        server.accept()
        server.close()
        until(lambda: len(lines) == 1)
        with socket.create_server(("127.0.0.1", port)):
            until(lambda: len(lines) == 2)
        watch.close()
        watch.join()
    assert [line["log_level"] for line in lines][:2] == ["error", "info"]
    assert lines[0]["head"] == f"127.0.0.1:{port}"
    assert "start again" in lines[0]["advice"]


def test_a_head_that_misses_a_look_is_not_told_of() -> None:
    with capture_logs() as lines, socket.create_server(("127.0.0.1", 0)) as server:
        watch = HeadWatch(f"127.0.0.1:{server.getsockname()[1]}", look_s=0.02)
        watch.start()
        for _ in range(MOST_SILENT):
            server.accept()
        watch.close()
        watch.join()
    assert lines == []


def test_what_ray_raises_when_it_goes_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Context:
        gcs_address = "127.0.0.1:1"

    monkeypatch.setattr(lifeline.ray, "get_runtime_context", Context)
    with pytest.raises(RayLostError, match="does not answer any more"), lifeline.lifeline():
        raise ray.exceptions.RpcError("deadline exceeded")
