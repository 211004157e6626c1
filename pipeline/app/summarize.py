"""What a run that ended has brought: counted from the versions it committed and the shards that they name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from pyroaring import BitMap64

from pipeline.app.build import Built
from pipeline.app.content import content_of
from pipeline.graph import ProductPlan
from pipeline.lake.delta import Delta
from pipeline.lake.reader import read_shard
from pipeline.observe.summary import ProductSummary
from pipeline.records import Shard

ORIGIN = ("source_id", "partition", "item", "offset")


def summarize(built: Built, seconds: float) -> list[ProductSummary]:
    """A row a product. Its items are the source's, all else is read back from the lake.

    Args:
        built: after the run.
        seconds: that the run took, start included.
    """
    deltas = built.desk.added
    return [
        _product(built, item, run.items[item.product.key], deltas, seconds)
        for run in built.coordinator.lanes
        for item in run.plan.products
    ]


def _product(built: Built, item: ProductPlan, items: int, deltas: Sequence[Delta], seconds: float) -> ProductSummary:
    key = item.product.key
    shards = [shard for delta in deltas for shard in delta.shards if shard.product == key]
    outcomes = [file for delta in deltas for file in delta.outcomes if file.product == key]
    voids = sum(count.items for delta in deltas for count in delta.voids if count.product == key)
    seen = defaultdict[tuple[str, int, int], BitMap64](BitMap64)
    content = content_of(item.product.spec, _noting(built, shards, seen))
    return ProductSummary(
        product=item.product.name,
        live_path=f"_meta/live/{key}.json",
        items=items,
        row_items=sum(map(len, seen.values())),
        empty=sum(file.empties for file in outcomes),
        letters=sum(file.letters for file in outcomes),
        void=voids,
        rows=sum(shard.rows for shard in shards),
        tokens=sum(shard.tokens for shard in shards),
        seconds=seconds,
        raw_bytes=content.raw_bytes,
        stored_bytes=sum(shard.size_bytes for shard in shards),
        pixels=content.pixels,
        media_s=content.media_s,
    )


def _noting(built: Built, shards: Sequence[Shard], seen: Mapping[tuple[str, int, int], BitMap64]) -> Iterator[pa.Table]:
    """The rows, a shard at a time; notes the offsets of the items that they are of."""
    for shard in shards:
        table = read_shard(built.lake.store, shard)
        for *place, offset in zip(*(table.column(name).to_pylist() for name in ORIGIN), strict=True):
            seen[place[0], place[1], place[2]].add(offset)
        yield table
