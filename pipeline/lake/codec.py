"""Deltas as JSON and back. Strict: a field not known here is refused, since it may change what the rest means."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from operators.errors import InvariantError
from operators.records import Modality, VoidReason
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.flow.coverage import bitmap_bytes, bitmap_of, bitmap_ranges, bitmap_read
from pipeline.flow.ranges import merged
from pipeline.lake.delta import (
    FORMAT,
    Delta,
    Opening,
    OutcomeFile,
    ProductSpan,
    Rewrite,
    Skip,
    Start,
    VoidCount,
)
from pipeline.records import Predicate, PredicateField, Product, Range, Shard, SourcePartition, Span

T = TypeVar("T")
Json = dict[str, Any]
Parse = Callable[[Any], T]


def canonical_json(value: object) -> bytes:
    """JSON without spaces, keys sorted: equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def delta_bytes(delta: Delta) -> bytes:
    """A delta as the bytes of its log file. Empty fields are left out."""
    fields: Json = {
        "openings": [_opening(opening) for opening in delta.openings],
        "starts": [{"product": each.product, **_log(each.log), "offset": each.offset} for each in delta.starts],
        "shards": [_shard(shard) for shard in delta.shards],
        "covers": [{"product": each.product, **_span(each.span)} for each in delta.covers],
        "outcomes": [_outcomes(file) for file in delta.outcomes],
        "voids": [{"product": each.product, "reason": each.reason, "items": each.items} for each in delta.voids],
        "closings": [{"product": each.product, **_span(each.span)} for each in delta.closings],
        "skips": [{"product": each.product, "reason": each.reason, **_span(each.span)} for each in delta.skips],
        "remade": [{"product": each.product, **_span(each.span)} for each in delta.remade],
        "rewrites": [_rewrite(rewrite) for rewrite in delta.rewrites],
        "predicates": [predicate_json(each) for each in delta.predicates],
    }
    head: Json = {
        "format": FORMAT,
        "version": delta.version,
        "base": delta.base,
        "commit_id": delta.commit_id,
        "writer": delta.writer,
        "committed_at_ms": delta.committed_at_ms,
    }
    if delta.min_base is not None:
        head["min_base"] = delta.min_base
    return canonical_json(head | {name: value for name, value in fields.items() if value})


