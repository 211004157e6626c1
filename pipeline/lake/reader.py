"""Reading a lake: which files are live, and their rows; now, or as of a version or time that vacuum has kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pyarrow as pa

from operators.errors import ConfigError, ShardCorruptError
from operators.pack.rewrite import matching_rows
from pipeline.flow.ranges import difference, merged, size
from pipeline.lake.history import read_if_there
from pipeline.lake.open_store import open_store
from pipeline.lake.paths import LIVE, live_path
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore
from pipeline.lake.travel import Moment, state_of
from pipeline.records import Predicate, Shard, Span

Options = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ProductSummary:
    """A product as the log has it; counts are of items, but for files, rows and tokens."""

    key: str
    lane: str
    revision: int
    open: bool
    files: int
    rows: int
    tokens: int
    size_bytes: int
    letters: int
    empties: int
    voids: int


def list_products(uri: str, options: Options | None = None) -> tuple[ProductSummary, ...]:
    """Every product of a lake.

    Raises:
        ConfigError: there is no lake.
    """
    return summaries(state_of(open_store(uri, options)))


def summaries(state: LakeState) -> tuple[ProductSummary, ...]:
    """Every product of a state."""
    return tuple(
        ProductSummary(
            key=key,
            lane=known.lane,
            revision=known.product.revision,
            open=known.open,
            files=len(state.shards[key]),
            rows=state.counters[key].rows,
            tokens=state.counters[key].tokens,
            size_bytes=sum(shard.size_bytes for shard in state.shards[key].values()),
            letters=state.counters[key].letters,
            empties=state.counters[key].empties,
            voids=sum(state.counters[key].voids.values()),
        )
        for key, known in state.products.items()
    )


def inherited_messages(state: LakeState, product: str) -> int:
    """How many messages are done in a product (key) only because its predecessors did them."""
    inherited = 0
    for log in state.logs(product) if len(state.lineage(product)) > 1 else ():
        ranges = merged(each for coverage in state.coverages(product, log) for each in coverage.span(log).ranges)
        inherited += size(difference(ranges, state.own_overlap(product, Span(log, ranges))))
    return inherited


def live_files(
    uri: str,
    product: str,
    options: Options | None = None,
    *,
    version: int | None = None,
    at: datetime | None = None,
) -> tuple[str, ...]:
    """The full paths (or URIs) of a product's live files.

    Between the two commits of a takedown they hold rows that are taken down: `read_table` leaves these out.

    Args:
        uri: of the lake.
        product: a key, or a name: then of the product of that name which is open.
        options: of the object store.
        version: of the log; without it and `at` the newest.
        at: as of the newest version that was committed by then; UTC where it has no zone.

    Raises:
        ConfigError: there is no such lake, product or version, or vacuum has deleted what the version names.
    """
    store = open_store(uri, options)
    state = state_of(store, Moment(version, at))
    return tuple(f"{store.uri}/{path}" for path in state.shards[product_key(state, product)])


def published_files(uri: str, product: str, options: Options | None = None) -> tuple[str, ...]:
    """As `live_files`, but as the product's live list has it: one small read, and up to a checkpoint behind.

    Args:
        uri: of the lake.
        product: a key.
        options: of the object store.

    Raises:
        ConfigError: there is no such list.
    """
    store = open_store(uri, options)
    body = read_if_there(store, live_path(product))
    if body is None:
        known = [path.removeprefix(LIVE).removesuffix(".json") for path in store.list(LIVE)]
        raise ConfigError(f"no live list of {product!r} in {uri}; there are {known}")
    live = cast("dict[str, Any]", json.loads(body))
    return tuple(f"{store.uri}/{path}" for path in cast("list[str]", live["files"]))


def read_table(
    uri: str,
    product: str,
    options: Options | None = None,
    *,
    columns: Sequence[str] | None = None,
    version: int | None = None,
    at: datetime | None = None,
) -> pa.Table:
    """All live rows of a product in commit order, in memory; none of what is taken down by now.

    Args:
        uri, product, options, version, at: as in `live_files`.
        columns: all where they are left out.

    Raises:
        ConfigError: as `live_files`, or the product has no rows yet.
        ShardCorruptError: a live file is not what was written.
    """
    store = open_store(uri, options)
    state = state_of(store, Moment(version, at))
    key = product_key(state, product)
    tables = [visible(read_shard(store, shard), state.predicates) for shard in state.shards[key].values()]
    if not tables:
        raise ConfigError(f"{key} in {uri} has no rows yet")
    table = pa.concat_tables(tables)
    return table.select(list(columns)) if columns is not None else table


def read_shard(store: LakeStore, shard: Shard) -> pa.Table:
    """One data file.

    Raises:
        ShardCorruptError: it is no IPC file.
    """
    data = store.read(shard.path)
    try:
        return pa.ipc.open_file(pa.py_buffer(data)).read_all()
    except pa.ArrowInvalid as error:
        raise ShardCorruptError(f"{store.uri}/{shard.path}: {error}") from error


def visible(table: pa.Table, predicates: Iterable[Predicate]) -> pa.Table:
    """The rows of a shard that are not taken down."""
    values = [(predicate.field.value, predicate.value) for predicate in predicates]
    if not values:
        return table
    batches = table.to_batches()
    kept = [batch.filter(pa.array(~matching_rows(batch, values))) for batch in batches]
    return pa.Table.from_batches(kept, table.schema)


def product_key(state: LakeState, product: str) -> str:
    """A product's key from its key or, for the open one, its name.

    Raises:
        ConfigError: the lake has no such product.
    """
    if product in state.products:
        return product
    named = state.open_product(product)
    if named is None:
        raise ConfigError(f"no product {product!r} in this lake; it has {sorted(state.products)}")
    return named.product.key
