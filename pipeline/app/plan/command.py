"""`mediatok plan`: measure each lane, plan, print."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from operators.errors import ConfigError
from pipeline.app.build import lane_settings, plan, worker_spec
from pipeline.app.plan.measure import Work, measure_apart
from pipeline.app.plan.measured import Measured
from pipeline.app.plan.nodes import machines_of, parse_nodes
from pipeline.app.plan.plan import make_plan
from pipeline.app.plan.samples import Samples, samples_of
from pipeline.app.plan.show import as_json, show
from pipeline.config import Config
from pipeline.flow.prepare_stage import PREPARE
from pipeline.graph import LanePlan
from pipeline.runtime.placement import place, pools_of

LEAST_S = 1.0


def run_plan(config: Config, media: Path | None, seconds: float, nodes: str | None, *, json_wanted: bool) -> int:
    """Print a plan. Returns the exit code.

    Args:
        media: files to measure with; None: the demo's.
        seconds: to measure each lane.
        nodes: other machines than these; see `parse_nodes`.

    Raises:
        ConfigError: the pools can't start on these machines, or there is nothing to measure with.
    """
    if seconds < LEAST_S:
        raise ConfigError(f"--seconds: at least {LEAST_S:g}, not {seconds:g}")
    machines = parse_nodes(nodes) if nodes else machines_of(config)
    lanes = plan(config)
    place([pool for lane in lanes for pool in pools_of(lane)], machines.nodes)  # before minutes of measuring
    measured: dict[str, Measured] = {}
    borrowed: list[str] = []
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="mediatok-plan-") as made,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bars,
    ):
        for lane in bars.track(lanes, description="measuring"):
            samples = samples_of(lane.modality, media, Path(made))
            if not samples.own:
                borrowed.append(lane.name)
            measured[lane.name] = measure_apart(work_of(lane, config, samples, Path(made), seconds))
    made_plan = make_plan(config, lanes, measured, machines)
    made_plan = replace(made_plan, notes=(*made_plan.notes, *_notes(borrowed, other=nodes is not None)))
    if json_wanted:
        print(json.dumps(as_json(made_plan), indent=1, ensure_ascii=False))  # noqa: T201  for scripts
    else:
        show(made_plan, Console())
    return 0


def work_of(lane: LanePlan, config: Config, samples: Samples, folder: Path, seconds: float) -> Work:
    """A worker of each stage, with leave to read the samples and nothing else."""
    fetch = config.fetch.model_copy(update={"roots": list(samples.roots), "schemes": ["file"]})
    here = config.model_copy(update={"fetch": fetch, "state": folder / "state"})
    pools = pools_of(lane)
    prepare, tokenize = worker_spec(lane, pools[0], here, {}), worker_spec(lane, pools[-1], here, {})
    settings = lane_settings(lane)
    return Work(
        lane=lane.name,
        prepare=replace(prepare, stages=(PREPARE,), gpus=0.0),
        tokenize=replace(tokenize, stages=lane.keys),
        views=lane.views,
        references=samples.references,
        prepare_batch=settings.prepare_batch,
        tokenize_windows=settings.tokenize_windows,
        seconds=seconds,
    )


def _notes(borrowed: list[str], *, other: bool) -> list[str]:
    notes = ["files were read from this disk: what a store takes longer is hidden only as far as it is fetched ahead"]
    if borrowed:
        notes.append(f"measured with the demo's media ({', '.join(borrowed)}): --media takes your own")
    if other:
        notes.append("service times are those of this machine's CPUs")
    return notes
