"""The state as one file, so that opening a lake need not read its whole log.

A zip (stored, times fixed) of `meta.json` and Arrow IPC streams (zstd). It is a pure function of versions 1..N: whoever
writes it writes the same bytes, given the same release of the Arrow library.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any, cast

import pyarrow as pa

from operators.errors import InvariantError
from operators.records import VoidReason
from pipeline.flow.coverage import Coverage, bitmap_bytes, bitmap_read
from pipeline.lake.codec import canonical_json, parse_predicate, parse_product, predicate_json, product_json
from pipeline.lake.delta import OutcomeFile
from pipeline.lake.state import Counters, LakeState, ProductState
from pipeline.records import Shard, SourcePartition

FORMAT = 1

_LOG = [("source", pa.string()), ("partition", pa.int32())]
_SCHEMAS = {
    "products": pa.schema(
        [
            ("product", pa.string()),
            ("lane", pa.string()),
            ("open", pa.bool_()),
            ("opened_at", pa.int64()),
            ("letters", pa.int64()),
            ("empties", pa.int64()),
            ("voids", pa.string()),
        ]
    ),
    "starts": pa.schema([("product", pa.string()), *_LOG, ("offset", pa.int64())]),
    "coverage": pa.schema([("product", pa.string()), *_LOG, ("coverage", pa.binary())]),
    "shards": pa.schema(
        [
            ("product", pa.string()),
            ("path", pa.string()),
            ("rows", pa.int64()),
            ("tokens", pa.int64()),
            ("size_bytes", pa.int64()),
            ("sha256", pa.string()),
        ]
    ),
    "outcomes": pa.schema(
        [("product", pa.string()), ("path", pa.string()), ("letters", pa.int64()), ("empties", pa.int64())]
    ),
    "letters": pa.schema([("name", pa.string()), *_LOG, ("path", pa.string()), ("open", pa.binary())]),
}
"""The tables and their columns; what each row means stands in README.md."""


def checkpoint_bytes(state: LakeState) -> bytes:
    """The state as a checkpoint file."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        meta: dict[str, Any] = {"format": FORMAT, "version": state.version, "min_base": state.min_base}
        if state.predicates:
            meta["predicates"] = [
                predicate_json(predicate) | {"version": version} for predicate, version in state.predicates.items()
            ]
        _add(archive, "meta.json", canonical_json(meta))
        for name, rows in _tables(state).items():
            _add(archive, f"{name}.arrow", _ipc(_SCHEMAS[name], rows))
    return out.getvalue()


def read_checkpoint(data: bytes) -> LakeState:
    """Back from `checkpoint_bytes`.

    Raises:
        InvariantError: not a checkpoint, or one of a format not known here.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            meta = cast("dict[str, Any]", json.loads(archive.read("meta.json")))
            if meta["format"] != FORMAT:
                raise InvariantError(f"checkpoint of format {meta['format']}; this release reads format {FORMAT}")
            tables = {name: _columns(archive.read(f"{name}.arrow"), name) for name in _SCHEMAS}
            state = LakeState()
            state.version, state.min_base = int(meta["version"]), int(meta["min_base"])
            for raw in meta.get("predicates", ()):
                version = int(raw.pop("version"))
                state.predicates[parse_predicate(raw)] = version
            _fill(state, tables)
            return state
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise InvariantError(f"not a checkpoint: {error!r}") from error


def _tables(state: LakeState) -> dict[str, Iterable[tuple[Any, ...]]]:
    return {
        "products": [
            (
                canonical_json(product_json(each.product)).decode(),
                each.lane,
                each.open,
                each.opened_at,
                state.counters[key].letters,
                state.counters[key].empties,
                canonical_json(state.counters[key].voids).decode(),
            )
            for key, each in state.products.items()
        ],
        "starts": [
            (product, log.source_id, log.partition, offset) for (product, log), offset in sorted(state.starts.items())
        ],
        "coverage": [
            (product, log.source_id, log.partition, state.own_coverage[product, log].serialize())
            for product, log in sorted(state.own_coverage)
        ],
        "shards": [
            (shard.product, shard.path, shard.rows, shard.tokens, shard.size_bytes, shard.sha256)
            for product in state.products
            for shard in state.shards[product].values()
        ],
        "outcomes": [(file.product, file.path, file.letters, file.empties) for file in state.outcomes.values()],
        "letters": [
            (name, log.source_id, log.partition, path, bitmap_bytes(offsets))
            for (name, log) in sorted(state.letters)
            for path, offsets in sorted(state.letters[name, log].items())
        ],
    }


def _fill(state: LakeState, tables: dict[str, Sequence[Sequence[Any]]]) -> None:
    for text, lane, is_open, opened_at, letters, empties, voids in zip(*tables["products"], strict=True):
        product = parse_product(json.loads(text))
        counted = {VoidReason(reason): int(items) for reason, items in json.loads(voids).items()}
        state.products[product.key] = ProductState(product, lane, is_open, opened_at)
        state.counters[product.key] = Counters(letters=letters, empties=empties, voids=counted)
        state.shards[product.key] = {}
    for product, source, partition, offset in zip(*tables["starts"], strict=True):
        state.starts[product, SourcePartition(source, partition)] = offset
    for product, source, partition, coverage in zip(*tables["coverage"], strict=True):
        state.own_coverage[product, SourcePartition(source, partition)] = Coverage.deserialize(coverage)
    for row in zip(*tables["shards"], strict=True):
        shard = Shard(*row)
        counters = state.counters[shard.product]
        state.shards[shard.product][shard.path] = shard
        counters.rows += shard.rows
        counters.tokens += shard.tokens
    for product, path, letters, empties in zip(*tables["outcomes"], strict=True):
        state.outcomes[path] = OutcomeFile(product, path, letters, empties, ())
    for name, source, partition, path, offsets in zip(*tables["letters"], strict=True):
        state.letters.setdefault((name, SourcePartition(source, partition)), {})[path] = bitmap_read(offsets)


def _ipc(schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> bytes:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    out = BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1), use_threads=False)
    with pa.ipc.new_stream(out, schema, options=options) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return out.getvalue()


def _columns(data: bytes, name: str) -> Sequence[Sequence[Any]]:
    with pa.ipc.open_stream(data) as reader:
        table = reader.read_all()
    if not table.schema.equals(_SCHEMAS[name]):
        raise InvariantError(f"checkpoint table {name} has columns {table.schema.names}, not those of format {FORMAT}")
    return [column.to_pylist() for column in table.columns]


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)
