"""Makes the lakes that every later version must open. Run once; the result is committed, not made anew.

python tests/golden/make_lake.py FOLDER            lake-v1
python tests/golden/make_lake.py FOLDER changed    lake-v1-changed
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from operators.pack.schema import doc_id, doc_json, product_schema, sample_id
from operators.pack.shard import write_shard
from operators.records import EmptyReason, Failure, Modality, Origin, VoidReason
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.lake.delta import Opening, Skip, Start
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.proposal import Proposal
from pipeline.lake.rewriting import compact, take_down
from pipeline.records import (
    Empty,
    Letter,
    Predicate,
    PredicateField,
    Product,
    Sealed,
    SealKind,
    Shard,
    SourcePartition,
    Span,
    ranges_of,
)

LOG = SourcePartition("golden-topic", 0)
OTHER = SourcePartition("golden-listing", 0)
SPEC = TokenSpec(TokenKind.CODES, Modality.IMAGE, "rgb8:2x2:cover", ("y", "x"), (1024,), "uint16", (2, 2))
FIRST = Product("image-rq", 1, "1a2b3c4d" * 8, Modality.IMAGE, SPEC)
SECOND = Product("image-rq", 2, "5e6f7a8b" * 8, Modality.IMAGE, SPEC)
DT = "2026-11-24"


def rows(product: Product, log: SourcePartition, offsets: tuple[int, ...]) -> pa.RecordBatch:
    """A row a message; its codes are offset, offset + 1, offset + 2, offset + 3."""
    schema = product_schema(product.name, product.key, product.spec, {"class": "golden"})
    count = len(offsets)
    docs = [doc_json(f"mem://{log.source_id}/{offset}.png", "v1", "") for offset in offsets]
    values = {
        "sample_id": [sample_id(doc, product.key, 0) for doc in docs],
        "doc_id": [doc_id(doc) for doc in docs],
        "window_index": [0] * count,
        "window_count": [1] * count,
        "uri": [f"mem://{log.source_id}/{offset}.png" for offset in offsets],
        "version": ["v1"] * count,
        "sha256": ["ab" * 32] * count,
        "source_id": [log.source_id] * count,
        "partition": [log.partition] * count,
        "offset": list(offsets),
        "item": [0] * count,
        "modality": ["image"] * count,
        "product": [product.key] * count,
        "dt": [DT] * count,
        "start": [0] * count,
        "end": [1] * count,
        "rate_num": [0] * count,
        "rate_den": [1] * count,
        "codes": [np.arange(offset, offset + 4, dtype=np.uint16) for offset in offsets],
        "shape": [[2, 2]] * count,
        "n_tokens": [4] * count,
        "width": [2] * count,
        "height": [2] * count,
        "text": ["a caption"] * count,
        "licence": [None] * count,
        "subject_key": [None] * count,
        "partial": [False] * count,
        "attributes": ["{}"] * count,
    }
    return pa.RecordBatch.from_arrays([pa.array(values[f.name], f.type) for f in schema], schema=schema)


def bring_shard(lake: Lake, product: Product, log: SourcePartition, *offsets: int) -> Shard:
    """Write and upload a shard with these messages' rows."""
    batch = rows(product, log, offsets)
    with tempfile.TemporaryDirectory() as folder:
        facts = write_shard(Path(folder) / "shard", batch.schema, [batch])
        path = lake.upload_shard(Path(folder) / "shard", product.key, facts.index, DT)
    return Shard(product.key, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256)


def span(log: SourcePartition, *offsets: int) -> Span:
    """These messages."""
    return Span(log, ranges_of(offsets))


