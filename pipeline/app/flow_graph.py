"""A config as a graph: what flows from where to where, and which operators share a process. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from operators.records import Modality
from operators.tokenize.base import Precision
from pipeline.flow.prepare_stage import PREPARE
from pipeline.graph import LanePlan, ProductPlan
from pipeline.lake.paths import DATA
from pipeline.runtime.placement import PoolPlan, pools_of


class Kind(StrEnum):
    """What a node of the graph is; its shape when drawn."""

    TOPIC = "topic"
    PREPARE = "prepare"
    TOKENIZER = "tokenizer"
    PACKERS = "packers"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class Node:
    """One box.

    Attributes:
        id: unique in the drawing; letters, digits and underscores.
        label: its lines.
    """

    id: str
    kind: Kind
    label: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """What flows from one node to another; `label` is the view's key where that is windows, else ""."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """A pool of equal actors: what is inside one shares a process.

    Attributes:
        name: of the pool, e.g. "image/workers".
        label: how many there are, what each takes, and whether it is fused.
        nodes: inside each.
    """

    id: str
    name: str
    label: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class LaneGraph:
    """One lane. Its packers are processes of their own.

    Attributes:
        sources, datasets: outside any of our processes.
    """

    name: str
    modality: Modality
    sources: tuple[Node, ...]
    processes: tuple[Process, ...]
    datasets: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph_of(lanes: Sequence[LanePlan], lake: str) -> tuple[LaneGraph, ...]:
    """The graph of each lane.

    Args:
        lake: where the datasets lie.
    """
    return tuple(_lane(lane, f"lane{number}", lake.rstrip("/")) for number, lane in enumerate(lanes))


def _lane(lane: LanePlan, prefix: str, lake: str) -> LaneGraph:
    config = lane.config
    sources = tuple(
        Node(f"{prefix}_topic{number}", Kind.TOPIC, (f"topic {topic}", f"from {config.start}"))
        for number, topic in enumerate(config.topics)
    ) or (Node(f"{prefix}_listing", Kind.TOPIC, ("no topic", "a frozen listing: mediatok backfill")),)
    prepare = Node(f"{prefix}_prepare", Kind.PREPARE, (PREPARE, "fetch, decode, cut"))
    tokenizers = {
        item.product.key: Node(f"{prefix}_tokenize{number}", Kind.TOKENIZER, _tokenizer(item))
        for number, item in enumerate(lane.products)
    }
    datasets = {
        item.product.key: Node(f"{prefix}_product{number}", Kind.DATASET, _dataset(item, lake))
        for number, item in enumerate(lane.products)
    }
    stages = {PREPARE: prepare, **tokenizers}
    pools = tuple(
        Process(f"{prefix}_pool{number}", pool.name, _size(pool), tuple(stages[stage] for stage in pool.stages))
        for number, pool in enumerate(pools_of(lane))
    )
    packers = Node(f"{prefix}_packers", Kind.PACKERS, ("packers", "assemble whole messages, write shards"))
    count = "1 process" if config.packers == 1 else f"{config.packers} processes"
    packing = Process(f"{prefix}_packing", f"{lane.name}/packers", f"{count} × 0 CPU", (packers,))
    edges = (
        *(Edge(source.id, prepare.id) for source in sources),
        *(Edge(prepare.id, tokenizers[key].id, view) for key, view in lane.views.items()),
        *(Edge(node.id, packers.id) for node in tokenizers.values()),
        *(Edge(packers.id, node.id) for node in datasets.values()),
    )
    return LaneGraph(lane.name, lane.modality, sources, (*pools, packing), tuple(datasets.values()), edges)


def _tokenizer(item: ProductPlan) -> tuple[str, ...]:
    spec = item.product.spec
    shape = f" {'×'.join(map(str, spec.shape))}" if spec.shape else ""
    return (item.tokenizer, f"{spec.kind.value}{shape} of {spec.dtype}")


def _dataset(item: ProductPlan, lake: str) -> tuple[str, ...]:
    return (item.product.name, f"{lake}/{DATA}product={item.product.key}", f"revision {item.product.revision}")


def _size(pool: PoolPlan) -> str:
    """E.g. "fused: 0–4 processes × 1 CPU"."""
    config = pool.config
    count = str(config.max) if config.min == config.max else f"{config.min}–{config.max}"
    gpus = f" + {pool.gpus:g} GPU" if pool.gpus else ""
    gpus += "" if config.precision is Precision.FLOAT32 else f", {config.precision}"
    fused = "fused: " if len(pool.stages) > 1 and PREPARE in pool.stages else ""
    processes = "process" if config.max == 1 else "processes"
    return f"{fused}{count} {processes} × {pool.cpus:g} CPU{gpus}"
