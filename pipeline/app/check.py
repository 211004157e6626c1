"""`mediatok check`: everything that can be known to be wrong before a run begins."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.text import Text

from operators.errors import ConfigError, MediatokError, StoreUnsafeError
from pipeline.app.build import plan
from pipeline.app.storage import options_for, storage_options
from pipeline.config import Config, LaneConfig
from pipeline.graph import LanePlan
from pipeline.lake.open_store import open_store, unsafe
from pipeline.lake.store import conditional_put_works
from pipeline.lake.store_single import SingleWriterStore
from pipeline.runtime import cluster
from pipeline.runtime.object_store import shm_free_bytes, store_notes
from pipeline.runtime.placement import place, place_later, pools_of
from pipeline.scale.allocate import Node
from pipeline.source.kafka_config import KafkaConfig, consumer_properties
from pipeline.source.kafka_topics import TopicIds


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        ok: whether a run may begin.
        detail: what was found, or what to do.
    """

    what: str
    ok: bool
    detail: str


def check_config(config: Config) -> int:
    """Look at everything, print what was found. Returns the exit code: 1 if a run would fail."""
    console = Console()
    failed = 0
    for finding in findings(config):
        mark = Text("ok  ", style="green") if finding.ok else Text("FAIL", style="bold red")
        console.print(mark, Text(f"{finding.what}: {finding.detail}"), soft_wrap=True)
        failed += not finding.ok
    return 1 if failed else 0


def findings(config: Config) -> Iterator[Finding]:
    """Each check, in the order in which a run would meet its trouble."""
    plans: tuple[LanePlan, ...] = ()

    def tokenizers() -> str:
        nonlocal plans
        plans = plan(config)
        return ", ".join(f"{item.product.key} (revision {item.product.revision})" for p in plans for item in p.products)

    yield _look("tokenizers", tokenizers)
    yield _look("store", lambda: _store(config))
    yield _look("fetch roots", lambda: _roots(config))
    if config.kafka is None:
        yield Finding("kafka", ok=True, detail="none configured: this config is for `mediatok backfill` only")
    else:
        for name, lane in config.lanes.items():
            yield _look(f"kafka, lane {name}", lambda name=name, lane=lane: _kafka(config, name, lane))
    yield _look("memory", lambda: "; ".join(store_notes(config, shm_free_bytes())) or "the lanes' fits Ray's store")
    if plans:
        yield _look("pools", lambda: _pools(config, plans))


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, ok=True, detail=look())
    except MediatokError as error:
        return Finding(what, ok=False, detail=f"{error.code}: {error}")


def _store(config: Config) -> str:
    store = open_store(config.lake, options_for(config.lake, storage_options(config)))
    honest = conditional_put_works(store, uuid.uuid4().hex)
    lock = config.commit.single_writer_lock
    if lock is not None:
        SingleWriterStore(store, lock).close()
        return f"{config.lake} can be written, by one process at a time: nobody holds {lock} now"
    if not honest:
        raise StoreUnsafeError(unsafe(config.lake))
    return f"{config.lake} can be written, and refuses to create what is there"


def _roots(config: Config) -> str:
    missing = [str(root) for root in config.fetch.roots if not root.is_dir()]
    if missing:
        raise ConfigError(f"no such folder: {', '.join(missing)}")
    return ", ".join(map(str, config.fetch.roots)) or "none: file:// references will be refused"


def _kafka(config: Config, name: str, lane: LaneConfig) -> str:
    assert config.kafka is not None
    if not lane.topics:
        raise ConfigError(f"lanes.{name}.topics: a lane that runs on Kafka needs one")
    kafka = KafkaConfig(tuple(lane.topics), {"group.id": "mediatok", **config.kafka}, source_epoch=config.source_epoch)
    topics = TopicIds(kafka, consumer_properties(kafka), lambda _: None)
    ids = topics.identify()
    if unreadable := topics.unreadable():
        raise ConfigError(f"these credentials may not read {', '.join(unreadable)}: READ is not granted")
    return ", ".join(f"{topic} = {source_id}" for topic, source_id in ids.items())


def _pools(config: Config, plans: tuple[LanePlan, ...]) -> str:
    arrange = place_later if config.ray.autoscale else place
    placement = arrange([pool for lane in plans for pool in pools_of(lane)], nodes_of(config))
    pools = [f"{p.name} {p.config.min}-{p.config.max} × {p.cpus:g} CPU, {p.gpus:g} GPU" for p in placement.pools]
    return "; ".join([*pools, *placement.notes])


def nodes_of(config: Config) -> tuple[Node, ...]:
    """A local Ray has what this machine has, and need not be started to know that; another one is asked."""
    if config.ray.address == "local":
        gpus = torch.cuda.device_count() if config.ray.gpus is None else config.ray.gpus
        return (Node(float(config.ray.cpus or os.cpu_count() or 1), gpus),)
    try:
        return cluster.start(config.ray)
    finally:
        cluster.stop()
