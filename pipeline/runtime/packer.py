"""One packer: deliveries in, uploaded shards of whole messages out.

Tokens lie in the spool from the call that brings them to the seal that uploads them; in memory there is where they lie,
and the letters. What fails leaves the packer as if it had not been tried: a call that found no room can be
made again after a seal, and messages whose upload failed are sealed again by the next call (what had been uploaded
is an orphan, for vacuum).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from operators.errors import InvariantError
from operators.pack.gather import PlacedRows
from operators.pack.rows import TokenizedSegment, waiting_rows
from operators.pack.schema import product_schema
from operators.pack.shard import BATCH_BYTES, row_sizes, write_shard
from operators.pack.spool import Spool, full_disk_stops
from operators.records import TokenBatch
from pipeline.flow.assembly import Assembler, StoredRow, WholeMessage
from pipeline.flow.calls import SealReason
from pipeline.flow.sealing import sealed_of
from pipeline.records import (
    Delivery,
    PackReport,
    Product,
    Sealed,
    Shard,
    SourcePartition,
)

Upload = Callable[[Path, str, bytes, str], str]
"""(local file, product key, sidecar, dt) -> path below the lake's root. It may move the file away."""

TARGET_BYTES = 128 << 20
LIMIT_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class PackedProduct:
    """A product and the identity of its tokenizer, which goes into its schema."""

    product: Product
    identity: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PackerStatus:
    """What a packer holds.

    Attributes:
        waiting_messages: begun and not sealed, counted once a product.
        whole_messages, whole_bytes: of these what a seal would give, by product key.
        oldest_whole_age_s: since when something could be sealed.
        seals: how many were made so far, by reason.
    """

    spooled_bytes: int
    waiting_messages: int
    whole_messages: Mapping[str, int]
    whole_bytes: Mapping[str, int]
    oldest_whole_age_s: float
    seals: Mapping[SealReason, int]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a delivery's rows went."""

    slot: int = -1
    row: int = 0
    size_bytes: int = 0


