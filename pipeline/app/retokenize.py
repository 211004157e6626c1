"""`mediatok lake retokenize`: what a product's predecessors have rows of, made anew in the product, in its origins."""

from __future__ import annotations

from rich.console import Console

from operators.errors import ConfigError
from pipeline.app.build import Job, plan
from pipeline.app.jobs import chosen_products, claims_for, config_for, open_lake_of
from pipeline.app.run import execute
from pipeline.config import Config
from pipeline.graph import LanePlan
from pipeline.lake.delta import Opening
from pipeline.lake.lake import Lake
from pipeline.lake.remake import Remake, Untold
from pipeline.observe import units
from pipeline.observe.logs import setup_logs
from pipeline.records import SealKind
from pipeline.source.base import Positions, Source
from pipeline.source.job_source import JobSource

_WHY = {
    Untold.INLINE: "their content came with the message and is not in the lake",
    Untold.RANGE: "they mean a part of their object, and the lake does not have which",
}


def run_retokenize(config: Config, path: str, product: str, source: str | None) -> int:
    """Make a product's messages anew from its predecessors' rows. Returns the exit code.

    Args:
        config: that makes the product.
        path: what it is called.
        product: its name or key.
        source: key of the one predecessor whose messages are wanted; None: all.

    Raises:
        MediatokError: it can't start, or can't go on.
    """
    setup_logs()
    lake = open_lake_of(config)
    (name,) = chosen_products(config, product, lake)
    part = config_for(config, (name,), "retokenize")
    work = _work(lake, part, source)
    console = Console()
    messages = sum(work.left.values())
    if not messages:
        _print_end(work, lake, name, console)
        return 0
    console.print(f"{units.count(messages)} messages of {', '.join(work.predecessors)} are to be made anew in {name}")

    def make_source(lane: LanePlan, positions: Positions) -> Source:
        del lane, positions
        return JobSource(work)

    claims = claims_for(config, {log.source_id: (name,) for log in work.messages})
    code = execute(part, f"retokenize {path}", make_source, claims, until_idle=True, job=Job(SealKind.RETOKENIZE))
    _print_end(_work(open_lake_of(config), part, source), lake, name, console)
    for reason, count in work.untold.items():
        console.print(f"{units.count(count)} messages stay as their predecessor has them: {_WHY[reason]}")
    return code


def _work(lake: Lake, part: Config, source: str | None) -> Remake:
    (lane,) = plan(part)
    (item,) = lane.products
    lake.state.judged(Opening(item.product, lane.name))
    work = Remake(lake.store, lake.state, item.product.key, item.product.name, source, part.fetch.schemes)
    if source is not None and source not in work.predecessors:
        known = ", ".join(work.predecessors) or "none"
        raise ConfigError(f"--from {source}: is no predecessor of {item.product.key}; these are: {known}")
    return work


def _print_end(left: Remake, lake: Lake, name: str, console: Console) -> None:
    """What is left of it, as the lake has it now."""
    messages = sum(left.left.values())
    if messages:
        console.print(f"{units.count(messages)} messages are left; run it again to go on", markup=False)
    elif not left.predecessors:
        console.print(f"{name} has no predecessor in {lake.uri}: nothing to make anew", markup=False)
    else:
        former = ", ".join(left.predecessors)
        console.print(
            f"{name} has rows of its own for all that {former} had rows of: its readers need those no more. Open "
            f"letters stay: `mediatok dlq replay`. Nothing is dropped by itself",
            markup=False,
        )