def letter(product: Product, offset: int) -> Letter:
    """A message that was cut in half."""
    failure = Failure("decode.truncated", "decode", "the file ends after 17 bytes", "Traceback ...")
    return Letter(
        product=product.key,
        origin=Origin(LOG.source_id, LOG.partition, offset, 0),
        uri=f"mem://golden-topic/{offset}.png",
        failure=failure,
        topic="media.image",
        key=b"\x00\xffkey",
        value=b'{"uri": "..."}',
        headers=(("trace", b"\x01\x02"),),
        attempts=3,
        at_ms=1_795_000_000_000,
    )


def make_lake(root: Path) -> Lake:
    """Products, a successor, rows, letters, empties, voids, a gap, a replay, a checkpoint in the middle."""
    ids, clock = itertools.count(1), itertools.count(1_795_000_000_000, 1_000)
    lake = Lake(
        open_store(str(root)),
        writer="golden",
        now_ms=lambda: next(clock),
        new_id=lambda: f"{next(ids):032x}",
        checkpoint_every=4,
    )
    start = Proposal(
        openings=(Opening(FIRST, "image"),), starts=(Start(FIRST.key, LOG, 10), Start(FIRST.key, OTHER, 0))
    )
    lake.commit(start)
    first = Sealed(
        FIRST.key,
        shards=(bring_shard(lake, FIRST, LOG, 10, 11, 14),),
        covers=(span(LOG, 10, 11, 12, 13, 14, 15, 16),),
        letters=(letter(FIRST, 12), letter(FIRST, 13)),
        empties=(
            Empty(FIRST.key, Origin(LOG.source_id, 0, 15, 0), "mem://golden-topic/15.png", EmptyReason.NO_TOKENS),
        ),
        voids={VoidReason.TOMBSTONE: 1},
        voided=((VoidReason.TOMBSTONE, span(LOG, 16)),),
    )
    listing = Sealed(FIRST.key, (bring_shard(lake, FIRST, OTHER, 0),), (span(OTHER, 0),))
    lake.commit(Proposal((first, listing)))
    replay = Sealed(FIRST.key, (bring_shard(lake, FIRST, LOG, 12),), (span(LOG, 12),), kind=SealKind.REPLAY)
    lake.commit(Proposal((replay,)))
    lake.commit(Proposal(openings=(Opening(SECOND, "image"),)))
    ahead = Sealed(SECOND.key, (bring_shard(lake, SECOND, LOG, 20, 22),), (span(LOG, 20, 22),))
    lake.commit(Proposal((ahead,), skips=(Skip(SECOND.key, span(LOG, 17, 18)),)))
    lake.publish_live()
    return lake


def make_changed_lake(root: Path) -> Lake:
    """The lake above, then a re-tokenization, scattered coverage, a takedown, a compaction and a vacuum's floor."""
    make_lake(root)
    ids, clock = itertools.count(1_000), itertools.count(1_796_000_000_000, 1_000)
    lake = Lake(
        open_store(str(root)),
        writer="golden",
        now_ms=lambda: next(clock),
        new_id=lambda: f"{next(ids):032x}",
        checkpoint_every=8,
    )
    again = bring_shard(lake, SECOND, LOG, 10, 11)
    lake.commit(Proposal((Sealed(SECOND.key, (again,), (span(LOG, 10, 11),), kind=SealKind.RETOKENIZE),)))
    scattered = span(OTHER, *range(101, 1_000, 2))
    voids = {VoidReason.REMOVAL: scattered.count}
    lake.commit(
        Proposal((Sealed(SECOND.key, covers=(scattered,), voids=voids, voided=((VoidReason.REMOVAL, scattered),)),))
    )
    gone = [Predicate(PredicateField.URI, f"mem://golden-topic/{offset}.png") for offset in (11, 13)]
    take_down(lake, gone, lambda _: None)
    compact(lake, FIRST.key, 1 << 20, {}, lambda _: None)
    lake.commit(Proposal(min_base=5))
    lake.publish_live()
    return lake


if __name__ == "__main__":
    (make_changed_lake if sys.argv[2:] == ["changed"] else make_lake)(Path(sys.argv[1]))
