"""The rows that a report is drawn from: the newest shards of each open product, and what its tokenizer is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2, prod
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.pack.schema import schema_facts, spec_of
from operators.records import Modality, TokenSequence
from operators.tokenize.base import Tokenizer, TokenKind, TokenPart, TokenSpec
from pipeline.lake.lake import Lake
from pipeline.lake.reader import read_shard, visible
from pipeline.records import Product

READ_BYTES = 256 << 20
"""Of a product's shards; the newest is read whatever its size."""
T = TypeVar("T")


class NotShownError(Exception):
    """Something can't be shown; the message says why, in a sentence for people."""


@dataclass(frozen=True, slots=True, eq=False)
class ProductRows:
    """An open product's newest rows.

    Attributes:
        facts: the JSON of its schema's metadata.
        whole: these are all of its rows.
        stored_bytes: of the shards that were read.
        tokenizer: its tokenizer, rebuilt; None where that can't be, and `why_not` says why.
    """

    product: Product
    lane: str
    facts: Mapping[str, Any]
    spec: TokenSpec
    table: pa.Table
    whole: bool
    stored_bytes: int
    tokenizer: Tokenizer | None = None
    why_not: str = ""

    @property
    def parts(self) -> tuple[TokenPart, ...]:
        """Of a joined product; else none."""
        return self.spec.parts

    @property
    def inverse(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            NotShownError: there is none.
        """
        if self.tokenizer is None:
            raise NotShownError(self.why_not)
        return self.tokenizer

    def value(self, row: int, column: str) -> Any:  # noqa: ANN401
        """A cell; None where the product has no such column."""
        return self.table.column(column)[row].as_py() if column in self.table.column_names else None

    def tokens(self, row: int) -> TokenSequence:
        """A window's tokens, in their shape."""
        name = "codes" if self.spec.kind is TokenKind.CODES else "embedding"
        values = self.table.column(name)[row].values.to_numpy(zero_copy_only=False)
        return TokenSequence(values.reshape(tuple(self.value(row, "shape"))).copy())  # Arrow memory is not writeable

    def items(self) -> dict[str, tuple[int, ...]]:
        """By document, the rows of its windows 0, 1, 2, ... as far as they were read; in the order of the rows.

        A document that was announced twice is there once.
        """
        documents = self.table.column("doc_id").to_pylist()
        found: dict[str, dict[int, int]] = {}
        for row, window in enumerate(self.table.column("window_index").to_pylist()):
            found.setdefault(documents[row], {}).setdefault(window, row)
        runs = {document: _from_zero(windows) for document, windows in found.items()}
        return {document: run for document, run in runs.items() if run}


def read_rows(lake: Lake) -> list[ProductRows]:
    """The newest rows of each open product that has any.

    Raises:
        ShardCorruptError: a live file is not what was written.
    """
    found: list[ProductRows] = []
    for key, known in lake.state.products.items():
        shards = list(lake.state.shards[key].values()) if known.open else []
        tables: list[pa.Table] = []
        size_bytes = 0
        for shard in reversed(shards):
            if tables and size_bytes + shard.size_bytes > READ_BYTES:
                break
            tables.append(visible(read_shard(lake.store, shard), lake.state.predicates))
            size_bytes += shard.size_bytes
        if not tables:
            continue
        table = pa.concat_tables(reversed(tables))
        facts, whole = schema_facts(table.schema), len(tables) == len(shards)
        found.append(ProductRows(known.product, known.lane, facts, spec_of(table.schema), table, whole, size_bytes))
    return found


def bits_of(spec: TokenSpec, codes: int) -> float:
    """What so many codes (or, for embeddings, so many values) can say at most."""
    if spec.kind is TokenKind.EMBEDDINGS:
        return float(codes * np.dtype(spec.dtype).itemsize * 8)
    return codes * bits_a_code(spec.codebook_sizes)


def bits_a_code(codebook_sizes: Sequence[int]) -> float:
    """The mean over the last axis; 0.0 where nothing is known of codebooks."""
    return sum(log2(size) for size in codebook_sizes) / len(codebook_sizes) if codebook_sizes else 0.0


def n_values(rows: ProductRows) -> int:
    """Codes or values of embeddings in all rows."""
    if rows.spec.kind is TokenKind.EMBEDDINGS:
        return len(rows.table) * prod(rows.spec.shape)
    return sum(len(chunk.flatten()) for chunk in rows.table.column("codes").chunks)


def span_lengths(rows: ProductRows) -> npt.NDArray[np.int64]:
    """`[parts]`: codes of each part of a joined product, in all rows."""
    counts = np.zeros(len(rows.parts), np.int64)
    for chunk in rows.table.column("spans").chunks:
        spans = chunk.flatten()  # unlike `values`, of a slice only what is its own
        tokenizers, lengths = (spans.field(name).to_numpy(zero_copy_only=False) for name in ("tokenizer", "length"))
        counts += np.bincount(tokenizers, lengths, len(counts)).astype(np.int64)
    return counts


def evenly(things: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly picked."""
    if len(things) <= most:
        return list(things)
    return [things[index * len(things) // most] for index in range(most)]


def by_view(rows: Iterable[ProductRows], modality: Modality) -> list[list[ProductRows]]:
    """Products that take the same windows, side by side."""
    groups: dict[str, list[ProductRows]] = {}
    for each in rows:
        if each.spec.modality is modality:
            groups.setdefault(each.spec.view, []).append(each)
    return list(groups.values())


def _from_zero(windows: Mapping[int, int]) -> tuple[int, ...]:
    run: list[int] = []
    while (row := windows.get(len(run))) is not None:
        run.append(row)
    return tuple(run)
