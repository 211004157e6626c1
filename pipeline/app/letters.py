"""`mediatok dlq …`: the dead letters of a lake."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from operators.errors import ConfigError, advice_for
from operators.records import Origin
from pipeline.app.inspect import print_json
from pipeline.app.storage import open_lake
from pipeline.lake.lake import Lake
from pipeline.lake.reader import product_key
from pipeline.observe import units
from pipeline.observe.status_table import plain_table
from pipeline.records import Letter


def list_letters(
    lake_uri: str, config: Path | None, product: str | None, code: str | None, *, as_json: bool = False
) -> int:
    """The open letters, by origin.

    Args:
        product: a key or name; None: all.
        code: may hold wildcards: "decode.*".

    Raises:
        ConfigError: there is no such lake or product.
    """
    lake = open_lake(lake_uri, config)
    letters = [letter for letter in _open(lake, product) if code is None or fnmatchcase(letter.failure.code, code)]
    if as_json:
        for letter in letters:
            print_json(_letter_json(letter, short=True))
        return 0
    console = Console()
    if not letters:
        console.print("no dead letters")
        return 0
    codes = Counter[str]()
    # An item that can't be decoded is a letter in each of its lane's products: shown once.
    for (origin, failed), group in groupby(letters, key=lambda letter: (letter.origin, letter.failure.code)):
        same = list(group)
        codes[failed] += len(same)
        products = ", ".join(letter.product for letter in same)
        console.print(Text.assemble((origin_text(origin), "bold"), "  ", (failed, "red")), soft_wrap=True)
        console.print(Text(f"  {_safe(same[0].uri)}"), soft_wrap=True)
        console.print(Text(f"  {_safe(same[0].failure.message)}"), soft_wrap=True)
        console.print(Text(f"  {products}, {_at(same[0])}", style="dim"), soft_wrap=True)
    table = plain_table("code", "letters")
    for failed, count in codes.most_common():
        table.add_row(failed, units.count(count))
    console.print()
    console.print(table)
    return 0


def show_letter(lake_uri: str, origin: str, config: Path | None, *, as_json: bool = False) -> int:
    """One item's letters whole, in each product that has one.

    Raises:
        ConfigError: there is no such lake or letter.
    """
    wanted = parse_origin(origin)
    lake = open_lake(lake_uri, config)
    found = [letter for letter in _open(lake, None) if letter.origin == wanted]
    if not found:
        raise ConfigError(f"{lake_uri} has no open letter of {origin}; `mediatok dlq ls {lake_uri}` shows which it has")
    console = Console()
    for letter in found:
        if as_json:
            print_json(_letter_json(letter, short=False))
        else:
            _print_letter(console, letter)
    return 0


def origin_text(origin: Origin) -> str:
    """As `parse_origin` takes it."""
    return f"{origin.source_id}/{origin.partition}/{origin.offset}/{origin.item}"


def parse_origin(text: str) -> Origin:
    """Back from `origin_text`.

    Raises:
        ConfigError: it is none.
    """
    source_id, *numbers = text.rsplit("/", 3)
    if not source_id or len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"{text!r} is no origin: source_id/partition/offset/item, e.g. kafka:abc/0/17/0")
    partition, offset, item = map(int, numbers)
    return Origin(source_id, partition, offset, item)


def _open(lake: Lake, product: str | None) -> Iterator[Letter]:
    keys = lake.state.products if product is None else (product_key(lake.state, product),)
    names = dict.fromkeys(lake.state.products[key].product.name for key in keys)
    letters = [letter for name in names for letter in lake.open_letters(name)]
    yield from sorted(letters, key=lambda letter: (letter.origin, letter.failure.code, letter.product))


def _print_letter(console: Console, letter: Letter) -> None:
    failure = letter.failure
    fields = (
        ("product", letter.product),
        ("origin", origin_text(letter.origin)),
        ("uri", letter.uri),
        ("code", failure.code),
        ("stage", failure.stage),
        ("reason", failure.message),
        ("what to do", advice_for(failure.code) or "–"),
        ("attempts", f"{letter.attempts}, given up {_at(letter)}"),
        ("topic", letter.topic),
        ("key", _shown(letter.key)),
        *((f"header {name}", _shown(value)) for name, value in letter.headers),
        ("value", _shown(letter.value)),
    )
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        console.print(Text.assemble((f"{_safe(name):<{width}}  ", "bold"), _safe(value)), soft_wrap=True)
    if failure.stack:
        console.print(Text("stack", style="bold"))
        console.print(Text(_safe(failure.stack.rstrip()), style="dim"), soft_wrap=True)
    console.print()


def _safe(text: str) -> str:
    """For a terminal: what a stranger's message says must not move the cursor or change colours."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)


def _shown(data: bytes | None) -> str:
    """Text where it is UTF-8, else base64, said so."""
    decoded = _decoded(data)
    return f"base64:{decoded['base64']}" if isinstance(decoded, dict) else "–" if decoded is None else decoded


def _decoded(data: bytes | None) -> str | dict[str, str] | None:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _at(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _letter_json(letter: Letter, *, short: bool) -> dict[str, Any]:
    shown = {
        "origin": origin_text(letter.origin),
        "product": letter.product,
        "code": letter.failure.code,
        "stage": letter.failure.stage,
        "message": letter.failure.message,
        "uri": letter.uri,
        "topic": letter.topic,
        "attempts": letter.attempts,
        "at_ms": letter.at_ms,
    }
    if short:
        return shown
    return {
        **shown,
        "stack": letter.failure.stack,
        "key": _decoded(letter.key),
        "value": _decoded(letter.value),
        "headers": [[name, _decoded(value)] for name, value in letter.headers],
    }
