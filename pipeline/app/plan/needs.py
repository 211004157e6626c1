"""What a plan needs of memory and disk, and what of that is too much. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from operators.records import Modality
from pipeline.app.plan.measured import Measured
from pipeline.app.plan.nodes import Machines
from pipeline.config import Config
from pipeline.graph import LanePlan


@dataclass(frozen=True, slots=True)
class Need:
    """One line of the sum.

    Attributes:
        what: takes it.
        size_bytes: how much.
        detail: how that comes about.
        short: why it is too much; "" where it is not.
    """

    what: str
    size_bytes: int
    detail: str
    short: str = ""


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """A pool's.

    Attributes:
        each_bytes: that one worker had of its own when it was measured.
        limit_bytes: that the config allows it; None: as much as it likes.
    """

    name: str
    workers: int
    each_bytes: int
    limit_bytes: int | None = None


def needs_of(
    config: Config,
    lanes: Sequence[LanePlan],
    pools: Sequence[PoolMemory],
    measured: Mapping[str, Measured],
    machines: Machines,
) -> tuple[Need, ...]:
    """Memory, then disk."""
    memory = [*_processes(lanes, pools, measured), *_store(config, lanes, machines)]
    total = sum(need.size_bytes for need in memory)
    have = machines.memory_bytes
    short = f"the machines have {_gib(have)}" if have is not None and total > have else ""
    return (*memory, Need("memory in all", total, "", short), *_disk(config, lanes))


def _processes(
    lanes: Sequence[LanePlan], pools: Sequence[PoolMemory], measured: Mapping[str, Measured]
) -> Iterator[Need]:
    for pool in pools:
        limit = pool.limit_bytes
        allowed = "" if limit is None else f", at most {_mib(limit)} by memory_bytes"
        short = "" if limit is None or pool.each_bytes <= limit else "one worker has more than memory_bytes allows"
        detail = f"{pool.workers} × {_mib(pool.each_bytes)}{allowed}"
        yield Need(pool.name, pool.workers * pool.each_bytes, detail, short)
    bare = max(each.memory.bare for each in measured.values())
    packers = sum(lane.config.packers for lane in lanes)
    yield Need("packers, coordinator", (packers + 1) * bare, f"{packers + 1} × about {_mib(bare)}")


def _store(config: Config, lanes: Sequence[LanePlan], machines: Machines) -> Iterator[Need]:
    """Ray's object store holds what the lanes' credits let be under way."""
    lent = sum(lane.config.limits.window_bytes + lane.config.limits.token_bytes for lane in lanes)
    limits = " + ".join(
        f"{_mib(lane.config.limits.window_bytes + lane.config.limits.token_bytes)} ({lane.name})" for lane in lanes
    )
    if config.ray.address == "local":
        have = config.ray.object_store_bytes
        short = f"ray.object_store_bytes is {_mib(have)}, less than the lanes' credits" if lent > have else ""
        yield Need("object store", have, f"credits: {limits} = {_mib(lent)}", short)
    else:
        yield Need("object store", lent, f"credits: {limits}, on {len(machines.nodes)} nodes together")


def _disk(config: Config, lanes: Sequence[LanePlan]) -> Iterator[Need]:
    spool = sum(lane.config.limits.spool_bytes for lane in lanes)
    yield Need("disk: packers' spools", spool, "limits.spool_bytes of each lane, at most")
    if any(lane.modality in {Modality.AUDIO, Modality.VIDEO} for lane in lanes):
        yield Need("disk: sound and films", config.fetch.disk_bytes, "fetch.disk_bytes on every node, at most")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.1f} GiB"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB"
