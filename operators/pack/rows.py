"""Rows from tokens: column by column, without a Python loop over tokens.

Rows are built in two steps. `waiting_rows` makes what is known when the tokens arrive; `finished_rows` adds the
columns that are known only once the item is whole (`window_index`, `window_count`) and the shard closed (`dt`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.errors import InvariantError
from operators.pack.schema import SPANS, FilledLate, doc_id, doc_json, sample_id, schema_facts
from operators.records import ContentFacts, MediaReference, TokenBatch, WindowMeta

_OWN_COLUMNS = {"caption": "text", "licence": "licence", "subject_key": "subject_key"}
"""Attributes that may have a column of their own, and its name (a text has no caption: it is the text)."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str)


@dataclass(frozen=True, slots=True)
class TokenizedSegment:
    """Consecutive windows of one item, and where their tokens are.

    Attributes:
        reference: the item.
        facts: of its content; None where nothing was fetched.
        windows: at least one, ascending by start.
        row: of the first window in the `TokenBatch`; window i is row `row + i`.
    """

    reference: MediaReference
    facts: ContentFacts | None
    windows: tuple[WindowMeta, ...]
    row: int


def waiting_schema(schema: pa.Schema) -> pa.Schema:
    """A product's schema without the columns that are filled late."""
    late = {str(name) for name in FilledLate}
    return pa.schema([field for field in schema if field.name not in late], metadata=schema.metadata)


def waiting_rows(schema: pa.Schema, tokens: TokenBatch, segments: Sequence[TokenizedSegment]) -> pa.RecordBatch:
    """One row a window, in the order of `segments`, in `waiting_schema(schema)`.

    Args:
        schema: of the product, from `product_schema`.
        tokens: B windows of which the segments name some.
        segments: whose rows are wanted; each row once.

    Raises:
        InvariantError: the tokens are not what the schema says (dtype, size of a vector), or a row is out of range.
    """
    facts = schema_facts(schema)
    key, modality = str(facts["key"]), str(facts["modality"])
    counts = np.fromiter((len(segment.windows) for segment in segments), np.int64, len(segments))
    rows = _rows_of(segments, counts, len(tokens))
    docs = [doc_json(segment.reference.uri, _content(segment), segment.reference.range_key) for segment in segments]
    own = {name: column for name, column in _OWN_COLUMNS.items() if schema.get_field_index(column) >= 0}
    values: dict[str, pa.Array] = {
        **_per_item(segments, docs, counts, own),
        **_per_window(segments, docs, key),
        **_token_columns(schema, tokens, rows),
    }
    constants = {"modality": modality, "product": key}
    for name, text in constants.items():
        values[name] = pa.repeat(pa.scalar(text, pa.string()), len(rows))
    target = waiting_schema(schema)
    for field in target:
        if values[field.name].type != field.type:
            values[field.name] = values[field.name].cast(field.type)
    arrays = [values[field.name] for field in target]
    return pa.RecordBatch.from_arrays(arrays, schema=target)


