"""`mediatok dlq replay`: try open letters again; what works closes its letter in the commit that adds its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase

from rich.console import Console

from pipeline.app.build import Job
from pipeline.app.jobs import chosen_products, claims_for, config_for, open_lake_of
from pipeline.app.letters import parse_origin
from pipeline.app.run import execute
from pipeline.config import Config
from pipeline.graph import LanePlan
from pipeline.lake.gather import Offsets
from pipeline.lake.items import Place, items_with_rows
from pipeline.lake.lake import Lake
from pipeline.lake.replay import Replay
from pipeline.observe import units
from pipeline.observe.logs import setup_logs
from pipeline.observe.status_table import plain_table
from pipeline.records import Letter, SealKind
from pipeline.source.base import Positions, Source
from pipeline.source.job_source import JobSource


def run_replay(
    config: Config, path: str, product: str | None, code: str | None, origin: str | None, *, dry_run: bool
) -> int:
    """Replay the letters that are chosen. Returns the exit code: 0 even if some fail again.

    Args:
        config: as of the run that wrote them, its lanes and limits as they are to be now.
        path: what it is called.
        product: a name or key; None: all of the config's.
        code: may hold wildcards: "fetch.*".
        origin: source_id/partition/offset/item: that item's message.

    Raises:
        MediatokError: it can't start, or can't go on.
    """
    setup_logs()
    lake = open_lake_of(config)
    names = chosen_products(config, product, lake)
    choose = _choice(code, origin)
    found = _survey(lake, names, choose)
    console = Console()
    if not found.chosen:
        console.print("no open letters to replay")
        return 0
    _print_chosen(found.chosen, console)
    if dry_run:
        return 0
    part = config_for(config, {name for name, _ in found.chosen}, "replay")

    def make_source(lane: LanePlan, positions: Positions) -> Source:
        del positions
        keys = {item.product.name: item.product.key for item in lane.products}

        def rows_of(key: str, messages: Offsets) -> Mapping[Place, Collection[int]]:
            return items_with_rows(lake.store, lake.state.shards.get(key, {}).values(), messages)

        return JobSource(Replay(lake.store, lake.state, keys, choose, rows_of))

    job = Job(SealKind.REPLAY, frozenset(found.files))
    claims = claims_for(config, found.topics)
    left_with = execute(part, f"replay {path}", make_source, claims, until_idle=True, job=job)
    left = _survey(open_lake_of(config), names, choose).chosen
    closed = found.chosen.total() - left.total()
    console.print(f"\n{units.count(max(0, closed))} letters are closed, {units.count(left.total())} are open")
    return left_with


def _choice(code: str | None, origin: str | None) -> Callable[[Letter], bool]:
    wanted = None if origin is None else parse_origin(origin)

    def choose(letter: Letter) -> bool:
        fits = code is None or fnmatchcase(letter.failure.code, code)
        return fits and (wanted is None or letter.origin == wanted)

    return choose


def _survey(lake: Lake, names: Collection[str], choose: Callable[[Letter], bool]) -> Replay:
    """Read the letters once, to know what there is to do."""
    replay = Replay(lake.store, lake.state, {name: name for name in names}, choose)
    while replay.next() is not None:
        pass
    return replay


def _print_chosen(chosen: Counter[tuple[str, str]], console: Console) -> None:
    table = plain_table("product", "code", "letters")
    for (name, code), count in sorted(chosen.items()):
        table.add_row(name, code, units.count(count))
    console.print(table)
