"""Rows and lakes for the report's tests: real schemas and shards, small tokenizers."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from operators.pack.schema import doc_id, doc_json, product_schema, sample_id, schema_facts, spec_of
from operators.pack.shard import write_shard
from operators.records import Modality, TokenSequence
from operators.spans import TokenSpan
from operators.tokenize.base import Tokenizer, TokenKind, TokenPart, TokenSpec
from pipeline.app.report.rows import ProductRows
from pipeline.graph import fingerprint
from pipeline.lake.delta import Opening, Start
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal
from pipeline.records import Letter, Product, Sealed, Shard, SourcePartition, Span, ranges_of

LOG = SourcePartition("log", 0)
HERE = "tests.pipeline.app.report.lakes"
LANES = {"text": {"products": {"bytes": {"tokenizer": "text-bytes"}}}}


class Pictures:
    """`[8, 8, 3]` uint8 <-> codes `[2, 2, 2]`: the first of each is the grey of a quarter by 16, the second is 0."""

    spec = TokenSpec(
        TokenKind.CODES, Modality.IMAGE, "rgb8:8x8:cover", ("y", "x", "layer"), (16, 16), "uint16", (2, 2, 2)
    )
    identity: Mapping[str, Any] = {"class": f"{HERE}:Pictures", "options": {}}

    def to(self, device: str) -> Pictures:
        return self

    def tokenize(self, batch: Any) -> Any:
        raise NotImplementedError

    def encode(self, window: np.ndarray) -> TokenSequence:
        grey = (window[::4, ::4, 0] // 16).astype(np.uint16)
        return TokenSequence(np.stack([grey, np.zeros_like(grey)], axis=-1))

    def decode(self, tokens: TokenSequence) -> np.ndarray:
        grey = np.kron(tokens.values[..., 0].astype(np.uint8) * 16, np.ones((4, 4), np.uint8))
        return np.repeat(grey[..., None], 3, axis=2)


class Sounds:
    """`[N, 1]` float32 at 1000 Hz <-> codes `[T, 2]`: each frame of 10 samples is one level, in sixteenths."""

    spec = TokenSpec(TokenKind.CODES, Modality.AUDIO, "pcm:1000:mono:1000+0", ("t", "layer"), (16, 4), "uint16")
    identity: Mapping[str, Any] = {"class": f"{HERE}:Sounds", "options": {}}

    def to(self, device: str) -> Sounds:
        return self

    def tokenize(self, batch: Any) -> Any:
        raise NotImplementedError

    def encode(self, window: np.ndarray) -> TokenSequence:
        level = (window[::10, 0] * 16).astype(np.uint16)
        return TokenSequence(np.stack([level, np.zeros_like(level)], axis=-1))

    def decode(self, tokens: TokenSequence) -> np.ndarray:
        return np.repeat(tokens.values[:, :1].astype(np.float32) / 16, 10, axis=0)


class Letterwise:
    """Bytes are codes."""

    spec = TokenSpec(TokenKind.CODES, Modality.TEXT, "utf8:64", ("t",), (256,), "uint16")
    identity: Mapping[str, Any] = {"class": f"{HERE}:Letterwise", "options": {}}

    def to(self, device: str) -> Letterwise:
        return self

    def tokenize(self, batch: Any) -> Any:
        raise NotImplementedError

    def encode(self, window: np.ndarray) -> TokenSequence:
        return TokenSequence(window.astype(np.uint16))

    def decode(self, tokens: TokenSequence) -> np.ndarray:
        return tokens.values.astype(np.uint8)


class Films:
    """The three of them, joined."""

    parts: tuple[Tokenizer, ...] = (Pictures(), Sounds(), Letterwise())
    spec = TokenSpec(
        TokenKind.CODES,
        Modality.VIDEO,
        "clip:2s:2fps:8x8:1000-mono+0:text",
        ("t",),
        (),
        "uint16",
        parts=(
            TokenPart("pictures", Modality.IMAGE, ("y", "x", "layer"), (16, 16), (2, 2, 2)),
            TokenPart("sounds", Modality.AUDIO, ("t", "layer"), (16, 4), (0, 2)),
            TokenPart("letterwise", Modality.TEXT, ("t",), (256,), (0,)),
        ),
    )
    identity: Mapping[str, Any] = {"class": f"{HERE}:Films", "options": {}}

    def to(self, device: str) -> Films:
        return self

    def tokenize(self, batch: Any) -> Any:
        raise NotImplementedError

    encode = decode = tokenize


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def identity_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """As the pipeline's plan has it: the tokenizer's own within all that the product's values depend on."""
    return {"format": 1, "view": tokenizer.spec.view, "tokenizer": dict(tokenizer.identity)}