def finished_rows(
    schema: pa.Schema,
    batch: pa.RecordBatch,
    window_index: npt.NDArray[np.int32],
    window_count: npt.NDArray[np.int32],
    dt: str,
) -> pa.RecordBatch:
    """`waiting_rows` plus what was missing.

    Args:
        schema: of the product.
        batch: B rows of `waiting_schema(schema)`.
        window_index, window_count: `[B]`.
        dt: UTC date, YYYY-MM-DD.
    """
    late: Mapping[str, pa.Array] = {
        FilledLate.WINDOW_INDEX: pa.array(window_index, pa.int32()),
        FilledLate.WINDOW_COUNT: pa.array(window_count, pa.int32()),
        FilledLate.DT: pa.repeat(pa.scalar(dt, pa.string()), batch.num_rows),
    }
    arrays = [late[field.name] if field.name in late else batch.column(field.name) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _rows_of(segments: Sequence[TokenizedSegment], counts: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.int64]:
    """Row of each window in the token batch, `[sum(counts)]`."""
    firsts = np.fromiter((segment.row for segment in segments), np.int64, len(segments))
    if np.any(counts < 1) or np.any(firsts < 0) or np.any(firsts + counts > limit):
        raise InvariantError(f"segments name windows outside their token batch of {limit}")
    before = np.cumsum(counts) - counts
    return np.repeat(firsts - before, counts) + np.arange(int(counts.sum()), dtype=np.int64)


def _per_item(
    segments: Sequence[TokenizedSegment],
    docs: Sequence[str],
    counts: npt.NDArray[np.int64],
    own_columns: Mapping[str, str],
) -> dict[str, pa.Array]:
    """Columns that all windows of an item share; `own_columns` are those that attributes have in this product."""
    references = [segment.reference for segment in segments]
    contents = [segment.facts for segment in segments]
    split = [_split_attributes(reference.attributes, own_columns) for reference in references]
    once: dict[str, pa.Array] = {
        "doc_id": pa.array([doc_id(doc) for doc in docs], pa.string()),
        "uri": _strings([reference.uri for reference in references]),
        "version": _strings([_version(segment) for segment in segments]),
        "sha256": _strings([content.sha256 if content else "" for content in contents]),
        "source_id": _strings([reference.origin.source_id for reference in references]),
        "partition": pa.array([reference.origin.partition for reference in references], pa.int32()),
        "offset": pa.array([reference.origin.offset for reference in references], pa.int64()),
        "item": pa.array([reference.origin.item for reference in references], pa.int32()),
        "attributes": _strings([rest for _, rest in split]),
    }
    for column in own_columns.values():
        once[column] = _strings([own.get(column) for own, _ in split])
    if np.all(counts == 1):
        return once
    owner = pa.array(np.repeat(np.arange(len(segments)), counts))
    return {name: column.take(owner) for name, column in once.items()}


def _per_window(segments: Sequence[TokenizedSegment], docs: Sequence[str], key: str) -> dict[str, pa.Array]:
    windows = list(chain.from_iterable(segment.windows for segment in segments))
    samples = [
        sample_id(doc, key, window.start)
        for segment, doc in zip(segments, docs, strict=True)
        for window in segment.windows
    ]
    return {
        "sample_id": pa.array(samples, pa.string()),
        "start": pa.array([window.start for window in windows], pa.int64()),
        "end": pa.array([window.end for window in windows], pa.int64()),
        "rate_num": pa.array([window.rate_num for window in windows], pa.int64()),
        "rate_den": pa.array([window.rate_den for window in windows], pa.int64()),
        "width": pa.array([window.width for window in windows], pa.int32()),
        "height": pa.array([window.height for window in windows], pa.int32()),
        "duration": pa.array([window.duration_s for window in windows], pa.float64()),
        "partial": pa.array([window.partial for window in windows], pa.bool_()),
        "raw_start": pa.array([window.raw_start for window in windows], pa.int64()),
    }


def _token_columns(schema: pa.Schema, tokens: TokenBatch, rows: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
    name = "codes" if schema.get_field_index("codes") >= 0 else "embedding"
    wanted = schema.field(name).type
    values = pa.array(tokens.values)
    if values.type != wanted.value_type:
        raise InvariantError(f"tokens of {values.type} for a column {name} of {wanted}")
    ndim = tokens.shapes.shape[1]
    if name == "codes":
        if tokens.offsets[-1] >= 2**31:
            raise InvariantError(f"a token batch of {tokens.offsets[-1]} codes: lists hold up to 2^31")
        flat: pa.Array = pa.ListArray.from_arrays(pa.array(tokens.offsets.astype(np.int32)), values)
    else:
        if not np.array_equal(np.diff(tokens.offsets), np.full(len(tokens), wanted.list_size)):
            raise InvariantError(f"embeddings of other sizes than {wanted.list_size}")
        flat = pa.FixedSizeListArray.from_arrays(values, wanted.list_size)
    in_order = len(rows) == len(tokens) and bool(np.all(rows == np.arange(len(tokens))))
    shapes = np.ascontiguousarray(tokens.shapes[rows], dtype=np.int32).reshape(-1)
    shape_offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(ndim)
    spans = {SPANS.name: _spans(tokens, rows)} if schema.get_field_index(SPANS.name) >= 0 else {}
    return {
        **spans,
        name: flat if in_order else flat.take(pa.array(rows)),
        "shape": pa.ListArray.from_arrays(pa.array(shape_offsets), pa.array(shapes)),
        "n_tokens": pa.array(tokens.n_tokens[rows]),
    }


def _spans(tokens: TokenBatch, rows: npt.NDArray[np.int64]) -> pa.Array:
    """`[rows]` lists of spans."""
    if tokens.spans is None:
        raise InvariantError("a joined product's tokens came without spans")
    names = [field.name for field in SPANS.type.value_type]
    return pa.array(
        [[{name: getattr(span, name) for name in names} for span in tokens.spans[int(row)]] for row in rows], SPANS.type
    )


def _version(segment: TokenizedSegment) -> str:
    """As fetched; where the store has none, as the message says."""
    fetched = segment.facts.version if segment.facts else ""
    return fetched or segment.reference.version or ""


def _content(segment: TokenizedSegment) -> str:
    """Which content this is: its version, or its hash in stores that have no versions."""
    return _version(segment) or (segment.facts.sha256 if segment.facts else "")


def _split_attributes(attributes: Mapping[str, Any], own_columns: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Attributes -> (those with a column of their own, the others as JSON).

    A value with a column of its own that is no string is stored as its JSON; one that JSON has no notion of (a date
    in a manifest) as its string.
    """
    if not attributes:
        return {}, "{}"
    own: dict[str, str] = {}
    rest: dict[str, Any] = {}
    for name, value in attributes.items():
        if name not in own_columns:
            rest[name] = value
        elif value is not None:
            own[own_columns[name]] = value if isinstance(value, str) else _json(value)
    return own, _json(rest)


def _json(value: object) -> str:
    return _ENCODER.encode(value)


def _strings(values: Sequence[str | None]) -> pa.Array:
    """Strings as an Arrow column. Half a surrogate pair (JSON allows it, UTF-8 does not) becomes "?"."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        mended = [None if value is None else value.encode("utf-8", "replace").decode("utf-8") for value in values]
        return pa.array(mended, pa.string())
