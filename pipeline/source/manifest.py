"""Manifests: tables whose rows are references. Parquet, JSON lines or CSV.

Columns of our own message (`uri`, `version` or `etag`, `modality`, `content_type`, `size_bytes`, `byte_range`,
`time_range_s`, `text`) keep their meaning, all others become attributes, so that `caption`, `licence` and `subject_key`
land in columns of their own. A relative `uri` lies beside the manifest (beside `text` it
is only a name). Empty cells are absent.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import IO, Any, Final, cast
from urllib.parse import quote
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from operators.errors import ConfigError
from pipeline.source.listing_rows import Row

SUFFIXES: Final = (".parquet", ".jsonl", ".ndjson", ".csv", ".jsonl.gz", ".ndjson.gz", ".csv.gz")
"""What is taken for a manifest, by its name."""

_TYPED: Final = ("size_bytes", "byte_range", "time_range_s", "attributes")
_OURS: Final = ("modality", "content_type", "size_bytes", "byte_range", "time_range_s", "text")


def is_manifest(uri: str) -> bool:
    """Whether its name says so."""
    return uri.rstrip("/").lower().endswith(SUFFIXES)


def manifest_rows(content: IO[bytes], uri: str) -> Iterator[Row]:
    """The rows of a manifest, in its order.

    Args:
        content: uncompressed; seekable for parquet.
        uri: of the manifest; its suffix tells the format.

    Raises:
        ConfigError: names the manifest, the row (from 1) and the column.
    """
    name = uri.lower().removesuffix(".gz")
    read = _parquet if name.endswith(".parquet") else _csv if name.endswith(".csv") else _jsonl
    try:
        for number, cells in enumerate(read(content, uri), 1):
            yield _row(cells, uri, f"{uri} row {number}")
    except (pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{uri}: can't be read as a manifest: {error}") from error


def _row(cells: Mapping[str, Any], manifest: str, where: str) -> Row:
    present = {name: _plain(value, f"{where}, column {name!r}") for name, value in cells.items()}
    present = {name: value for name, value in present.items() if value is not None and (value != "" or name == "text")}
    uri = present.pop("uri", None)
    if not isinstance(uri, str):
        raise ConfigError(f"{where}: has no `uri`")
    etag, named = present.pop("etag", None), present.pop("version", None)
    version = None if named is None and etag is None else str(etag if named is None else named)
    attributes = present.pop("attributes", {})
    if not isinstance(attributes, dict):
        raise ConfigError(f"{where}, column 'attributes': must be an object")
    message: dict[str, Any] = {"uri": uri if "text" in present else absolute(uri, manifest)}
    if version is not None:
        message["version"] = version
    message |= {name: present.pop(name) for name in _OURS if name in present}
    attributes = cast("dict[str, Any]", attributes) | present
    if attributes:
        message["attributes"] = attributes
    return Row(message, version or "")


def absolute(uri: str, manifest: str) -> str:
    """A uri as a manifest may give it, beside the manifest where it is relative."""
    if "://" in uri or uri.startswith("/"):
        return uri
    scheme, _, path = manifest.partition("://")
    beside = quote(uri) if scheme == "file" else uri  # of all schemes' paths, only these are quoted
    return f"{scheme}://{PurePosixPath(path).parent / beside}"


def _parquet(content: IO[bytes], uri: str) -> Iterator[Mapping[str, Any]]:
    table = pq.ParquetFile(content)
    _has_uri(table.schema_arrow.names, uri)
    for batch in table.iter_batches(batch_size=10_000):
        yield from batch.to_pylist()


def _jsonl(content: IO[bytes], uri: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(content, 1):
        if not line.strip():
            continue
        try:
            found: object = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{uri} line {number}: not JSON: {error}") from error
        if not isinstance(found, dict):
            raise ConfigError(f"{uri} line {number}: must be a JSON object")
        yield cast("dict[str, Any]", found)


def _csv(content: IO[bytes], uri: str) -> Iterator[Mapping[str, Any]]:
    table = csv.DictReader(io.TextIOWrapper(content, encoding="utf-8-sig", newline=""), strict=True)
    _has_uri(list(table.fieldnames or ()), uri)
    for number, cells in enumerate(table, 1):
        if None in cells:
            raise ConfigError(f"{uri} row {number}: has more cells than the header")
        yield {name: _typed(name, text, f"{uri} row {number}") for name, text in cells.items()}


def _typed(name: str, text: str | None, where: str) -> object:
    if not text or name not in _TYPED:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where}, column {name!r}: must be JSON, is {text!r}") from error


def _has_uri(names: list[str], uri: str) -> None:
    if "uri" not in names:
        raise ConfigError(f"{uri}: has no column `uri`, only {', '.join(names) or 'none at all'}")


def _plain(value: object, where: str) -> Any:  # noqa: ANN401
    """As JSON has it. NaN is absent, as pandas writes it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(name): _plain(item, where) for name, item in items}
    if isinstance(value, list | tuple):
        return [_plain(item, where) for item in cast("list[object]", value)]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise ConfigError(f"{where}: {type(value).__name__} has no place in JSON")
