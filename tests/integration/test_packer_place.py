from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.soak]

# A process of its own: Ray is one a process. The coordinator's node has no CPUs, as on KubeRay.
SCRIPT = """
import ray
from ray.cluster_utils import Cluster
from pipeline.runtime.cluster import packer_options

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20})
cluster.add_node(num_cpus=2, object_store_memory=80 << 20)
ray.init(address=cluster.address, log_to_driver=False)

@ray.remote
class Packer:
    def where(self):
        return ray.get_runtime_context().get_node_id()

here = ray.get_runtime_context().get_node_id()
packers = [Packer.options(**packer_options()).remote() for _ in range(6)]
print("elsewhere:", sum(node != here for node in ray.get([packer.where.remote() for packer in packers])))
"""


def test_packers_run_on_the_coordinators_node_and_leave_the_others_free_to_go() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=240, check=False)
    assert "elsewhere: 0\n" in ended.stdout, ended.stderr[-3000:]
