"""A cluster of two nodes on this machine: where decoders land that should be near a tokenizer. Prints what it saw."""

from __future__ import annotations

import json

import ray
from ray.cluster_utils import Cluster

from operators.records import Modality
from pipeline.runtime.pool import Pool
from pipeline.runtime.worker import FetchSettings, WorkerSpec


def pool_of(name: str, *stages: str) -> Pool:
    tokenizers = {"letters": ("tests.pipeline.runtime.pretend:Letters", {})}
    views = ("utf8:4096",)
    spec = WorkerSpec("text", Modality.TEXT, stages, views, tokenizers, FetchSettings(), {}, "", "refuse", 1, 0.0)
    return Pool(name, spec, 1.0)


def main() -> None:
    """The second node has a tokenizer, and room for two decoders more; the first one for what is left."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    cluster.add_node(num_cpus=3)
    cluster.wait_for_nodes()
    nodes = {node["NodeID"]: node["Resources"]["CPU"] for node in ray.nodes()}
    (second,) = (node for node, cpus in nodes.items() if cpus == 3)
    tokenize, workers = pool_of("text/tokenize", "letters"), pool_of("text/workers", "prepare")
    for pool, near in ((tokenize, second), *((workers, None) for _ in range(3))):
        worker = pool.start(near=workers.next_node([tokenize, workers]) if near is None else near)
        pool.warmed(worker)
    found = {pool.name: [node == second for node in pool.nodes] for pool in (tokenize, workers)}
    print(json.dumps(found))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
