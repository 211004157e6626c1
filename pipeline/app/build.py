"""From a config to a coordinator that is ready to run: the one place where all parts meet."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from operators.decode import AvLimits, ImageLimits
from operators.decode.audio import SEGMENT_S as AUDIO_SEGMENT_S
from operators.decode.video import SEGMENT_BYTES, clip_bytes
from operators.records import Modality
from operators.tokenize import registry
from operators.window import AudioView, ClipView, ImageView, parse_view
from pipeline.app.storage import options_for, storage_options
from pipeline.config import Config, FetchConfig, LaneConfig, LimitsConfig, modality_of
from pipeline.fetch import FetchLimits, FetchPolicy
from pipeline.flow.call_times import Deadlines
from pipeline.flow.core import LaneSettings
from pipeline.flow.failures import FailureSettings
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.graph import LanePlan, plan_lanes
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_to_commit
from pipeline.observe.status import RunStatus
from pipeline.records import SealKind
from pipeline.runtime import cluster
from pipeline.runtime.coordinator import Coordinator
from pipeline.runtime.desk import LakeDesk
from pipeline.runtime.driver import LaneDriver
from pipeline.runtime.hanging import AFTER_S
from pipeline.runtime.intake import Claims, Intake
from pipeline.runtime.lane_run import LaneRun
from pipeline.runtime.node_requests import NodeRequests
from pipeline.runtime.object_store import lane_share, shm_free_bytes, store_notes
from pipeline.runtime.observer import Observer
from pipeline.runtime.packer import PackedProduct
from pipeline.runtime.packer_actor import PackerSpec
from pipeline.runtime.placement import Placement, PoolPlan, place, place_later, pools_of
from pipeline.runtime.pool import Pool
from pipeline.runtime.positions import LanePositions
from pipeline.runtime.scaler import Scaler
from pipeline.runtime.worker import FetchSettings, WorkerSpec
from pipeline.scale.allocate import Node
from pipeline.source.base import Positions, Source

TEXT_LEASE_BYTES = 64 << 10
PREPARE_BATCH = {Modality.IMAGE: 32, Modality.AUDIO: 8, Modality.VIDEO: 1, Modality.TEXT: 32}
"""Leases a prepare call, where the config does not say: a call should take about as long in each lane."""
TOKENIZE_WINDOWS = {Modality.IMAGE: 64, Modality.AUDIO: 4, Modality.VIDEO: 4, Modality.TEXT: 64}
"""Windows a tokenize call, likewise: a few tenths of a second on a CPU."""
ON_GPU = 4
"""So many times that on a GPU."""
FILM_DEADLINE_S = 600.0
"""The least deadline of a call that may fetch a whole recording or film."""
MakeSource = Callable[[LanePlan, Positions], Source]


@dataclass(frozen=True, slots=True)
class Job:
    """What a process does, where it does not read what is new.

    Attributes:
        kind: what commits do with what the lanes give.
        replayed: the outcomes files whose letters are replayed.
    """

    kind: SealKind = SealKind.LIVE
    replayed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A run that can start.

    Attributes:
        plans: the lanes as planned.
        lake: as the coordinator uses it: not before the run has ended.
        notes: what people should know.
    """

    coordinator: Coordinator
    observer: Observer
    desk: LakeDesk
    plans: tuple[LanePlan, ...]
    lake: Lake
    notes: tuple[str, ...]


def plan(config: Config) -> tuple[LanePlan, ...]:
    """The lanes of a config; builds every tokenizer once."""
    return plan_lanes(config, registry.build)


def plan_and_start(config: Config) -> tuple[tuple[LanePlan, ...], tuple[Node, ...]]:
    """Plan the lanes while Ray starts: both take seconds, one here and one in other processes.

    Raises:
        ConfigError: as `plan`.
    """
    store_notes(config, shm_free_bytes())  # says what is wrong in better words than Ray
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="plan") as side:
        planned = side.submit(plan, config)
        nodes = cluster.start(config.ray)
        return planned.result(), nodes


