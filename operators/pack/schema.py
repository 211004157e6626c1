"""The row schema of a product: one frozen Arrow schema a dataset, every column written down here.

Types are kept to those that pyarrow, Polars, DuckDB and Hugging Face all read: no map, list view, run-end
encoding, float16 or dictionary. `spans` stands after `shape` in joined products; `token_pos` (adaptive ones) will come
after it when there are products that have it.

What no column says stands in the schema's metadata under `mediatok`, as JSON with sorted keys:
`format` (version of this layout), `product`, `key`, `kind`, `modality`, `view`, `axes`, `codebook_sizes`, `dtype`,
`shape` (`[]` where windows differ), `tokenizer` (its identity), and in joined products `parts`: for each tokenizer that
spans refer to, its `name`, `modality`, `axes`, `codebook_sizes` and `shape` (its first entry 0 where spans differ).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import blake2b
from math import prod
from typing import Any, cast

import pyarrow as pa

from operators.errors import ConfigError, ShardCorruptError
from operators.records import Modality
from operators.tokenize.base import TokenKind, TokenPart, TokenSpec

FORMAT_VERSION = 1
METADATA_KEY = b"mediatok"


class FilledLate(StrEnum):
    """Columns that nobody knows before the item is whole or the shard is closed."""

    WINDOW_INDEX = "window_index"
    WINDOW_COUNT = "window_count"
    DT = "dt"


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what it means.

    Attributes:
        only: the modalities that have it; empty for all.
        late: filled when the item is whole (`window_index`, `window_count`) or the shard closed (`dt`).
    """

    name: str
    type: pa.DataType
    doc: str
    only: tuple[Modality, ...] = ()

    @property
    def late(self) -> bool:
        """Whether it is one of `FilledLate`."""
        return self.name in {str(name) for name in FilledLate}


_IMAGES = (Modality.IMAGE, Modality.VIDEO)
_SOUND = (Modality.AUDIO, Modality.VIDEO)
_NOT_TEXT = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)

_BEFORE_TOKENS = (
    Column("sample_id", pa.string(), "This row, for ever: see `sample_id`. Rows that share one are the same sample."),
    Column("doc_id", pa.string(), "The item's content: see `doc_id`. The same in every product."),
    Column("window_index", pa.int32(), "Which window of its item this is, from 0, ascending by `start`."),
    Column("window_count", pa.int32(), "How many windows the item has in this product."),
    Column("uri", pa.string(), "Where the content was read."),
    Column("version", pa.string(), "Etag or version id of the object as fetched; '' where the store has none."),
    Column("sha256", pa.string(), "Of the bytes fetched, hex; '' where nothing was fetched."),
    Column("source_id", pa.string(), "Origin: the log that named the item (topic id, listing id)."),
    Column("partition", pa.int32(), "Origin: partition of that log; 0 for a listing."),
    Column("offset", pa.int64(), "Origin: offset of the message in that partition."),
    Column("item", pa.int32(), "Origin: which item of the message, from 0."),
    Column("modality", pa.string(), "image, audio, video or text."),
    Column("product", pa.string(), "The product's key, <name>-<first 8 of the fingerprint>, as in the path."),
    Column("dt", pa.string(), "UTC date on which the shard was closed, YYYY-MM-DD, as in the path."),
    Column("start", pa.int64(), "Where the window begins in its item, in ticks; for text in bytes."),
    Column("end", pa.int64(), "Where it ends, exclusive, in ticks; for text in bytes."),
    Column("rate_num", pa.int64(), "Ticks a second, numerator; 0 where the medium has no clock (images, text)."),
    Column("rate_den", pa.int64(), "Ticks a second, denominator."),
)
SPANS = Column(
    "spans",
    pa.list_(
        pa.struct(
            [
                pa.field("tokenizer", pa.int16()),
                pa.field("start", pa.int32()),
                pa.field("length", pa.int32()),
                pa.field("t0", pa.int64()),
                pa.field("t1", pa.int64()),
                pa.field("confidence", pa.float32()),
                pa.field("text", pa.string()),
                pa.field("speaker", pa.string()),
                pa.field("language", pa.string()),
            ]
        )
    ),
    "Which tokens (start, length) come from which part, and the ticks that they stand for: see `operators.spans`.",
)
_SHAPE = Column("shape", pa.list_(pa.int32()), "Of this window's tokens; its axes are named in the metadata.")
_AFTER_TOKENS = (
    Column("n_tokens", pa.int32(), "Tokens a model would see: codes counted one by one, embeddings by vector."),
    Column("width", pa.int32(), "Of the original in pixels, upright.", _IMAGES),
    Column("height", pa.int32(), "Of the original in pixels, upright.", _IMAGES),
    Column("duration", pa.float64(), "Of the original in seconds, as its headers say; 0 where they don't.", _SOUND),
    Column("raw_start", pa.int64(), "What the original's own timestamps say at tick 0, in ticks.", _SOUND),
    Column("text", pa.string(), "The item's attribute `caption`; null where it has none.", _NOT_TEXT),
    Column("licence", pa.string(), "The item's attribute `licence`; null where it has none."),
    Column("subject_key", pa.string(), "The item's attribute `subject_key`, by which takedowns find it; or null."),
    Column("partial", pa.bool_(), "The original was damaged and this is what could be read of it."),
    Column("attributes", pa.string(), "The item's other attributes, a JSON object with sorted keys."),
)


