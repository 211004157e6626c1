"""A cluster whose head has no CPUs, with an autoscaler that starts further nodes on this machine (Ray's own pretender).

Run as a module it is a mediatok on that cluster, in a process of its own: it idles, gets work, has it done, idles until
the machines are gone again, and prints what it saw.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from pipeline.observe.status import RunStatus
from pipeline.runtime import cluster
from pipeline.source.embedded import EmbeddedBroker
from tests.chaos.ray_head import RayHead
from tests.pipeline.runtime.running import Ended, lanes, reference, run, send

TEXTS = 60
IDLE_S = 2.0
PATIENCE_S = 150.0


AUTOSCALER: dict[str, Any] = {
    "cluster_name": "growing",
    "max_workers": 2,
    "idle_timeout_minutes": 0.1,
    "provider": {
        # By name, "fake_multinode", it wants a file that is not in Ray's wheel.
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "launch_multiple": True,
        "head_node_id": FAKE_HEAD_NODE_ID,
    },
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "head_node_type": "ray.head.default",
    "upscaling_speed": 1.0,
    "docker": {},
    "auth": {},
    "head_node": {},
    "worker_nodes": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}


class GrowingRay(RayHead):
    """Not Ray's `AutoscalingCluster`: that begins and ends with `ray stop --force`, for every Ray of this machine."""

    def _command(self) -> list[str]:
        path = self.home / "autoscaler.json"
        config = AUTOSCALER | {"provider": AUTOSCALER["provider"] | {"gcs_address": self.address}}
        path.write_text(json.dumps(config))
        command = [part for part in super()._command() if not part.startswith("--num-cpus")]
        return [*command, "--num-cpus=0", f"--autoscaling-config={path}"]

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        }

    def _ready(self) -> bool:
        # The sockets are there long before a busy machine's raylet has joined.
        return super()._ready() and "Ray runtime started" in self.log.read_text(errors="replace")


class Witness:
    """Sends work once the run has been seen idle, and ends it once the machines are gone again."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        self._began_s = time.monotonic()
        self._sent = False
        self.waits: set[str] = set()
        self.wanted: list[str] = []
        self.nodes: list[int] = []
        self.done = 0

    def __call__(self, ended: Ended, status: RunStatus) -> None:
        lane = status.lanes[0]
        self.nodes.append(sum(node["Alive"] for node in ray.nodes()) - 1)
        self.wanted.append(status.wanted_nodes)
        self.done = lane.done_items
        if lane.waiting is not None:
            self.waits.add(lane.waiting.value)
        if not self._sent and len(self.nodes) > 5:
            send(self._broker, [reference("text", uri=f"t{n}", text=f"text {n}") for n in range(TEXTS)])
            self._sent = True
        gone = self.done == TEXTS and self.nodes[-1] == 0
        if gone or time.monotonic() > self._began_s + PATIENCE_S:
            ended.built.coordinator.ask_to_end()


def main(address: str, folder: Path) -> None:
    with EmbeddedBroker() as broker:
        broker.create(["text"])
        witness = Witness(broker)
        config = lanes(text={"workers": {"max": 1, "idle_s": IDLE_S}, "limits": {"seal_age_s": 0.5}})
        grows = {"address": address, "autoscale": True}
        ended = run(folder, broker, config, until_idle=False, each_second=witness, ray=grows)
        reason = ended.reason
    cluster.stop()
    told = {"nodes": witness.nodes, "wanted": witness.wanted, "waits": sorted(witness.waits), "done": witness.done}
    print(json.dumps({"reason": reason, **told}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
