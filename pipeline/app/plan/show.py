"""A plan as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from operators.tokenize.base import Precision
from pipeline.app.plan.measured import Cost
from pipeline.app.plan.plan import Plan, PlannedLane, PlannedPool
from pipeline.flow.prepare_stage import PREPARE
from pipeline.observe import units
from pipeline.observe.status_table import plain_table


def show(plan: Plan, console: Console) -> None:
    """Print it."""
    for each in rendered(plan):
        console.print(each, crop=False)


def rendered(plan: Plan) -> Iterator[RenderableType]:
    """What it takes, what to expect, what to change, what to know."""
    machines = plan.machines
    gpus = f", {machines.gpus} GPU{'s' * (machines.gpus != 1)}" if machines.gpus else ""
    yield Text.assemble(("for ", "dim"), f"{machines.name}: {machines.cpus:g} CPUs{gpus}")
    yield ""
    yield _costs(plan)
    yield ""
    yield _expected(plan)
    yield ""
    for lane in plan.lanes:
        yield _words(lane)
    yield ""
    yield _needs(plan)
    for note in plan.notes:
        yield Text(f"! {note}", style="yellow")
    yield ""
    if plan.changes:
        yield Text("To make it so, in the config:", style="bold")
        yield Text("\n".join(plan.changes), no_wrap=True, overflow="ignore")
    else:
        yield Text("The config is as good as the plan.", style="bold")


def as_json(plan: Plan) -> dict[str, Any]:
    """For scripts: what stands in the tables."""
    return {
        "machines": {"name": plan.machines.name, "cpus": plan.machines.cpus, "gpus": plan.machines.gpus},
        "busy_cpus": plan.busy_cpus,
        "lanes": {lane.name: _lane_json(lane) for lane in plan.lanes},
        "needs": [asdict(need) for need in plan.needs],
        "changes": "\n".join(plan.changes),
        "notes": list(plan.notes),
    }


def _lane_json(lane: PlannedLane) -> dict[str, Any]:
    measured = lane.measured
    return {
        "references_hz": lane.expected.rate_hz,
        "configured_hz": lane.configured_hz,
        "alone_hz": lane.alone_hz,
        "media_s_hz": lane.expected.rate_hz * measured.media_s,
        "tokens_hz": lane.expected.rate_hz * sum(measured.tokens.values()),
        "apart": lane.arrangement.apart,
        "arrangement": lane.arrangement.reason.value,
        "bottleneck": lane.expected.bottleneck,
        "limit": lane.expected.limit.value,
        "pools": {
            each.pool.name: {
                "workers": each.workers,
                "alone": each.alone,
                "cpus": each.pool.cpus,
                "gpus": each.pool.gpus,
                "service_s": each.service_s,
                "worker_bytes": each.worker_bytes,
            }
            for each in lane.pools
        },
        "costs": {PREPARE: asdict(measured.prepare)} | {key: asdict(cost) for key, cost in measured.tokenize.items()},
        "window_bytes": measured.window_bytes,
    }


def _costs(plan: Plan) -> Table:
    table = plain_table("measured", "ms a reference", "sure to", "calls", "references", left=1)
    for lane in plan.lanes:
        measured = lane.measured
        for name, cost in ((PREPARE, measured.prepare), *measured.tokenize.items()):
            table.add_row(f"{lane.name}: {name}", _ms(cost.reference_s), _sure(cost), *_counts(cost))
        size = units.size(measured.window_bytes)
        table.add_row(f"{lane.name}: hand over {size}", _ms(measured.put_s + measured.get_s))
    return table


def _expected(plan: Plan) -> Table:
    table = plain_table("with all lanes busy", "workers", "each", "alone", "refs/s", "media s/s", "tokens/s")
    for lane in plan.lanes:
        hz, measured = lane.expected.rate_hz, lane.measured
        rates = (units.rate(hz), _media(hz, measured.media_s), units.short(hz * sum(measured.tokens.values())))
        for number, each in enumerate(lane.pools):
            shown = rates if number == 0 else ()
            table.add_row(each.pool.name, str(each.workers), _takes(each), str(each.alone), *shown)
    return table


def _words(lane: PlannedLane) -> Text:
    arrangement, expected = lane.arrangement, lane.expected
    way = "apart" if arrangement.apart else "fused"
    gain = f", {arrangement.gain:.2f} × the other way" if 0 < arrangement.gain < float("inf") else ""
    where = f"{expected.bottleneck}: " if expected.bottleneck else ""
    return Text.assemble(
        (lane.name, "bold"),
        f" {way} ({arrangement.reason.value}{gain}): {arrangement.reason.explanation}. ",
        ("Bottleneck ", "bold"),
        f"({expected.limit.value}) {where}{expected.limit.explanation}. ",
        f"As configured {units.rate(lane.configured_hz)} references/s, alone {units.rate(lane.alone_hz)}.",
    )


def _needs(plan: Plan) -> Table:
    table = plain_table("memory and disk", "size", "", left=1)
    table.columns[2].justify = "left"
    table.columns[2].no_wrap = False
    for need in plan.needs:
        detail = Text.assemble(need.detail, (f"  {need.short}" if need.short else "", "bold red"))
        table.add_row(need.what, units.size(need.size_bytes), detail)
    return table


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g}"


def _sure(cost: Cost) -> str:
    return "unknown" if cost.error is None else f"± {cost.error:.0%}"


def _counts(cost: Cost) -> tuple[str, str]:
    return str(cost.calls), f"{cost.references:.4g}"


def _takes(each: PlannedPool) -> str:
    gpus = f" + {each.pool.gpus:g} GPU" if each.pool.gpus else ""
    precision = each.pool.config.precision
    return f"{each.pool.cpus:g} CPU{gpus}{'' if precision is Precision.FLOAT32 else f', {precision}'}"


def _media(hz: float, media_s: float) -> str:
    return units.rate(hz * media_s) if media_s else "–"
