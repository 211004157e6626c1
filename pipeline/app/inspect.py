"""`mediatok status` and `mediatok lake …`: looks at what there is, starts nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from operators.errors import ConfigError
from pipeline.app.storage import lake_options, open_lake
from pipeline.lake.card import card
from pipeline.lake.findings import ProductTally, Report
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.reader import inherited_messages, summaries
from pipeline.lake.state import LakeState, covered_messages, letter_messages
from pipeline.lake.travel import Moment, state_of
from pipeline.lake.verify import Step
from pipeline.lake.verify import verify as verify_lake
from pipeline.observe import units
from pipeline.observe.status import read_status, to_json
from pipeline.observe.status_table import plain_table, render_status

_WIDE = 112
_FINDINGS_SHOWN = 50


def show_status(state_dir: Path, *, as_json: bool) -> int:
    """What a run last said of itself. Exit code 1 where it has been silent for too long.

    Raises:
        ConfigError: no run has written its status there.
    """
    reading = read_status(state_dir, time.time())
    if as_json:
        print_json({**json.loads(to_json(reading.status)), "age_s": reading.age_s, "stale": reading.stale})
    else:
        Console().print(render_status(reading))
    return 1 if reading.stale else 0


# --- ls


def lake_list(
    lake_uri: str,
    config_path: Path | None,
    *,
    version: int | None = None,
    at: datetime | None = None,
    as_json: bool = False,
) -> int:
    """Products with their rows, tokens, shards and letters; now, or as of a version or time.

    Raises:
        ConfigError: there is no such lake or version, or vacuum has deleted what the version names.
    """
    lake = open_lake(lake_uri, config_path)
    state = state_of(lake.store, Moment(version, at), lake.state)
    products = [_product_json(state, **asdict(summary)) for summary in summaries(state)]
    if as_json:
        print_json({"lake": lake.uri, "version": state.version, "products": products})
        return 0
    console = Console()
    wide = console.width >= _WIDE
    columns = ["product", "rev", *(["files"] * wide), "rows", "tokens", "size", "letters", "empty", "void"]
    table = plain_table(*(["lane"] * wide), *columns, left=1 + wide)
    for each in products:
        table.add_row(
            *([each["lane"]] * wide),
            Text(each["key"] if wide else units.middle(each["key"], 24)),
            f"{each['revision']}" if each["open"] else f"{each['revision']} closed",
            *([units.compact(each["files"])] * wide),
            *(units.compact(each[count], 10_000_000 if wide else 1_000_000) for count in ("rows", "tokens")),
            units.size(each["size_bytes"]),
            Text(units.compact(each["open_letters"]), style="red" if each["open_letters"] else ""),
            units.compact(each["empties"]),
            units.compact(each["voids"]),
            style="" if each["open"] else "dim",
        )
    console.print(Text(f"{lake.uri}, version {units.count(state.version)}", style="dim"), soft_wrap=True)
    console.print(table)
    for each in products:
        if each["open"] and each["inherited_messages"]:
            inherited = units.count(each["inherited_messages"])
            what = "messages are its predecessors' alone: `mediatok lake retokenize` makes those with rows anew"
            console.print(Text(f"{each['key']}: {inherited} {what}"), soft_wrap=True)
    return 0


def _product_json(state: LakeState, *, key: str, **summary: Any) -> dict[str, Any]:  # noqa: ANN401
    product = state.products[key].product
    # A successor has taken its predecessor's letters over: they are counted where they can be closed.
    open_letters = letter_messages(state, product.name) if summary["open"] else 0
    named = {"key": key, "name": product.name, "fingerprint": product.fingerprint, "modality": product.modality.value}
    own, inherited = covered_messages(state, key), inherited_messages(state, key) if summary["open"] else 0
    messages = {"messages": own, "inherited_messages": inherited}
    return {**named, **summary, **messages, "open_letters": open_letters}


# --- verify and card


def verify(lake_uri: str, config: Path | None, *, as_json: bool = False) -> int:
    """Check hashes, counts, coverage and uniqueness. Exit code 1 if anything is wrong.

    Raises:
        ConfigError: there is no lake.
    """
    lake = open_lake(lake_uri, config)
    console = Console()
    if as_json:
        report = verify_lake(lake.store)
        print_json(asdict(report))
        return 0 if report.ok else 1
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None, count="")

        def told(step: Step, done: int, total: int) -> None:
            count = f"{units.count(done)} of {units.count(total)}" if total else units.count(done)
            progress.update(task, description=step.value, completed=done, total=total or None, count=count)

        report = verify_lake(lake.store, told)
    _print_tallies(console, report.products)
    _print_findings(console, report)
    return 0 if report.ok else 1


def _print_tallies(console: Console, tallies: Sequence[ProductTally]) -> None:
    table = plain_table("product", "items", "=", "with rows", "+", "empty", "+", "letters", "+", "void")
    for each in tallies:
        counts = [each.items_with_rows, each.empties, each.letters, each.voids]
        cells = [cell for count in counts for cell in ("+", units.compact(count, 1_000_000))][1:]
        items = units.compact(each.items, 1_000_000)
        table.add_row(Text(units.middle(each.product, 24)), items, "=", *cells)
    console.print(table)


def _print_findings(console: Console, report: Report) -> None:
    console.print()
    for finding in report.findings[:_FINDINGS_SHOWN]:
        console.print(Text.assemble((finding.kind.value, "red"), f"  {finding.where}: {finding.what}"), soft_wrap=True)
    if len(report.findings) > _FINDINGS_SHOWN:
        console.print(f"and {units.count(len(report.findings) - _FINDINGS_SHOWN)} more (--json shows all)")
    counts = f"version {units.count(report.version)}, {units.count(report.shards)} live shards"
    if report.ok:
        console.print(Text.assemble(("nothing is wrong", "green"), f": {counts}"))
    else:
        console.print(Text.assemble((f"{units.count(len(report.findings))} findings", "bold red"), f": {counts}"))


def write_card(lake_uri: str, config: Path | None) -> int:
    """Write the live lists and the card, and print the card.

    Raises:
        ConfigError: there is no lake, or it may not be written.
    """
    lake = Lake(open_store(lake_uri, lake_options(lake_uri, config)))
    if not lake.state.version:
        raise ConfigError(f"there is no lake at {lake_uri}: its log has no version yet")
    lake.publish_live()
    typer.echo(card(lake.state))
    return 0


def print_json(value: object) -> None:
    """One line on standard output."""
    typer.echo(json.dumps(value))