def product_of(name: str, tokenizer: Tokenizer) -> Product:
    return Product(name, 1, fingerprint(identity_of(tokenizer)), tokenizer.spec.modality, tokenizer.spec)


def row(uri: str, tokens: np.ndarray, spans: Sequence[TokenSpan] = (), **columns: Any) -> dict[str, Any]:
    """A window; what is not given is as for an image that is alone in its message."""
    return {
        "doc_id": doc_id(doc_json(uri, "v1", "")),
        "window_index": 0,
        "window_count": 1,
        "uri": uri,
        "version": "v1",
        "sha256": "",
        "source_id": LOG.source_id,
        "partition": LOG.partition,
        "offset": 0,
        "item": 0,
        "dt": "2026-11-24",
        "start": 0,
        "end": 1,
        "rate_num": 0,
        "rate_den": 1,
        "codes": tokens.reshape(-1),
        "embedding": tokens.reshape(-1),
        "shape": tokens.shape,
        "spans": [asdict(span) for span in spans],
        "n_tokens": tokens.size,
        "width": 8,
        "height": 8,
        "duration": 0.0,
        "raw_start": 0,
        "partial": False,
        "attributes": "{}",
        **columns,
    }


def table_of(name: str, tokenizer: Tokenizer, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """With the real schema."""
    product = product_of(name, tokenizer)
    schema = product_schema(name, product.key, tokenizer.spec, identity_of(tokenizer))
    more = {"product": product.key, "modality": tokenizer.spec.modality.value}
    full = [
        {**more, **each, "sample_id": sample_id(doc_json(each["uri"], "v1", ""), product.key, each["start"])}
        for each in rows
    ]
    return pa.table([pa.array([each.get(f.name) for each in full], f.type) for f in schema], schema=schema)


def product_rows(
    name: str, tokenizer: Tokenizer, rows: Sequence[Mapping[str, Any]], *, inverse: bool = True, why_not: str = ""
) -> ProductRows:
    """As if they had been read from a lake."""
    table = table_of(name, tokenizer, rows)
    return ProductRows(
        product=product_of(name, tokenizer),
        lane=tokenizer.spec.modality.value,
        facts=schema_facts(table.schema),
        spec=spec_of(table.schema),
        table=table,
        whole=True,
        stored_bytes=1000,
        tokenizer=tokenizer if inverse else None,
        why_not=why_not,
    )


def make_lake(
    root: Path,
    products: Mapping[str, tuple[Tokenizer, Sequence[Mapping[str, Any]]]],
    letters: Sequence[Letter] = (),
    **options: Any,
) -> Lake:
    """A shard a product, in one commit; letters are of the first product. Offsets 0..9 are covered."""
    lake = Lake.open(str(root))
    lake = Lake(lake.store, **options)
    made = {name: product_of(name, tokenizer) for name, (tokenizer, _) in products.items()}
    lake.commit(
        Proposal(
            openings=tuple(Opening(product, product.modality.value) for product in made.values()),
            starts=tuple(Start(product.key, LOG, 0) for product in made.values()),
        )
    )
    sealed: list[Sealed] = []
    for index, (name, (tokenizer, rows)) in enumerate(products.items()):
        key = made[name].key
        shards = (bring_shard(lake, name, tokenizer, rows),) if rows else ()
        own = tuple(letters) if not index else ()
        sealed.append(Sealed(key, shards, (Span(LOG, ranges_of(range(10))),), letters=own))
    lake.commit(Proposal(tuple(sealed)))
    return lake


def bring_shard(lake: Lake, name: str, tokenizer: Tokenizer, rows: Sequence[Mapping[str, Any]]) -> Shard:
    """Written and uploaded, not committed."""
    table, key = table_of(name, tokenizer, rows), product_of(name, tokenizer).key
    with tempfile.TemporaryDirectory() as folder:
        facts = write_shard(Path(folder) / "shard", table.schema, table.to_batches())
        path = lake.upload_shard(Path(folder) / "shard", key, facts.index, "2026-11-24")
    return Shard(key, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256)
