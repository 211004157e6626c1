"""The machines that a plan is for: this one, the cluster that the config joins, or those of `--nodes`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from operators.errors import ConfigError
from pipeline.app.check import nodes_of
from pipeline.config import Config
from pipeline.scale.allocate import Node

_GROUP = re.compile(
    r"^\s*(?:(?P<count>\d+)\s*[x×])?\s*(?P<cpus>\d+(?:\.\d+)?)\s*cpus?"
    r"(?:\s*,\s*(?P<gpus>\d+)\s*gpus?)?(?:\s*,\s*(?P<memory>\d+(?:\.\d+)?)\s*gi?b)?\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Machines:
    """What there is.

    Attributes:
        memory_bytes: of all nodes together; None: not known.
        name: for people.
    """

    nodes: tuple[Node, ...]
    memory_bytes: int | None
    name: str

    @property
    def cpus(self) -> float:
        """In all."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """In all."""
        return sum(node.gpus for node in self.nodes)


def machines_of(config: Config) -> Machines:
    """This machine, as a local Ray would use it, or the cluster that the config joins, which is asked.

    Raises:
        ConfigError: no cluster answers.
    """
    nodes = nodes_of(config)
    if config.ray.address != "local":
        return Machines(nodes, None, f"the cluster at {config.ray.address}, now {len(nodes)} nodes")
    return Machines(nodes, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine")


def parse_nodes(given: str) -> Machines:
    """Read "8x16cpu,4gpu,128gb + 2x64cpu": groups of equal nodes, joined by "+".

    Raises:
        ConfigError: it can't be read so.
    """
    nodes: list[Node] = []
    memory_bytes: int | None = 0
    for group in given.split("+"):
        found = _GROUP.match(group)
        if found is None or float(found["cpus"]) == 0 or found["count"] == "0":
            raise ConfigError(
                f'--nodes: {group.strip()!r} is not like "8x16cpu,4gpu,128gb" (nodes × CPUs, GPUs and memory of each)'
            )
        count = int(found["count"] or 1)
        nodes += [Node(float(found["cpus"]), int(found["gpus"] or 0))] * count
        each = None if found["memory"] is None else int(float(found["memory"]) * (1 << 30))
        memory_bytes = None if each is None or memory_bytes is None else memory_bytes + count * each
    return Machines(tuple(nodes), memory_bytes, given.strip())
