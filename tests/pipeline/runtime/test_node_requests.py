from __future__ import annotations

from typing import Any

import pytest

from pipeline.runtime import node_requests
from pipeline.runtime.node_requests import FORGET_S, REFRESH_S, NodeRequests, decode, encode
from pipeline.scale.packing import Share

CPU, GPU = Share(1.0, 0.0), Share(2.0, 0.5)


class Head:
    """The cluster's key-value store, and what its autoscaler was last told."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.requested: list[list[dict[str, float]]] = []

    def _internal_kv_put(self, key: str, value: bytes, namespace: bytes) -> None:
        self.values[key] = value

    def _internal_kv_get(self, key: bytes, namespace: bytes) -> bytes | None:
        return self.values.get(key.decode())

    def _internal_kv_del(self, key: str | bytes, namespace: bytes) -> None:
        self.values.pop(key.decode() if isinstance(key, bytes) else key, None)

    def _internal_kv_list(self, prefix: str, namespace: bytes) -> list[bytes]:
        return [key.encode() for key in self.values if key.startswith(prefix)]

    def request_resources(self, bundles: list[dict[str, float]]) -> None:
        self.requested.append(bundles)


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Head:
    head = Head()
    monkeypatch.setattr(node_requests, "_kv", head)
    monkeypatch.setattr(node_requests, "request_resources", head.request_resources)
    return head


def at(monkeypatch: pytest.MonkeyPatch, wall_s: float) -> None:
    fake: Any = type("Clock", (), {"time": staticmethod(lambda: wall_s)})
    monkeypatch.setattr(node_requests, "time", fake)


def test_a_wish_is_requested_once_and_again_only_when_it_has_changed(head: Head) -> None:
    requests = NodeRequests()
    for second in range(5):
        requests.ask({CPU: 2, GPU: 1}, float(second))
    assert head.requested == [[{"CPU": 1.0}, {"CPU": 1.0}, {"CPU": 2.0, "GPU": 0.5}]]
    requests.ask({}, 6.0)
    assert head.requested[1:] == [[]]
    assert head.values == {}


def test_who_wants_nothing_leaves_what_others_have_requested_alone(head: Head) -> None:
    requests = NodeRequests()
    for second in range(100):
        requests.ask({}, float(second))
    requests.close()
    assert head.requested == []


def test_two_processes_request_their_sum_and_the_one_that_leaves_takes_its_part_away(head: Head) -> None:
    one, other = NodeRequests(), NodeRequests()
    one.ask({CPU: 2}, 0.0)
    other.ask({CPU: 1}, 0.0)
    assert head.requested[-1] == [{"CPU": 1.0}] * 3
    one.close()
    assert head.requested[-1] == [{"CPU": 1.0}]


def test_what_another_one_overwrote_is_requested_again_in_time(head: Head) -> None:
    one, other = NodeRequests(), NodeRequests()
    one.ask({CPU: 2}, 0.0)
    other.ask({CPU: 1}, 0.0)
    head.requested.append([])  # somebody else's last word
    one.ask({CPU: 2}, REFRESH_S + 1.0)
    assert head.requested[-1] == [{"CPU": 1.0}] * 3


def test_a_process_that_is_gone_is_forgotten(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 1000.0)
    NodeRequests().ask({CPU: 5}, 0.0)  # killed
    at(monkeypatch, 1000.0 + FORGET_S + 1.0)
    NodeRequests().ask({}, 0.0)
    assert head.requested[-1] == []
    assert head.values == {}


def test_a_part_survives_the_store() -> None:
    assert decode(encode({CPU: 2, GPU: 1}, 12.5)) == ({CPU: 2, GPU: 1}, 12.5)