class Packer:
    """Assembles, spools, seals and uploads for some products. For one thread.

    Args:
        products: that it may be given.
        spool_dir: of this process alone; wiped.
        upload: brings a finished shard into the lake.
        now_ms: UTC.
        target_bytes: a product is sealed when so much of it is whole; shards have one to two times this.
        limit_bytes: of the spool. A seal needs the size of one shard beyond it.
        batch_bytes: of the record batches in a shard.
    """

    def __init__(
        self,
        products: Sequence[PackedProduct],
        spool_dir: Path,
        upload: Upload,
        now_ms: Callable[[], int],
        *,
        target_bytes: int = TARGET_BYTES,
        limit_bytes: int = LIMIT_BYTES,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self._schemas: dict[str, pa.Schema] = {
            packed.product.key: product_schema(
                packed.product.name, packed.product.key, packed.product.spec, packed.identity
            )
            for packed in products
        }
        self._spool = Spool(spool_dir, limit_bytes)
        self._assembler = Assembler(self._schemas)
        self._upload = upload
        self._now_ms = now_ms
        self._target_bytes = target_bytes
        self._batch_bytes = batch_bytes
        self._whole_since_ms: dict[str, int] = {}
        self._seals = Counter[SealReason]()
        self._files = 0

    def add(self, deliveries: Sequence[Delivery], batches: Sequence[TokenBatch]) -> PackReport:
        """Take deliveries, seal what has reached its size, and report that.

        The same call made again after an error does no harm: what was taken then is a duplicate now.

        Args:
            deliveries: in the order in which they came.
            batches: the tokens that they index; not kept.

        Raises:
            SpoolFullError: no room for these rows; nothing was taken.
            SpoolDiskFullError: the disk is full.
            TransientError: from the upload; the deliveries are taken, the seal is yet to be made.
            InvariantError: deliveries that contradict each other or their tokens.
        """
        places = self._store(deliveries, batches)
        released: list[StoredRow] = []
        for delivery, place in zip(deliveries, places, strict=True):
            released += self._assembler.accept(delivery, place.slot, place.row, place.size_bytes).released
        self._release(released)
        self._note_whole()
        full = [key for key in self._schemas if self._assembler.whole_bytes(key) >= self._target_bytes]
        return self._report(self._seal(full, SealReason.SIZE))

    def seal(self, reason: SealReason) -> PackReport:
        """Close, upload and report every message that is whole, whatever its size.

        Raises:
            SpoolDiskFullError: the disk is full.
            TransientError: from the upload; nothing was sealed and all is as before.
        """
        return self._report(self._seal(list(self._schemas), reason))

    def forget(self, logs: Collection[SourcePartition]) -> PackReport:
        """These logs are someone else's: nothing held of them will be reported."""
        self._release(self._assembler.forget(logs))
        self._note_whole()
        return self._report(())

    def status(self) -> PackerStatus:
        """What it holds now."""
        oldest_ms = min(self._whole_since_ms.values(), default=None)
        return PackerStatus(
            spooled_bytes=self._spool.size_bytes,
            waiting_messages=self._assembler.waiting_messages,
            whole_messages={key: self._assembler.whole_messages(key) for key in self._schemas},
            whole_bytes={key: self._assembler.whole_bytes(key) for key in self._schemas},
            oldest_whole_age_s=0.0 if oldest_ms is None else (self._now_ms() - oldest_ms) / 1000,
            seals=dict(self._seals),
        )

    def close(self) -> None:
        """Delete the spool."""
        self._spool.close()

    def _store(self, deliveries: Sequence[Delivery], batches: Sequence[TokenBatch]) -> list[_Place]:
        """Write all rows to the spool, a slot for each product and token batch.

        Within a slot they lie as they will in the shard, so that sealing finds runs and not single rows.
        """
        groups: dict[tuple[str, int], list[int]] = {}
        for number, delivery in enumerate(deliveries):
            if delivery.windows:
                if delivery.product not in self._schemas or not 0 <= delivery.batch < len(batches):
                    raise InvariantError(f"no such product or batch: {delivery.product}, {delivery.batch}")
                groups.setdefault((delivery.product, delivery.batch), []).append(number)
        places = [_Place()] * len(deliveries)
        written: list[tuple[int, int]] = []
        try:
            for (product, batch), members in groups.items():
                members.sort(key=lambda number: _shard_order(deliveries[number]))
                segments = [_segment(deliveries[number]) for number in members]
                rows = waiting_rows(self._schemas[product], batches[batch], segments)
                slot = self._spool.append(rows)
                written.append((slot, rows.num_rows))
                ends = np.concatenate([[0], np.cumsum(row_sizes(rows))])
                first = 0
                for number, segment in zip(members, segments, strict=True):
                    last = first + len(segment.windows)
                    places[number] = _Place(slot, first, int(ends[last] - ends[first]))
                    first = last
        except BaseException:
            for slot, count in written:
                self._spool.release(slot, count)
            raise
        return places

    def _seal(self, products: Iterable[str], reason: SealReason) -> tuple[Sealed, ...]:
        """All of these products or none: the rows are let go once every upload is done."""
        sealed: list[Sealed] = []
        taken: list[tuple[str, list[WholeMessage]]] = []
        uploaded: list[PlacedRows] = []
        try:
            for product in products:
                messages = self._assembler.take_whole(product)
                if messages:
                    taken.append((product, messages))
                    rows = PlacedRows.of_items([item.rows for message in messages for item in message.items])
                    sealed.append(sealed_of(product, messages, self._write(product, rows)))
                    uploaded.append(rows)
        except BaseException:
            for product, messages in taken:
                self._assembler.give_back(product, messages)
            raise
        for rows in uploaded:
            rows.release(self._spool)
        if sealed:
            self._seals[reason] += 1
        self._note_whole()
        return tuple(sealed)

    def _write(self, product: str, rows: PlacedRows) -> tuple[Shard, ...]:
        """Write and upload a product's rows, streaming them from the spool."""
        dt = datetime.fromtimestamp(self._now_ms() / 1000, UTC).date().isoformat()
        schema, shards = self._schemas[product], list[Shard]()
        for part in rows.split(self._target_bytes):
            local = self._spool.directory / f"shard-{product}-{self._files}.arrow"
            self._files += 1
            try:
                with full_disk_stops(self._spool.directory):
                    facts = write_shard(local, schema, part.stream(self._spool, schema, dt), self._batch_bytes)
                path = self._upload(local, product, facts.index, dt)
            finally:
                local.unlink(missing_ok=True)
            shards.append(Shard(product, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256))
        return tuple(shards)

    def _release(self, rows: Iterable[StoredRow]) -> None:
        for slot, count in Counter(row.slot for row in rows).items():
            self._spool.release(slot, count)

    def _note_whole(self) -> None:
        """Since when each product has had something to seal."""
        for key in self._schemas:
            if not self._assembler.whole_messages(key):
                self._whole_since_ms.pop(key, None)
            elif key not in self._whole_since_ms:
                self._whole_since_ms[key] = self._now_ms()

    def _report(self, sealed: tuple[Sealed, ...]) -> PackReport:
        return PackReport(sealed, self._spool.size_bytes, self._assembler.waiting_messages)


def _segment(delivery: Delivery) -> TokenizedSegment:
    return TokenizedSegment(delivery.reference, delivery.facts, delivery.windows, delivery.row)


def _shard_order(delivery: Delivery) -> tuple[str, int, int, int, int]:
    origin = delivery.reference.origin
    return origin.source_id, origin.partition, origin.offset, origin.item, delivery.windows[0].start