def parse_delta(data: bytes) -> Delta:
    """A log file's bytes as a delta.

    Raises:
        InvariantError: not JSON, of a format or with a field not known here, or a field of the wrong type.
    """
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise InvariantError(f"log version is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise InvariantError("log version is not a JSON object")
    fields = _Fields(cast("Json", raw), "delta")
    known = fields.take("format", _int)
    if known != FORMAT:
        raise InvariantError(f"log version of format {known}; this release reads format {FORMAT}: use a newer one")
    delta = Delta(
        version=fields.take("version", _int),
        base=fields.take("base", _int),
        commit_id=fields.take("commit_id", _str),
        writer=fields.take("writer", _str),
        committed_at_ms=fields.take("committed_at_ms", _int),
        openings=fields.take("openings", _many(_parse_opening), ()),
        starts=fields.take("starts", _many(_parse_start), ()),
        shards=fields.take("shards", _many(_parse_shard), ()),
        covers=fields.take("covers", _many(_parse_product_span), ()),
        outcomes=fields.take("outcomes", _many(_parse_outcomes), ()),
        voids=fields.take("voids", _many(_parse_void), ()),
        closings=fields.take("closings", _many(_parse_product_span), ()),
        skips=fields.take("skips", _many(_parse_skip), ()),
        remade=fields.take("remade", _many(_parse_product_span), ()),
        rewrites=fields.take("rewrites", _many(_parse_rewrite), ()),
        predicates=fields.take("predicates", _many(parse_predicate), ()),
        min_base=fields.take("min_base", _int, None),
    )
    fields.done()
    return delta


_MISSING = object()


class _Fields:
    """A JSON object of which every field must be taken once."""

    def __init__(self, raw: Json, what: str) -> None:
        self._raw, self._what = dict(raw), what

    def take(self, name: str, parse: Parse[T], default: Any = _MISSING) -> T:  # noqa: ANN401 - a T, or the mark
        if name not in self._raw:
            if default is _MISSING:
                raise InvariantError(f"{self._what} lacks {name!r}")
            return default
        value = self._raw.pop(name)
        try:
            return parse(value)
        except (TypeError, ValueError) as error:
            raise InvariantError(f"{self._what}.{name}: {error}") from error

    def done(self) -> None:
        if self._raw:
            raise InvariantError(f"{self._what} has unknown fields {sorted(self._raw)}: use a newer release")


def _int(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def _optional_str(value: object) -> str | None:
    return None if value is None else _str(value)


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return cast("list[Any]", value)


def _many(parse: Parse[T]) -> Parse[tuple[T, ...]]:
    return lambda value: tuple(parse(each) for each in _list(value))


def _fields(value: object, what: str) -> _Fields:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return _Fields(cast("Json", value), what)


def _log(log: SourcePartition) -> Json:
    return {"source": log.source_id, "partition": log.partition}


def _parse_log(fields: _Fields) -> SourcePartition:
    return SourcePartition(fields.take("source", _str), fields.take("partition", _int))


def _ranges(value: object) -> tuple[Range, ...]:
    ranges = tuple((_int(start), _int(end)) for start, end in _list(value))
    if merged(ranges) != ranges or (ranges and ranges[0][0] < 0):
        raise ValueError(f"{ranges} are not ascending, disjoint, non-adjacent and not empty")
    return ranges


MOST_RANGES = 32
"""A span of more is written as a bitmap, a third as long and less: every second offset of 65,536 is 500 kB as ranges,
and 11 kB so. Fewer stay as people can read them."""


def _span(span: Span) -> Json:
    if len(span.ranges) <= MOST_RANGES:
        return {**_log(span.log), "ranges": [list(each) for each in span.ranges]}
    return {**_log(span.log), "bitmap": base64.b64encode(bitmap_bytes(bitmap_of(span.ranges))).decode()}


def _bitmap(value: object) -> tuple[Range, ...]:
    try:
        data = base64.b64decode(_str(value), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    return bitmap_ranges(bitmap_read(data))


def _parse_span(fields: _Fields) -> Span:
    log = _parse_log(fields)
    bitmap: tuple[Range, ...] = fields.take("bitmap", _bitmap, ())
    return Span(log, bitmap or fields.take("ranges", _ranges))


def _parse_bare_span(value: object) -> Span:
    fields = _fields(value, "span")
    span = _parse_span(fields)
    fields.done()
    return span


def _parse_product_span(value: object) -> ProductSpan:
    fields = _fields(value, "covers")
    result = ProductSpan(fields.take("product", _str), _parse_span(fields))
    fields.done()
    return result


def _parse_skip(value: object) -> Skip:
    fields = _fields(value, "skip")
    result = Skip(fields.take("product", _str), _parse_span(fields), fields.take("reason", VoidReason))
    fields.done()
    return result


def _parse_start(value: object) -> Start:
    fields = _fields(value, "start")
    result = Start(fields.take("product", _str), _parse_log(fields), fields.take("offset", _int))
    fields.done()
    return result


def _parse_void(value: object) -> VoidCount:
    fields = _fields(value, "void")
    result = VoidCount(fields.take("product", _str), fields.take("reason", VoidReason), fields.take("items", _int))
    fields.done()
    return result


def _shard(shard: Shard) -> Json:
    names = ("product", "path", "rows", "tokens", "size_bytes", "sha256")
    return {name: getattr(shard, name) for name in names}


def _parse_shard(value: object) -> Shard:
    fields = _fields(value, "shard")
    result = Shard(
        product=fields.take("product", _str),
        path=fields.take("path", _str),
        rows=fields.take("rows", _int),
        tokens=fields.take("tokens", _int),
        size_bytes=fields.take("size_bytes", _int),
        sha256=fields.take("sha256", _str),
    )
    fields.done()
    return result


def _outcomes(file: OutcomeFile) -> Json:
    return {
        "product": file.product,
        "path": file.path,
        "letters": file.letters,
        "empties": file.empties,
        "open": [_span(span) for span in file.open],
    }


def _parse_outcomes(value: object) -> OutcomeFile:
    fields = _fields(value, "outcomes")
    result = OutcomeFile(
        product=fields.take("product", _str),
        path=fields.take("path", _str),
        letters=fields.take("letters", _int),
        empties=fields.take("empties", _int),
        open=fields.take("open", _many(_parse_bare_span)),
    )
    fields.done()
    return result


def _rewrite(rewrite: Rewrite) -> Json:
    return {
        "product": rewrite.product,
        "removes": list(rewrite.removes),
        "shards": [_shard(shard) for shard in rewrite.shards],
        "outcomes": [_outcomes(file) for file in rewrite.outcomes],
        "taken_down": rewrite.taken_down,
        "duplicates": rewrite.duplicates,
    }


def _parse_rewrite(value: object) -> Rewrite:
    fields = _fields(value, "rewrite")
    result = Rewrite(
        product=fields.take("product", _str),
        removes=fields.take("removes", _many(_str)),
        shards=fields.take("shards", _many(_parse_shard)),
        outcomes=fields.take("outcomes", _many(_parse_outcomes)),
        taken_down=fields.take("taken_down", _int),
        duplicates=fields.take("duplicates", _int),
    )
    fields.done()
    return result


def predicate_json(predicate: Predicate) -> Json:
    """A predicate as JSON."""
    return {"field": predicate.field, "value": predicate.value}


def parse_predicate(value: object) -> Predicate:
    """Back from `predicate_json`.

    Raises:
        InvariantError: a field is missing, unknown or of the wrong type.
        TypeError: not an object.
    """
    fields = _fields(value, "predicate")
    result = Predicate(fields.take("field", PredicateField), fields.take("value", _str))
    fields.done()
    return result


def product_json(product: Product) -> Json:
    """A product as JSON."""
    spec = product.spec
    return {
        "name": product.name,
        "revision": product.revision,
        "fingerprint": product.fingerprint,
        "modality": product.modality,
        "spec": {
            "kind": spec.kind,
            "modality": spec.modality,
            "view": spec.view,
            "axes": list(spec.axes),
            "codebook_sizes": list(spec.codebook_sizes),
            "dtype": spec.dtype,
            "shape": list(spec.shape),
        },
    }


def parse_product(value: object) -> Product:
    """Back from `product_json`.

    Raises:
        InvariantError: a field is missing, unknown or of the wrong type.
        TypeError: not an object.
    """
    fields = _fields(value, "product")
    result = Product(
        name=fields.take("name", _str),
        revision=fields.take("revision", _int),
        fingerprint=fields.take("fingerprint", _str),
        modality=fields.take("modality", Modality),
        spec=fields.take("spec", _parse_spec),
    )
    fields.done()
    return result


def _parse_spec(value: object) -> TokenSpec:
    fields = _fields(value, "spec")
    result = TokenSpec(
        kind=fields.take("kind", TokenKind),
        modality=fields.take("modality", Modality),
        view=fields.take("view", _str),
        axes=fields.take("axes", _many(_str)),
        codebook_sizes=fields.take("codebook_sizes", _many(_int)),
        dtype=fields.take("dtype", _str),
        shape=fields.take("shape", _many(_int)),
    )
    fields.done()
    return result


def _opening(opening: Opening) -> Json:
    return {"product": product_json(opening.product), "lane": opening.lane, "closes": opening.closes}


def _parse_opening(value: object) -> Opening:
    fields = _fields(value, "opening")
    result = Opening(
        product=fields.take("product", parse_product),
        lane=fields.take("lane", _str),
        closes=fields.take("closes", _optional_str),
    )
    fields.done()
    return result
