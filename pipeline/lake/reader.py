"""Reading a lake: which files are live, and their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from operators.errors import ConfigError, ShardCorruptError
from pipeline.lake.history import load_state, read_if_there
from pipeline.lake.open_store import open_store
from pipeline.lake.paths import LIVE, live_path
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore
from pipeline.records import Shard

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
    return summaries(_state(open_store(uri, options)))


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


def live_files(uri: str, product: str, options: Options | None = None) -> tuple[str, ...]:
    """The full paths (or URIs) of a product's live files, as of the newest version of the log.

    Args:
        uri: of the lake.
        product: a key, or a name: then of the product of that name which is open.
        options: of the object store.

    Raises:
        ConfigError: there is no such lake or product.
    """
    store = open_store(uri, options)
    state = _state(store)
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
    uri: str, product: str, options: Options | None = None, *, columns: Sequence[str] | None = None
) -> pa.Table:
    """All live rows of a product in commit order, in memory.

    Raises:
        ConfigError: there is no such lake or product, or the product has no rows yet.
        ShardCorruptError: a live file is not what was written.
    """
    store = open_store(uri, options)
    state = _state(store)
    key = product_key(state, product)
    tables = [read_shard(store, shard) for shard in state.shards[key].values()]
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


def _state(store: LakeStore) -> LakeState:
    state = load_state(store)
    if not state.version:
        raise ConfigError(f"there is no lake at {store.uri}: its log has no version yet")
    return state
