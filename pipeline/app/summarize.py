"""What a run that ended has brought: counted from the versions it committed and the shards that they name."""

from __future__ import annotations

from collections.abc import Sequence

from operators.window import ImageView, parse_view
from pipeline.app.build import Built
from pipeline.graph import ProductPlan
from pipeline.lake.delta import Delta
from pipeline.lake.reader import read_shard
from pipeline.observe.summary import ProductSummary
from pipeline.records import Shard

ORIGIN = ("source_id", "partition", "offset", "item")


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
    row_items, raw_bytes, pixels = _rows(built, item, shards)
    return ProductSummary(
        product=item.product.name,
        live_path=f"_meta/live/{key}.json",
        items=items,
        row_items=row_items,
        empty=sum(file.empties for file in outcomes),
        letters=sum(file.letters for file in outcomes),
        void=voids,
        rows=sum(shard.rows for shard in shards),
        tokens=sum(shard.tokens for shard in shards),
        seconds=seconds,
        raw_bytes=raw_bytes,
        stored_bytes=sum(shard.size_bytes for shard in shards),
        pixels=pixels,
    )


def _rows(built: Built, item: ProductPlan, shards: Sequence[Shard]) -> tuple[int, int, int]:
    """Items that have rows; bytes of the windows that were tokenized; their pixels."""
    view = parse_view(item.product.spec.view)
    window_pixels = view.height * view.width if isinstance(view, ImageView) else 0
    items: set[tuple[str, int, int, int]] = set()
    raw_bytes = pixels = 0
    for shard in shards:
        table = read_shard(built.lake.store, shard)
        items.update(zip(*(table.column(name).to_pylist() for name in ORIGIN), strict=True))
        if window_pixels:
            pixels += window_pixels * len(table)
            raw_bytes += 3 * window_pixels * len(table)
        else:
            raw_bytes += int((table.column("end").to_numpy() - table.column("start").to_numpy()).sum())
    return len(items), raw_bytes, pixels
