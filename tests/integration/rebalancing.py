"""A group of replicas over one topic that is published to all the while, and what the broker and the lake say of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from tests.integration import replica as replicas
from tests.integration.independent_count import Count, count

PARTITIONS = 6
SESSION_MS = 3000
PATIENCE_S = 60.0
ITEM_S = 0.08
"""Work on each item: calls take several, so that whatever happens to the group happens in the middle of some."""
SLOW, SLOW_S = 3, 4.5
"""How many are slow at a time, in as many partitions, and the work on each: longer than `max.poll.interval.ms`."""
PROTOCOLS: Mapping[str, Mapping[str, Any]] = {
    "eager": {"group.protocol": "classic", "partition.assignment.strategy": "range"},
    "cooperative": {"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"},
    "kip-848": {"group.protocol": "consumer"},
}
_CLASSIC = {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 500}


_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.integration.replica"])


class Replica:
    """A process of `tests.integration.replica`, forked from one that has imported everything."""

    def __init__(self, config: Path, state: Path) -> None:
        self.state = state
        self.log = state / "log"
        self.log.touch()
        self.process = _PROCESSES.Process(target=replicas.serve, args=(str(config), str(self.log)))
        self.process.start()

    @property
    def report(self) -> Mapping[str, Any]:
        """What it last said; empty before it has said anything."""
        with suppress(FileNotFoundError):
            report = json.loads((self.state / "report.json").read_text())
            if report["pid"] == self.process.pid:
                return report
        return {}

    @property
    def partitions(self) -> frozenset[int]:
        """That it reads; none once it has ended."""
        return frozenset(self.report.get("partitions", ()) if self.process.is_alive() else ())

    @property
    def said(self) -> str:
        """All that it logged."""
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send it."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal that ends it; returns its exit code."""
        self.send(number)
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait for its end."""
        self.process.join(PATIENCE_S)
        assert self.process.exitcode is not None, "it does not end"
        return self.process.exitcode


def shorten_session(admin: AdminClient, group: str) -> None:
    """Of a KIP-848 group: its broker says how long it is."""
    wanted = {"consumer.session.timeout.ms": SESSION_MS, "consumer.heartbeat.interval.ms": 500}
    entries = [
        ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET) for name, value in wanted.items()
    ]
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(PATIENCE_S)


class Group:
    """A topic, a lake and the replicas between them; a context.

    Args:
        bootstrap: of a broker.
        folder: for the lake and the replicas' states.
        properties: of every consumer.
        static: replicas have a `group.instance.id`, their name.
    """

    def __init__(self, bootstrap: str, folder: Path, properties: Mapping[str, Any], *, static: bool) -> None:
        self.topic = f"rebalances-{uuid.uuid4().hex[:8]}"
        self.lake = folder / "lake"
        self.published = 0
        self.replicas: list[Replica] = []
        self._bootstrap = bootstrap
        self._folder = folder
        self._static = static
        self._properties = {
            "bootstrap.servers": bootstrap,
            "group.id": self.topic,
            "max.poll.interval.ms": 3500,
            **(_CLASSIC if properties["group.protocol"] == "classic" else {}),
            **properties,
        }
        self._end = threading.Event()
        self._slow = 0
        self._publisher = threading.Thread(target=self._publish)

    def __enter__(self) -> Group:
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(PATIENCE_S)
        if self._properties["group.protocol"] == "consumer":
            shorten_session(admin, self.topic)
        self._publisher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._publisher.join()
        for replica in self.replicas:
            if replica.process.is_alive():
                replica.end(signal.SIGKILL)

    def start(self, name: str, instance: str = "") -> Replica:
        """A replica more; `instance` is its static name, where it is not its own."""
        state = self._folder / name
        state.mkdir(exist_ok=True)
        static = {"group.instance.id": instance or name} if self._static else {}
        raw = {
            "lake": str(self.lake),
            "state": str(state),
            "kafka": {**self._properties, **static},
            "commit": {"interval_s": 0.3},
            "lanes": {
                "text": {
                    "topics": [self.topic],
                    "products": {"bytes": {"tokenizer": "text-bytes"}},
                    "limits": {"seal_age_s": 0.4, "prepare_batch": 8, "most_ready": 8, "most_uncommitted": 100},
                    "packers": 2,
                }
            },
        }
        config = state / "run.yaml"
        config.write_text(yaml.safe_dump(raw))
        self.replicas.append(Replica(config, state))
        return self.replicas[-1]

    def wait(self, what: str, holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Until it holds; the replicas' logs stay beside the lake."""
        end_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end_s, f"no {what}: {[replica.report for replica in self.replicas]}"
            time.sleep(0.05)

    def share(self, *replicas: Replica) -> None:
        """Wait until each of these has some partitions, and all of them together all."""

        def shared() -> bool:
            held = [replica.partitions for replica in replicas]
            return all(held) and sum(map(len, held)) == len(frozenset[int]().union(*held)) == PARTITIONS

        self.wait("sharing of all partitions", shared)

    def work(self, replica: Replica) -> None:
        """Wait until a replica has committed something more."""
        before = replica.report.get("commits", 0)
        self.wait("commit", lambda: replica.report.get("commits", 0) > before)

    def publish_slow(self) -> None:
        """Some of the messages to come take longer than a poll may be late."""
        self._slow += SLOW

    def finish(self) -> Count:
        """Stop publishing, wait until all is done, and count it."""
        self._end.set()
        self._publisher.join()
        found = [Count()]

        def covered() -> bool:
            found[0] = self.count()
            return not found[0].uncovered

        self.wait("end of the work", covered)
        return found[0]

    def count(self) -> Count:
        """What became of everything, by independent code."""
        return count(self._bootstrap, [self.topic], str(self.lake), {})

    def _publish(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 5})
        while not self._end.wait(0.04):
            number = self.published
            takes_s = ITEM_S
            if self._slow and number % PARTITIONS == self._slow % PARTITIONS:
                takes_s, self._slow = SLOW_S, self._slow - 1
            item = {"uri": f"note:{number}", "modality": "text", "text": f"text {number}"}
            slow = {**item, "attributes": {"takes_s": takes_s}}
            value = {"items": [slow, {**item, "uri": f"note:{number}b"}]} if number % 10 == 3 else slow
            producer.produce(self.topic, json.dumps(value).encode(), partition=number % PARTITIONS)
            producer.poll(0)
            self.published += 1
        assert producer.flush(PATIENCE_S) == 0