def token_column(spec: TokenSpec) -> Column:
    """The column of the tokens themselves: `codes` or `embedding`, flat in C order.

    float16 embeddings are stored as their bits in uint16, since not every reader knows the type.

    Raises:
        ConfigError: a dtype that is not stored, or embeddings of no fixed shape.
    """
    types = {"uint16": pa.uint16(), "uint32": pa.uint32()}
    if spec.kind is TokenKind.CODES:
        if spec.dtype not in types:
            raise ConfigError(f"codes are stored as uint16 or uint32, not {spec.dtype}")
        return Column("codes", pa.list_(types[spec.dtype]), "Local codes, flat in C order of `shape`.")
    if spec.dtype not in {"float32", "float16"}:
        raise ConfigError(f"embeddings are stored as float32 or float16, not {spec.dtype}")
    if not spec.shape:
        raise ConfigError(f"embeddings of view {spec.view} have no fixed shape: a fixed_size_list needs one")
    value = pa.float32() if spec.dtype == "float32" else pa.uint16()
    doc = "The vectors, flat in C order of `shape`; float16 as its bits in uint16."
    return Column("embedding", pa.list_(value, prod(spec.shape)), doc)


def columns(spec: TokenSpec) -> tuple[Column, ...]:
    """All columns of a product with this spec, in order.

    Raises:
        ConfigError: as `token_column`.
    """
    spans = (SPANS,) if spec.parts else ()
    every = (*_BEFORE_TOKENS, token_column(spec), _SHAPE, *spans, *_AFTER_TOKENS)
    return tuple(column for column in every if not column.only or spec.modality in column.only)


def product_schema(name: str, key: str, spec: TokenSpec, identity: Mapping[str, Any]) -> pa.Schema:
    """The frozen schema of a product's dataset.

    Args:
        name: of the product, e.g. "image-rq".
        key: `<name>-<fp8>`.
        spec: what its tokenizer gives.
        identity: of its tokenizer; any JSON.

    Raises:
        ConfigError: as `token_column`.
    """
    facts = {
        "format": FORMAT_VERSION,
        "product": name,
        "key": key,
        "kind": spec.kind,
        "modality": spec.modality,
        "view": spec.view,
        "axes": spec.axes,
        "codebook_sizes": spec.codebook_sizes,
        "dtype": spec.dtype,
        "shape": spec.shape,
        "tokenizer": dict(identity),
        **({"parts": [asdict(part) for part in spec.parts]} if spec.parts else {}),
    }
    fields = [pa.field(column.name, column.type) for column in columns(spec)]
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(facts, sort_keys=True).encode()})


def schema_facts(schema: pa.Schema) -> Mapping[str, Any]:
    """The JSON under `mediatok` in a schema's metadata.

    Raises:
        ShardCorruptError: there is none, or one of a later format than this code knows.
    """
    raw = (schema.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise ShardCorruptError("the schema has no mediatok metadata: not a shard of ours")
    facts = cast("dict[str, Any]", json.loads(raw))
    if facts["format"] > FORMAT_VERSION:
        raise ShardCorruptError(f"shard of format {facts['format']}; this code reads up to {FORMAT_VERSION}")
    return facts


def spec_of(schema: pa.Schema) -> TokenSpec:
    """The `TokenSpec` that a schema was made for.

    Raises:
        ShardCorruptError: as `schema_facts`.
    """
    facts = schema_facts(schema)
    return TokenSpec(
        kind=TokenKind(facts["kind"]),
        modality=Modality(facts["modality"]),
        view=str(facts["view"]),
        axes=tuple(facts["axes"]),
        codebook_sizes=tuple(facts["codebook_sizes"]),
        dtype=str(facts["dtype"]),
        shape=tuple(facts["shape"]),
        parts=tuple(_part(part) for part in facts.get("parts", ())),
    )


def _part(facts: Mapping[str, Any]) -> TokenPart:
    axes, sizes, shape = (tuple(facts[name]) for name in ("axes", "codebook_sizes", "shape"))
    return TokenPart(str(facts["name"]), Modality(facts["modality"]), axes, sizes, shape)


def doc_json(uri: str, version: str, range_key: str) -> str:
    """The JSON array [uri, version, range] that says which content this is, e.g. `["s3://b/k", "etag", ""]`.

    Args:
        uri: of the reference.
        version: etag or version id as fetched; where there is none the content's sha256, so that other content
            under the same name is another document.
        range_key: `MediaReference.range_key`.
    """
    return json.dumps([uri, version, range_key])


def doc_id(doc: str) -> str:
    """128 bits of blake2b, hex, of a `doc_json`."""
    return blake2b(doc.encode(), digest_size=16).hexdigest()


def sample_id(doc: str, key: str, start: int) -> str:
    """128 bits of blake2b, hex, of the JSON array [uri, version, range, product key, window start].

    Args:
        doc: from `doc_json`: the array's first three.
        key: of the product; it holds nothing that JSON escapes.
        start: of the window, in ticks.
    """
    return blake2b(f'{doc[:-1]}, "{key}", {start}]'.encode(), digest_size=16).hexdigest()