def claims_of(config: Config, topics: Callable[[LaneConfig], Sequence[str]]) -> Claims:
    """Which lane takes what from which topic."""
    lanes: dict[str, tuple[Modality, ...]] = {}
    for name, lane in config.lanes.items():
        for topic in topics(lane):
            lanes[topic] = (*lanes.get(topic, ()), modality_of(name, lane))
    return Claims(lanes)


def build(
    config: Config,
    config_path: str,
    make_source: MakeSource,
    claims: Claims,
    *,
    plans: Sequence[LanePlan],
    nodes: Sequence[Node],
    until_idle: bool,
    show: Callable[[RunStatus], None],
    job: Job | None = None,
) -> Built:
    """Join everything; starts actors and opens products.

    Raises:
        ConfigError: pools that can't start, or a product whose revision must be raised.
        StoreUnsafeError: the lake's store ignores conditional puts, and no lock is configured.
        ProductSupersededError: a higher revision of a product runs.
    """
    storage = storage_options(config)
    grows = config.ray.autoscale
    pools = [pool for lane in plans for pool in pools_of(lane)]
    placement = place_later(pools, nodes) if grows else place(pools, nodes)
    store = open_to_commit(config.lake, options_for(config.lake, storage), config.commit.single_writer_lock)
    lake = Lake(store, checkpoint_every=config.commit.checkpoint_every)
    job = job or Job()
    desk = LakeDesk(lake, plans, keep_added=until_idle, replayed=job.replayed)
    desk.open_products()
    rng = random.Random()  # noqa: S311  jitter
    runs = [_lane_run(lane, config, storage, placement, make_source, claims, desk, rng, job.kind) for lane in plans]
    requests = NodeRequests() if grows else None
    scaler = Scaler(runs, {pool.name: pool for pool in placement.pools}, cluster.nodes, requests)
    notes = (*placement.notes, *store_notes(config, shm_free_bytes()))
    observer = Observer(config_path, config.lake, config.state, notes, show)
    coordinator = Coordinator(runs, desk, scaler, config.commit.interval_s, observer)
    scaler.start()
    return Built(coordinator, observer, desk, tuple(plans), lake, notes)


def _lane_run(
    lane: LanePlan,
    config: Config,
    storage: Mapping[str, Mapping[str, Any]],
    placement: Placement,
    make_source: MakeSource,
    claims: Claims,
    desk: LakeDesk,
    rng: random.Random,
    kind: SealKind,
) -> LaneRun:
    packers = [f"{lane.name}-{number}" for number in range(lane.config.packers)]
    views = lane.views
    settings = lane_settings(lane, lane_share(config))
    machine = Lane(lane.name, views, packers, settings, rng, _wall_ms, kind)
    pools: dict[str, Pool] = {}
    for pool_plan in placement.pools:
        if pool_plan.lane == lane.name:
            pool = Pool(pool_plan.name, worker_spec(lane, pool_plan, config, storage), pool_plan.cpus)
            pools |= dict.fromkeys(pool_plan.stages, pool)
    make_packer = {name: packer_spec(lane, name, config, options_for(config.lake, storage)).maker() for name in packers}
    driver = LaneDriver(machine, pools, make_packer, claims, rng, call_deadlines(lane))
    source = make_source(lane, LanePositions(desk, lane))
    return LaneRun(lane, machine, driver, source, Intake(claims, lane.modality), desk)


def worker_spec(lane: LanePlan, pool: PoolPlan, config: Config, storage: Mapping[str, Mapping[str, Any]]) -> WorkerSpec:
    """What a pool's actors are told."""
    return WorkerSpec(
        lane=lane.name,
        modality=lane.modality,
        stages=pool.stages,
        views=tuple(dict.fromkeys(lane.views.values())),
        tokenizers={item.product.key: (item.tokenizer, item.options) for item in lane.products},
        fetch=fetch_settings(config.fetch),
        storage=storage,
        media_dir=str(config.state.absolute() / "media"),
        on_damage=lane.config.on_damage,
        threads=max(1, round(pool.config.cpus)),
        gpus=pool.gpus,
        memory_bytes=pool.config.memory_bytes or 0,
        precision=pool.config.precision,
        warm_windows=lane.config.limits.tokenize_windows or TOKENIZE_WINDOWS[lane.modality],
        tell_after_s=min(AFTER_S, lane.config.limits.call_deadline_s / 2),
    )


