"""`mediatok tokenize`: one file's tokens as JSON or Arrow, without Ray. Arrow rows are those of a lake."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from operators.errors import ConfigError
from operators.pack.rows import TokenizedSegment, finished_rows, waiting_rows
from operators.pack.schema import product_schema, schema_facts
from operators.records import MediaReference, Origin, TokenBatch, TokenSequence, WindowBatch, WindowMeta
from operators.tokenize import registry
from operators.tokenize.base import Precision, Tokenizer, TokenKind
from operators.window import parse_view
from pipeline.app.media_file import DEFAULT_TOKENIZERS, MediaFile, open_file, parse_options
from pipeline.graph import fingerprint

FORMATS = ("json", "arrow")
WINDOWS_A_CALL = 16


@dataclass(slots=True)
class _Changes:
    """How many codes differ from those of `exact`, the same tokenizer in float32."""

    exact: Tokenizer
    codes: int = 0
    changed: int = 0

    def count(self, batch: WindowBatch, tokens: TokenBatch) -> None:
        """Some windows' more."""
        self.codes += tokens.values.size
        self.changed += int(np.count_nonzero(self.exact.tokenize(batch).values != tokens.values))


@dataclass(frozen=True, slots=True)
class _Source:
    """What is tokenized, with what, into which schema; `changes` where that is not in float32."""

    media: MediaFile
    tokenizer: Tokenizer
    schema: pa.Schema
    changes: _Changes | None = None

    def segments(self) -> Iterator[tuple[list[WindowMeta], TokenBatch]]:
        """Windows and their tokens, a few at a time."""
        view = parse_view(self.tokenizer.spec.view)
        for windows in self.media.windows(view.key):
            for first in range(0, len(windows), WINDOWS_A_CALL):
                some = windows[first : first + WINDOWS_A_CALL]
                batch = view.stack([window for _, window in some])
                tokens = self.tokenizer.tokenize(batch)
                if self.changes is not None:
                    self.changes.count(batch, tokens)
                yield [meta for meta, _ in some], tokens


def tokenize_file(
    file: Path, tokenizer: str | None, form: str, out: Path | None, options: list[str], precision: str = "float32"
) -> int:
    """Write a file's tokens. Returns the exit code.

    Args:
        file: of any modality.
        tokenizer: its name; None: the default one of the file's modality.
        form: "json" or "arrow".
        out: where to; None: standard output for JSON, a file beside `file` for Arrow.
        options: of the tokenizer, as name=value.
        precision: of its encoder; where that is not float32, the share of codes that this changes is told.

    Raises:
        MediatokError: the file can't be decoded, or there is no such tokenizer or format.
    """
    if form not in FORMATS:
        raise ConfigError(f"--format: must be one of {', '.join(FORMATS)}, not {form!r}")
    if precision not in set(Precision):
        raise ConfigError(f"--precision: must be one of {', '.join(Precision)}, not {precision!r}")
    source = _source(file, tokenizer, parse_options(options), Precision(precision))
    if form == "arrow":
        path = out or file.with_name(f"{file.name}.tokens.arrow")
        rows = _write_arrow(source, path)
        _tell(f"{rows} rows in {path}")
    elif out is None:
        _write_json(source, sys.stdout)
    else:
        with out.open("w", encoding="utf-8") as stream:
            _write_json(source, stream)
    if (changes := source.changes) is not None:
        share = changes.changed / max(1, changes.codes)
        _tell(f"{changes.changed} of {changes.codes} codes ({share:.2%}) are others than in float32")
    return 0


def _tell(line: str) -> None:
    """Beside the output, for people."""
    print(line, file=sys.stderr)  # noqa: T201


def _source(file: Path, name: str | None, options: Mapping[str, Any], precision: Precision) -> _Source:
    built = registry.build(name, options) if name else None
    media = open_file(file, built.spec.modality if built else None)
    name = name or DEFAULT_TOKENIZERS[media.modality]
    exact = built or registry.build(name, options)
    tokenizer, changes = exact, None
    if precision is not Precision.FLOAT32:
        tokenizer = registry.in_precision(registry.build(name, options), precision)
        changes = _Changes(exact) if exact.spec.kind is TokenKind.CODES else None
    identity = registry.identity_of(tokenizer)
    plain = name.rpartition(":")[2].lower()
    key = f"{plain}-{fingerprint(identity)[:8]}"
    return _Source(media, tokenizer, product_schema(plain, key, tokenizer.spec, identity), changes)


def _write_json(source: _Source, stream: TextIO) -> None:
    """One object; each window on a line of its own, as soon as it is there."""
    head = {"file": str(source.media.path), "sha256": source.media.facts.sha256, **schema_facts(source.schema)}
    stream.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "windows": [')
    before = "\n"
    for metas, tokens in source.segments():
        for index, meta in enumerate(metas):
            stream.write(before + json.dumps(_window(meta, tokens[index]), ensure_ascii=False))
            before = ",\n"
    stream.write("\n]}\n")


def _window(meta: WindowMeta, tokens: TokenSequence) -> dict[str, Any]:
    values = tokens.values.reshape(-1).tolist()
    name = "embedding" if tokens.values.dtype.kind == "f" else "codes"
    facts: dict[str, Any] = {"start": meta.start, "end": meta.end, "rate": [meta.rate_num, meta.rate_den]}
    facts |= {"partial": True} if meta.partial else {}
    facts |= {"shape": list(tokens.values.shape), name: values}
    if tokens.spans:
        columns = ("tokenizer", "start", "length", "t0", "t1", "confidence", "text", "speaker", "language")
        spans = [{column: getattr(span, column) for column in columns} for span in tokens.spans]
        facts["spans"] = [{name: value for name, value in span.items() if value is not None} for span in spans]
    return facts


def _write_arrow(source: _Source, path: Path) -> int:
    reference = MediaReference(source.media.path.absolute().as_uri(), Origin("file", 0, 0, 0))
    waiting = [
        waiting_rows(source.schema, tokens, [TokenizedSegment(reference, source.media.facts, tuple(metas), 0)])
        for metas, tokens in source.segments()
    ]
    count, first = sum(batch.num_rows for batch in waiting), 0
    dt = datetime.now(UTC).date().isoformat()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, source.schema) as writer:
        for batch in waiting:
            index = np.arange(first, first + batch.num_rows, dtype=np.int32)
            writer.write_batch(finished_rows(source.schema, batch, index, np.full(len(index), count, np.int32), dt))
            first += batch.num_rows
    return count
