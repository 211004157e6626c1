"""`mediatok status` and `mediatok lake …`: looks at what there is, starts nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from operators.errors import ConfigError
from pipeline.app.storage import lake_options, open_lake
from pipeline.flow.ranges import merged, size
from pipeline.lake.card import card
from pipeline.lake.delta import Delta
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.reader import summaries
from pipeline.lake.state import LakeState, letter_messages
from pipeline.lake.verify import ProductTally, Report
from pipeline.lake.verify import verify as verify_lake
from pipeline.observe import units
from pipeline.observe.status import read_status, to_json
from pipeline.observe.status_table import plain_table, render_status
from pipeline.records import Range, SourcePartition

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


def lake_list(lake_uri: str, config_path: Path | None, *, as_json: bool = False) -> int:
    """Products with their rows, tokens, shards and letters.

    Raises:
        ConfigError: there is no lake.
    """
    lake = open_lake(lake_uri, config_path)
    products = [_product_json(lake.state, **asdict(summary)) for summary in summaries(lake.state)]
    if as_json:
        print_json({"lake": lake.uri, "version": lake.state.version, "products": products})
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
    console.print(Text(f"{lake.uri}, version {units.count(lake.state.version)}", style="dim"), soft_wrap=True)
    console.print(table)
    return 0


def _product_json(state: LakeState, *, key: str, **summary: Any) -> dict[str, Any]:  # noqa: ANN401
    product = state.products[key].product
    # A successor has taken its predecessor's letters over: they are counted where they can be closed.
    open_letters = letter_messages(state, product.name) if summary["open"] else 0
    named = {"key": key, "name": product.name, "fingerprint": product.fingerprint, "modality": product.modality.value}
    return {**named, **summary, "open_letters": open_letters}


# --- log


def lake_history(lake_uri: str, config: Path | None, last: int, *, as_json: bool = False) -> int:
    """The newest versions, the newest last.

    Raises:
        ConfigError: there is no lake.
    """
    lake = open_lake(lake_uri, config)
    deltas = list(lake.log(max(1, lake.state.version - last + 1)))
    if as_json:
        for delta in deltas:
            print_json(_delta_json(delta))
        return 0
    console = Console()
    wide = console.width >= _WIDE
    columns = ["version", "committed (UTC)", *(["shards"] * wide), "rows", "tokens", "messages", "letters"]
    table = plain_table(*columns, "and", *(["by"] * wide))
    for column in table.columns[len(columns) :]:
        column.justify, column.no_wrap, column.overflow = "left", False, "fold"
    for delta in deltas:
        at = datetime.fromtimestamp(delta.committed_at_ms / 1000, UTC)
        letters = sum(file.letters for file in delta.outcomes)
        table.add_row(
            units.count(delta.version),
            at.strftime("%Y-%m-%d %H:%M:%S" if wide else "%m-%d %H:%M:%S"),
            *([_blank(len(delta.shards))] * wide),
            *(_blank(count) for count in (_rows(delta), _tokens(delta), _messages(delta))),
            Text(_blank(letters), style="red"),
            Text("\n".join(_notes(delta))),
            *([Text(delta.writer)] * wide),
        )
    console.print(table)
    return 0


def _blank(count: int) -> str:
    return units.compact(count, 1_000_000) if count else ""


def _rows(delta: Delta) -> int:
    return sum(shard.rows for shard in delta.shards)


def _tokens(delta: Delta) -> int:
    return sum(shard.tokens for shard in delta.shards)


def _messages(delta: Delta) -> int:
    """Distinct ones: a message is covered once for each of its lane's products."""
    ranges = dict[SourcePartition, list[Range]]()
    for each in delta.covers:
        ranges.setdefault(each.span.log, []).extend(each.span.ranges)
    return sum(size(merged(found)) for found in ranges.values())


def _notes(delta: Delta) -> list[str]:
    notes = [f"opens {opening.product.key}" for opening in delta.openings]
    notes += [f"closes {opening.closes}" for opening in delta.openings if opening.closes]
    if delta.starts:
        logs = len({start.log for start in delta.starts})
        notes.append(f"start of {units.count(logs)} log{'s' * (logs > 1)}")
    counts = (
        ("empty", sum(file.empties for file in delta.outcomes)),
        ("void", sum(void.items for void in delta.voids)),
        ("skipped", sum(skip.span.count for skip in delta.skips)),
        ("closed letters", sum(closing.span.count for closing in delta.closings)),
    )
    notes += [f"{units.count(count)} {what}" for what, count in counts if count]
    if delta.min_base is not None:
        notes.append(f"vacuum below {delta.min_base}")
    return notes


def _delta_json(delta: Delta) -> dict[str, Any]:
    return {
        "version": delta.version,
        "committed_at_ms": delta.committed_at_ms,
        "writer": delta.writer,
        "commit_id": delta.commit_id,
        "shards": [shard.path for shard in delta.shards],
        "rows": _rows(delta),
        "tokens": _tokens(delta),
        "messages": _messages(delta),
        "letters": sum(file.letters for file in delta.outcomes),
        "notes": _notes(delta),
    }


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
    with console.status("reading the log, every shard and every letter"):
        report = verify_lake(lake.store)
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
