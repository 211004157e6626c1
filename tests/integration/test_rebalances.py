"""Replicas of one group that come, go, stall and die while messages flow: nothing is lost, nothing repeated."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.rebalancing import PROTOCOLS, Group, Replica

pytestmark = [pytest.mark.services, pytest.mark.soak]


@pytest.mark.parametrize("membership", ["dynamic", "static"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_replicas_join_stall_die_and_leave_and_each_item_is_there_once(
    kafka_bootstrap: str, tmp_path: Path, protocol: str, membership: str
) -> None:
    with Group(kafka_bootstrap, tmp_path, PROTOCOLS[protocol], static=membership == "static") as group:
        first, second = group.start("first"), group.start("second")
        group.share(first, second)
        group.work(first)

        third = group.start("third")
        group.share(first, second, third)
        group.work(third)

        first.send(signal.SIGSTOP)
        group.publish_slow()
        group.share(second, third)
        first.send(signal.SIGCONT)
        group.share(first, second, third)
        group.work(first)

        second.end(signal.SIGKILL)
        if membership == "static":
            second = take_over_twice(group, protocol, first, third)
            second.end(signal.SIGKILL)
        group.share(first, third)

        assert third.end(signal.SIGTERM) == 0, third.said[-3000:]
        group.share(first)
        group.finish()
        assert first.end(signal.SIGTERM) == 0, first.said[-3000:]
        found = group.count()
    assert found.messages == group.published
    assert (found.lost, found.repeated, found.unknown, found.uncovered, found.letters) == (0, 0, 0, 0, 0), found
    assert "maximum poll interval" not in third.said, "it polls however slow its work is"


def take_over_twice(group: Group, protocol: str, first: Replica, third: Replica) -> Replica:
    """The second replica was killed: it comes again under its name, and then a twin of the same name does."""
    again = group.start("second")
    group.share(first, again, third)
    group.work(again)
    twin = group.start("twin", instance="second")
    if protocol == "kip-848":
        group.wait("wait for the name", lambda: "waiting for the group to release our name" in twin.said)
        group.work(again)
        again.end(signal.SIGKILL)
    else:
        assert again.exit_code() == 1
        assert "fenced: another member of the group took over group.instance.id 'second'" in again.said
    group.share(first, twin, third)
    group.work(twin)
    return twin
