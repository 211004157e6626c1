"""Apache Kafka in KRaft mode: one node that is broker and controller."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.services.install import ServiceUnavailableError, install_kafka, java
from infra.services.process import Server, free_port

_LOGGING = Path(__file__).parent / "kafka-log4j2.properties"
_JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    # One node: nothing can be replicated.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # After a kill the broker waits until its former self's session is over: 4 s instead of 9.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    # A killed member is forgotten after 6 s instead of 45 (classic groups: by `session.timeout.ms` of the client).
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
}


class KafkaServer(Server):
    """A broker that speaks everything that Kafka 4.1 does, KIP-848 groups included.

    Args:
        home: see `Server`.
        port: of the broker; a free one by default.
        properties: of the broker, over the defaults above.
        detached: see `Server`.
    """

    name = "Kafka"

    def __init__(
        self, home: Path, *, port: int = 0, properties: Mapping[str, str] | None = None, detached: bool = False
    ) -> None:
        super().__init__(home, detached=detached)
        self._port = port or free_port()
        self._controller_port = free_port()
        self._properties = dict(properties or {})

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers` of its clients."""
        return f"127.0.0.1:{self._port}"

    def _command(self) -> list[str]:
        jars = install_kafka()
        config = self.home / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in self._config().items()), encoding="utf-8")
        run = [java(), *_JVM, f"-Dlog4j2.configurationFile={_LOGGING}", "-cp", f"{jars}/*"]
        if not (self.data / "meta.properties").exists():
            self._format([*run, "kafka.tools.StorageTool", "format", "--standalone", "-c", str(config)])
        return [*run, "kafka.Kafka", str(config)]

    def _config(self) -> dict[str, str]:
        controller = f"127.0.0.1:{self._controller_port}"
        places = {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": str(self.data),
        }
        return _PROPERTIES | places | self._properties

    def _format(self, command: list[str]) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            [*command, f"--cluster-id={cluster_id}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServiceUnavailableError(f"Kafka's StorageTool failed ({done.returncode}):\n{done.stdout[-4000:]}")

    def _ready(self) -> bool:
        silent: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "log_level": 0, "error_cb": lambda _: None}
        try:
            return len(AdminClient(silent).list_topics(timeout=1.0).brokers) == 1
        except KafkaException:
            return False
