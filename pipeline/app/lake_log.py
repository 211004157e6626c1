"""`mediatok lake log`: versions of the log, what each one added, and who committed it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from pipeline.app.inspect import print_json
from pipeline.app.storage import open_lake
from pipeline.flow.ranges import merged, size
from pipeline.lake.delta import Delta
from pipeline.lake.history import read_log
from pipeline.lake.lake import Lake
from pipeline.lake.reader import product_key
from pipeline.lake.state import LakeState
from pipeline.observe import units
from pipeline.observe.status_table import plain_table
from pipeline.records import Range, SourcePartition

_WIDE = 112
_CHUNK = 100
"""Versions read at once on the way back."""


def lake_history(
    lake_uri: str,
    config: Path | None,
    last: int,
    *,
    first: int | None = None,
    product: str | None = None,
    as_json: bool = False,
) -> int:
    """Some versions, the newest last. Returns the exit code.

    Args:
        lake_uri: of the lake.
        config: with the store's options.
        last: how many versions at the most.
        first: begin with this version; else the newest ones are shown.
        product: only versions that do something with this product (key, or name of the one that is open), and of
            them only that.
        as_json: an object a line.

    Raises:
        ConfigError: there is no such lake or product.
    """
    lake = open_lake(lake_uri, config)
    key = None if product is None else product_key(lake.state, product)
    chosen = _from(lake, first, key) if first is not None else _backwards(lake, key)
    deltas = [delta for delta, _ in zip(chosen, range(last), strict=False)]
    deltas.sort(key=lambda delta: delta.version)
    if as_json:
        for delta in deltas:
            print_json(_delta_json(delta))
    else:
        _print(deltas)
    return 0


def of_product(delta: Delta, key: str, state: LakeState) -> Delta | None:
    """What a version does with one product (key); None where that is nothing."""
    kept = replace(
        delta,
        openings=tuple(each for each in delta.openings if key in {each.product.key, each.closes}),
        starts=tuple(each for each in delta.starts if each.product == key),
        shards=tuple(each for each in delta.shards if each.product == key),
        covers=tuple(each for each in delta.covers if each.product == key),
        outcomes=tuple(each for each in delta.outcomes if each.product == key),
        voids=tuple(each for each in delta.voids if each.product == key),
        closings=tuple(each for each in delta.closings if each.product == key),
        skips=tuple(each for each in delta.skips if each.product == key),
        remade=tuple(each for each in delta.remade if each.product == key),
        rewrites=tuple(each for each in delta.rewrites if each.product == key),
    )
    parts = (kept.openings, kept.starts, kept.shards, kept.covers, kept.outcomes, kept.voids, kept.closings)
    more = (kept.skips, kept.remade, kept.rewrites)
    # Predicates and floors are every product's that was there.
    others = (delta.predicates, delta.min_base) if state.products[key].opened_at <= delta.version else ()
    return kept if any((*parts, *more, *others)) else None


def _from(lake: Lake, first: int, key: str | None) -> Iterator[Delta]:
    for delta in lake.log(max(1, first)):
        kept = delta if key is None else of_product(delta, key, lake.state)
        if kept is not None:
            yield kept


def _backwards(lake: Lake, key: str | None) -> Iterator[Delta]:
    end = lake.state.version + 1
    while end > 1:
        begin = max(1, end - _CHUNK)
        chunk = [delta for delta, _ in zip(read_log(lake.store, begin), range(begin, end), strict=False)]
        for delta in reversed(chunk):
            kept = delta if key is None else of_product(delta, key, lake.state)
            if kept is not None:
                yield kept
        end = begin


def _print(deltas: list[Delta]) -> None:
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
            Text("\n".join(notes(delta))),
            *([Text(delta.writer)] * wide),
        )
    console.print(table)


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


def notes(delta: Delta) -> list[str]:
    """What a version did besides adding rows and letters, in words."""
    found = [f"opens {opening.product.key}" for opening in delta.openings]
    found += [f"closes {opening.closes}" for opening in delta.openings if opening.closes]
    if delta.starts:
        found.append(f"start of {_several(len({start.log for start in delta.starts}), 'log')}")
    found += [f"takes down {each.field.value} {each.value}" for each in delta.predicates]
    counts = (
        ("empty", sum(file.empties for file in delta.outcomes)),
        ("void", sum(void.items for void in delta.voids)),
        ("closed letters", sum(closing.span.count for closing in delta.closings)),
        ("remade", sum(each.span.count for each in delta.remade)),
    )
    found += [f"{units.count(count)} {what}" for what, count in counts if count]
    for reason in dict.fromkeys(skip.reason for skip in delta.skips):
        skipped = sum(skip.span.count for skip in delta.skips if skip.reason is reason)
        found.append(f"{units.count(skipped)} skipped ({reason.value})")
    if delta.rewrites:
        removed = sum(len(rewrite.removes) for rewrite in delta.rewrites)
        added = sum(len(rewrite.shards) + len(rewrite.outcomes) for rewrite in delta.rewrites)
        found.append(f"{_several(removed, 'file')} replaced by {units.count(added)}")
    for what in ("taken_down", "duplicates"):
        if items := sum(getattr(rewrite, what) for rewrite in delta.rewrites):
            found.append(f"{units.count(items)} {what.replace('_', ' ')}")
    if delta.min_base is not None:
        found.append(f"vacuum below {units.count(delta.min_base)}")
    return found


def _several(count: int, what: str) -> str:
    return f"{units.count(count)} {what}{'s' * (count != 1)}"


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
        "removed": [path for rewrite in delta.rewrites for path in rewrite.removes],
        "replaced_by": [file.path for rewrite in delta.rewrites for file in (*rewrite.shards, *rewrite.outcomes)],
        "predicates": [{"field": each.field.value, "value": each.value} for each in delta.predicates],
        "min_base": delta.min_base,
        "notes": notes(delta),
    }