def fetch_settings(fetch: FetchConfig) -> FetchSettings:
    """The config's, as workers take them."""
    return FetchSettings(
        policy=FetchPolicy(
            schemes=frozenset(fetch.schemes),
            places=tuple(fetch.places),
            roots=tuple(str(root.absolute()) for root in fetch.roots),
            allow_private_addresses=fetch.allow_private_addresses,
        ),
        limits=FetchLimits(max_object_bytes=fetch.max_object_bytes, retry_budget_s=fetch.retry_s),
        images=ImageLimits(fetch.max_pixels),
        media=AvLimits(fetch.max_streams, fetch.max_duration_s, fetch.max_channels, fetch.max_pixels),
        max_file_bytes=fetch.max_file_bytes,
        disk_bytes=fetch.disk_bytes,
    )


def lane_settings(lane: LanePlan, share: float = 1.0) -> LaneSettings:
    """A lane's limits, and what one of its leases is expected to hold.

    Args:
        share: of its memory budgets, that there is room for beside the other lanes.
    """
    limits: LimitsConfig = lane.config.limits
    failures = lane.config.failures
    on_gpu = (lane.config.tokenize or lane.config.workers).gpus > 0
    return LaneSettings(
        prepare_batch=limits.prepare_batch or PREPARE_BATCH[lane.modality],
        tokenize_windows=limits.tokenize_windows or TOKENIZE_WINDOWS[lane.modality] * (ON_GPU if on_gpu else 1),
        lease_bytes=sum(_lease_bytes(view) for view in set(lane.views.values())),
        window_bytes=int(limits.window_bytes * share),
        token_bytes=int(limits.token_bytes * share),
        spool_bytes=limits.spool_bytes,
        most_ready=limits.most_ready,
        most_uncommitted=limits.most_uncommitted,
        seal_age_s=limits.seal_age_s,
        failures=FailureSettings(
            window_s=failures.window_s,
            most_share=failures.most_share,
            least_items=failures.least_items,
            outage_most_s=failures.outage_most_s,
        ),
        padded=frozenset(item.product.key for item in lane.products if item.pads),
    )


def call_deadlines(lane: LanePlan) -> Deadlines:
    """When a lane's calls are given up."""
    most_s = lane.config.limits.call_deadline_s
    # A packer has its rows on disk, and uploads to a store that may be slow: killing it costs all of them.
    patient: dict[str, float] = {"pack": most_s, "seal": most_s, "forget": most_s}
    if lane.modality in {Modality.AUDIO, Modality.VIDEO}:
        patient[PREPARE] = FILM_DEADLINE_S
    return Deadlines(most_s=most_s, least_of_s=patient)


def _lease_bytes(key: str) -> int:
    """About what one prepare call gives of one item in this view."""
    match parse_view(key):
        case ImageView(height=height, width=width):
            return height * width * 3
        case AudioView(form=form):
            return 4 * form.channels * form.rate_hz * AUDIO_SEGMENT_S
        case ClipView(form=form):
            return max(SEGMENT_BYTES, clip_bytes(form))
        case _:
            return TEXT_LEASE_BYTES


def packer_spec(lane: LanePlan, name: str, config: Config, options: Mapping[str, Any]) -> PackerSpec:
    """What one of a lane's packers is told."""
    return PackerSpec(
        tuple(PackedProduct(item.product, item.identity) for item in lane.products),
        config.lake,
        options,
        config.state.absolute() / "spool" / name,
        target_bytes=lane.config.limits.shard_bytes,
        limit_bytes=lane.config.limits.spool_bytes,
    )


def _wall_ms() -> int:
    return int(time.time() * 1000)
