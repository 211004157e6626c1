"""`mediatok tokenizers`: what comes along."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console

from operators.tokenize import registry
from pipeline.observe import units
from pipeline.observe.status_table import plain_table


def list_tokenizers(*, as_json: bool) -> int:
    """A row a tokenizer, with its default options. Returns the exit code."""
    known = registry.describe()
    if as_json:
        print(json.dumps([asdict(each) for each in known], indent=1, ensure_ascii=False))  # noqa: T201  for scripts
        return 0
    table = plain_table("tokenizer", "kind", "codebook", "rate or grid", "bits")
    for each in known:
        table.add_row(
            each.name,
            each.kind.value,
            units.count(each.vocabulary) if each.vocabulary else "–",
            each.rate or each.grid,
            _bits(each),
        )
    for column in table.columns:
        column.justify = "left"
    console = Console()
    console.print(table)
    console.print()
    for each in known:
        console.print(each.name, style="bold")
        console.print(f"  {each.summary}", highlight=False, markup=False)
        console.print(f"  weights: {each.weights}; licence: {each.licence}", highlight=False, markup=False)
    return 0


def _bits(each: registry.Description) -> str:
    """For each pixel or second."""
    if each.bits_per_second is not None:
        return f"{units.rate(each.bits_per_second / 1000)} kbit/s"
    return "–" if each.bits_per_pixel is None else f"{units.rate(each.bits_per_pixel)} bit/px"
