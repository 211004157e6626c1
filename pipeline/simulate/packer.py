"""A packer without a disk: the production assembler, a dict for a spool, a list of rows for a shard."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from operators.errors import TransientError
from operators.records import MediaReference, Origin
from pipeline.flow.assembly import Assembler, StoredRow, WholeMessage
from pipeline.flow.sealing import sealed_of
from pipeline.records import Delivery, PackReport, Sealed, Shard, SourcePartition
from pipeline.simulate.media import TOKEN_BYTES, Token


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A row as it will lie in the lake."""

    product: str
    origin: Origin
    window_index: int
    window_count: int
    token: Token
    subject: str | None = None

    @property
    def reference(self) -> MediaReference:
        """What it was made of."""
        attributes = {} if self.subject is None else {"subject_key": self.subject}
        return MediaReference(self.token.window.uri, self.origin, attributes=attributes)


@dataclass(frozen=True, slots=True)
class _Stored:
    reference: MediaReference
    token: Token


Upload = Callable[[str, tuple[ShardRow, ...]], Shard]
"""(product, rows) -> the shard, once it is in the store. Raises StoreUnavailableError."""


class SimulatedPacker:
    """What `pipeline.runtime.packer` does, with rows in memory.

    Args:
        products: their keys.
        upload: brings a shard into the store.
        target_bytes: a product is sealed when so much of it is whole.
        assembler: another one than the production's, with a mistake in it.
    """

    def __init__(
        self, products: Iterable[str], upload: Upload, target_bytes: int, assembler: Assembler | None = None
    ) -> None:
        self._products = tuple(products)
        self.assembler = assembler or Assembler(self._products)
        self._upload = upload
        self._target_bytes = target_bytes
        self._spool: dict[int, dict[int, _Stored]] = {}
        self._slots = itertools.count()

    @property
    def spooled_rows(self) -> int:
        """Rows that it holds."""
        return sum(map(len, self._spool.values()))

    def add(self, deliveries: Sequence[Delivery], batches: Sequence[Sequence[Token]]) -> PackReport:
        """Take deliveries, seal the products that have reached their size."""
        for delivery in deliveries:
            slot, count = next(self._slots), len(delivery.windows)
            if count:
                tokens = batches[delivery.batch][delivery.row : delivery.row + count]
                self._spool[slot] = {index: _Stored(delivery.reference, token) for index, token in enumerate(tokens)}
            self._release(self.assembler.accept(delivery, slot, 0, TOKEN_BYTES * count).released)
        full = [key for key in self._products if self.assembler.whole_bytes(key) >= self._target_bytes]
        return self._report(self._seal(full))

    def seal(self) -> PackReport:
        """Close and upload whatever is whole."""
        return self._report(self._seal(self._products))

    def forget(self, logs: Collection[SourcePartition]) -> PackReport:
        """These logs are someone else's."""
        self._release(self.assembler.forget(logs))
        return self._report(())

    def _seal(self, products: Iterable[str]) -> tuple[Sealed, ...]:
        """All of these products or none, as in production: what fails leaves the packer as it was."""
        sealed: list[Sealed] = []
        taken: list[tuple[str, list[WholeMessage]]] = []
        try:
            for product in products:
                messages = self.assembler.take_whole(product)
                if not messages:
                    continue
                taken.append((product, messages))
                rows = tuple(row for message in messages for row in self._rows(product, message))
                shards = (self._upload(product, rows),) if rows else ()
                sealed.append(sealed_of(product, messages, shards))
        except TransientError:
            for product, messages in taken:
                self.assembler.give_back(product, messages)
            raise
        for _, messages in taken:
            self._release(row for message in messages for item in message.items for row in item.rows)
        return tuple(sealed)

    def _rows(self, product: str, message: WholeMessage) -> Iterable[ShardRow]:
        for item in message.items:
            for index, place in enumerate(item.rows):
                stored = self._spool[place.slot][place.row]
                subject = stored.reference.attributes.get("subject_key")
                yield ShardRow(product, stored.reference.origin, index, len(item.rows), stored.token, subject)

    def _release(self, rows: Iterable[StoredRow]) -> None:
        for row in rows:
            del self._spool[row.slot][row.row]
            if not self._spool[row.slot]:
                del self._spool[row.slot]

    def _report(self, sealed: tuple[Sealed, ...]) -> PackReport:
        return PackReport(sealed, TOKEN_BYTES * self.spooled_rows, self.assembler.waiting_messages)
