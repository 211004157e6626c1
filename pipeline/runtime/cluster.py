"""Starting, joining and leaving a Ray; what its nodes have."""

from __future__ import annotations

import os
from typing import Any

import ray
import structlog
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from operators.errors import ConfigError, RayLostError
from pipeline.config import RayConfig
from pipeline.scale.allocate import Node

FREE_PERIOD_MS = "100"
"""Ray frees what nobody refers to any more once in so long, by default in 1 s: until then the store holds more than the
credits know, as much as the lanes do in that time [35 % above the budget at 20 MB/s]. A cluster that is joined has its
own setting.
"""
STARTUP_TIMEOUT = "timed out during startup"
"""Of the bare Exception that Ray raises (ray/_private/node.py)."""

_log = structlog.get_logger(__name__)


def start(config: RayConfig) -> tuple[Node, ...]:
    """Start or join a Ray. Returns its nodes.

    Raises:
        ConfigError: there is none to join.
        RayLostError: one that was to start here did not, twice.
    """
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_free_objects_period_milliseconds", FREE_PERIOD_MS)
    if not ray.is_initialized():
        quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if config.address == "local":
            _start_local(config, quiet)
        else:
            _join(config, quiet)
    return nodes()


def nodes() -> tuple[Node, ...]:
    """What each node of the cluster has now.

    Raises:
        RayLostError: this process's own node is not among them any more: Ray says nothing by itself, and everything
            that is sent goes nowhere.
    """
    alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    if ray.get_runtime_context().get_node_id() not in alive:
        raise RayLostError(f"this process's node of the Ray cluster has died; {len(alive)} other nodes are alive")
    resources = alive.values()
    return tuple(Node(float(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in resources if each.get("CPU"))


def packer_options() -> dict[str, Any]:
    """Of an actor that takes no CPU and runs on this process's node.

    Packers always hold rows, and a node with an actor is never idle: elsewhere an autoscaler would keep it for ever, or
    take it with its spool. An actor that takes nothing at all goes to a random node, whatever strategy it has [2.60]:
    hence the little memory.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return {"num_cpus": 0, "num_gpus": 0, "memory": 1 << 20, "scheduling_strategy": here}


def stop() -> None:
    """Leave; a Ray that was started here ends."""
    ray.shutdown()


def _start_local(config: RayConfig, quiet: dict[str, Any]) -> None:
    options: dict[str, Any] = {
        "address": "local",
        "num_cpus": config.cpus,
        "num_gpus": config.gpus,
        "object_store_memory": config.object_store_bytes,
        "include_dashboard": False,
        "_metrics_export_port": config.metrics_port,
        **quiet,
    }
    try:
        ray.init(**options)
    except Exception as error:
        # Ray gives its own processes 30 s, fixed; a busy host may need a second try.
        if STARTUP_TIMEOUT not in str(error):
            raise
        _log.warning("ray took too long to start; once more", error=str(error))
        ray.shutdown()
        try:
            ray.init(**options)
        except Exception as again:
            if STARTUP_TIMEOUT not in str(again):
                raise
            raise RayLostError("Ray gives its own processes 30 s to start, and twice that was too short") from again


def _join(config: RayConfig, quiet: dict[str, Any]) -> None:
    try:
        ray.init(address=config.address, **quiet)
    except ConnectionError as error:
        raise ConfigError(
            f"ray.address: no cluster answers at {config.address!r}: {error}. One that asks for a token needs "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH in this environment too"
        ) from error
