"""`python -m tests.bench.verify`: how long, and in how much memory, a lake of many rows is verified."""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from operators.pack.schema import product_schema
from operators.pack.shard import write_shard
from operators.records import Modality
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.lake.delta import Opening, Start
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.proposal import Proposal
from pipeline.lake.verify import verify
from pipeline.records import Product, Sealed, Shard, SourcePartition, Span

SPEC = TokenSpec(TokenKind.CODES, Modality.IMAGE, "rgb8:2x2:cover", ("y", "x"), (1024,), "uint16", (2, 2))
PRODUCT = Product("image-rq", 1, "1a2b3c4d" * 8, Modality.IMAGE, SPEC)
LOG = SourcePartition("kafka:rkDu_jnDQRS1PpdPdVAy9w", 0)
WINDOWS = 4
"""An item: each has so many rows."""


def batch(first: int, rows: int) -> pa.RecordBatch:
    """Rows of the messages from `first` on; all columns but the origin's say the same."""
    schema = product_schema(PRODUCT.name, PRODUCT.key, SPEC, {"class": "bench"})
    at = np.arange(rows)
    own = {
        "offset": first + at // WINDOWS,
        "window_index": at % WINDOWS,
        "window_count": np.full(rows, WINDOWS),
        "partition": np.zeros(rows),
        "item": np.zeros(rows),
        "n_tokens": np.full(rows, 4),
        "start": at % WINDOWS,
        "end": at % WINDOWS + 1,
    }
    texts = {
        "source_id": LOG.source_id,
        "uri": "s3://media/some/folder/of/pictures/0123456789.jpg",
        "product": PRODUCT.key,
    }
    arrays = list[pa.Array]()
    for field in schema:
        if field.name in own:
            arrays.append(pa.array(own[field.name], field.type))
        elif pa.types.is_string(field.type):
            arrays.append(pa.repeat(pa.scalar(texts.get(field.name, "0123456789abcdef" * 2)), rows))
        elif pa.types.is_list(field.type):
            value = [2, 2] if field.name == "shape" else [1, 2, 3, 4]
            arrays.append(pa.repeat(pa.scalar(value, field.type), rows))
        else:
            arrays.append(pa.nulls(rows, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def make_lake(root: Path, shards: int, rows: int) -> Lake:
    """A version a shard."""
    lake = Lake(open_store(str(root)))
    lake.commit(Proposal(openings=(Opening(PRODUCT, "image"),), starts=(Start(PRODUCT.key, LOG, 0),)))
    for number in range(shards):
        first, messages = number * (rows // WINDOWS), rows // WINDOWS
        made = batch(first, rows)
        local = root.parent / "shard"
        facts = write_shard(local, made.schema, [made])
        path = lake.upload_shard(local, PRODUCT.key, facts.index, "2026-11-24")
        shard = Shard(PRODUCT.key, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256)
        lake.commit(Proposal((Sealed(PRODUCT.key, (shard,), (Span(LOG, ((first, first + messages),)),)),)))
    return lake


def main() -> None:
    """Make, verify, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.verify", description=__doc__)
    parser.add_argument("--shards", type=int, default=50)
    parser.add_argument("--rows", type=int, default=200_000, help="of a shard")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="mediatok-verify-bench-") as folder:
        lake = make_lake(Path(folder) / "lake", given.shards, given.rows)
        size_bytes = sum(shard.size_bytes for shard in lake.state.shards[PRODUCT.key].values())
        before = resource.getrusage(resource.RUSAGE_SELF)
        started_s = time.perf_counter()
        report = verify(lake.store)
        took_s = time.perf_counter() - started_s
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert report.ok, report.findings[:5]
    (tally,) = report.products
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{tally.rows:,} rows of {tally.items:,} items in {report.shards} shards, {size_bytes / 1e9:.1f} GB: "
        f"{took_s:.1f} s, {cpu_s:.1f} s of CPU, {tally.rows / took_s:,.0f} rows a second; "
        f"memory peaked at {after.ru_maxrss / 1024:,.0f} MiB, {before.ru_maxrss / 1024:,.0f} MiB before"
    )


if __name__ == "__main__":
    main()
