"""Whether a lake has, of each copy, just the rows that an undisturbed run made of its original."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from pipeline.lake.reader import read_table
from tests.integration.independent_count import Count, Place, compare, lake_products
from tests.recovery.corpus import original_of
from tests.recovery.process import LANES

Rows = dict[str, Counter[Any]]
"""By a file's name, (start, end, codes) of its rows."""


def rows_of(lake: Path) -> Rows:
    """All of them, in all products."""
    found: Rows = defaultdict(Counter)
    for lane in LANES:
        table = read_table(str(lake), lane, columns=["uri", "start", "end", "codes"])
        for row in table.to_pylist():
            found[Path(row["uri"]).name][lane, row["start"], row["end"], tuple(row["codes"])] += 1
    return dict(found)


def differing(lake: Path, media: Path, undisturbed: Rows) -> list[str]:
    """Names of the files whose rows are others than their original's."""
    rows = rows_of(lake)
    names = {path.name for path in media.iterdir()} | set(rows)
    return sorted(name for name in names if rows.get(name) != undisturbed[original_of(name)])


def counted(lake: Path, files: int) -> Count:
    """What was lost or repeated of the lake's one listing, of so many files, by code that shares nothing with ours."""
    products = lake_products(str(lake), {})
    (source,) = {source for kept in products.values() for source, _ in kept.starts}
    return compare({Place(source, 0, row): [True] for row in range(files)}, products)
