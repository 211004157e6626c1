from __future__ import annotations

import pytest

from operators.errors import ConfigError
from pipeline.app.plan.nodes import machines_of, parse_nodes
from pipeline.config import parse_config
from pipeline.scale.packing import Node

GIB = 1 << 30


def test_groups_of_equal_nodes_are_read() -> None:
    machines = parse_nodes("8x16cpu,4gpu,128gb + 2x64cpu,256GiB")
    assert machines.nodes == (Node(16, 4),) * 8 + (Node(64),) * 2
    assert machines.memory_bytes == (8 * 128 + 2 * 256) * GIB
    assert (machines.cpus, machines.gpus) == (256, 32)


def test_one_node_needs_no_count_and_memory_may_be_unknown() -> None:
    assert parse_nodes("16cpu").nodes == (Node(16),)
    assert parse_nodes("16cpu,64gb + 16cpu").memory_bytes is None
    assert parse_nodes("2 × 0.5 CPUs, 1 GPU").nodes == (Node(0.5, 1),) * 2


@pytest.mark.parametrize("wrong", ["", "16", "4gpu", "8x16cpu;4gpu", "0x16cpu", "2x0cpu", "8x16cpu,4gpu +"])
def test_what_cannot_be_read_is_named(wrong: str) -> None:
    with pytest.raises(ConfigError, match="--nodes: '"):
        parse_nodes(wrong)


def test_a_local_ray_has_what_its_config_says() -> None:
    config = parse_config(
        {"lake": "x", "ray": {"cpus": 3, "gpus": 1}, "lanes": {"text": {"products": {"a": {"tokenizer": "t"}}}}}
    )
    machines = machines_of(config)
    assert machines.nodes == (Node(3, 1),)
    assert machines.memory_bytes
