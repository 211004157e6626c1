"""Which rows make a whole message: the packer's decisions, without its disk.

The assembler is told what came (a `Delivery`) and where its rows lie (a slot of the spool and the first row in it),
and answers which rows are no longer wanted. Rows are keyed by (origin, product, window start) and the first wins. A
higher attempt at an item replaces all that lower ones brought; a lower one is stale. An item is whole when the
`last` segment of its attempt has come and as many windows as that one counts in `total` (segments may overtake each
other), or when it ended without rows; a message is whole in a product when all its items are.

What was taken stays known (a roaring bitmap a log) until the log is forgotten, so that a straggler of an
attempt long given up neither repeats a message nor waits for ever for the rest of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pyroaring import BitMap64

from operators.errors import InvariantError
from operators.records import VoidReason, WindowMeta
from pipeline.records import Delivery, Empty, Letter, SourcePartition

Ending = Letter | Empty | VoidReason
"""How an item ended without rows."""


class Verdict(StrEnum):
    """What became of a delivery."""

    ACCEPTED = "accepted"
    """At least one of its windows, or its end, was new."""
    STALE = "stale"
    """A higher attempt at its item is known."""
    DUPLICATE = "duplicate"
    """Everything in it was here already, or its message is taken."""


class AttemptOrder(StrEnum):
    """An attempt compared with the one that an item is held under."""

    LOWER = "lower"
    SAME = "same"
    HIGHER = "higher"


class StoredRow(NamedTuple):
    """Where a row lies in the spool, and roughly how large it is."""

    slot: int
    row: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The answer to a delivery.

    Attributes:
        released: rows that nobody wants any more: of this delivery, or of what it replaced.
    """

    verdict: Verdict
    released: tuple[StoredRow, ...] = ()


_ACCEPTED = Acceptance(Verdict.ACCEPTED)


@dataclass(frozen=True, slots=True)
class WholeItem:
    """An item with its outcome.

    Attributes:
        attempt: that brought it.
        rows: ascending by window start; empty where it `ended`.
        ended: how, where it has no rows.
    """

    item: int
    attempt: int
    rows: tuple[StoredRow, ...]
    ended: Ending | None


@dataclass(frozen=True, slots=True)
class WholeMessage:
    """A message whose items all have their outcome in one product, ascending by item."""

    log: SourcePartition
    offset: int
    items: tuple[WholeItem, ...]


_LogKey = tuple[str, int]
_MessageKey = tuple[str, int, int]
"""(source_id, partition, offset): plain tuples hash and sort several times faster than records."""


@dataclass(slots=True)
class _Item:
    """One item under its highest attempt so far. `total` is how many rows it will have; -1 until that is known."""

    attempt: int
    rows: dict[int, StoredRow] = field(default_factory=dict[int, StoredRow])
    total: int = -1
    whole: bool = False
    ended: Ending | None = None


@dataclass(slots=True)
class _Message:
    items: int
    parts: dict[int, _Item] = field(default_factory=dict[int, _Item])

    @property
    def whole(self) -> bool:
        if len(self.parts) < self.items:
            return False
        return all(part.whole for part in self.parts.values())

    @property
    def size_bytes(self) -> int:
        return sum([row.size_bytes for part in self.parts.values() for row in part.rows.values()])


@dataclass(slots=True)
class _Shelf:
    """What is held of one product. `whole` is the part of `waiting` that could be taken, and its bytes."""

    waiting: dict[_MessageKey, _Message] = field(default_factory=dict[_MessageKey, _Message])
    whole: dict[_MessageKey, int] = field(default_factory=dict[_MessageKey, int])
    whole_bytes: int = 0
    taken: dict[_LogKey, BitMap64] = field(default_factory=dict[_LogKey, BitMap64])


class Assembler:
    """Assembles the messages of some products. Holds no tokens: only where they lie.

    Args:
        products: their keys.
    """

    def __init__(self, products: Iterable[str]) -> None:
        self._shelves = {product: _Shelf() for product in products}

    @property
    def waiting_messages(self) -> int:
        """Messages begun and not taken, whole ones too, counted once a product."""
        return sum(len(shelf.waiting) for shelf in self._shelves.values())

    def whole_messages(self, product: str) -> int:
        """How many messages `take_whole` would give."""
        return len(self._shelf(product).whole)

    def whole_bytes(self, product: str) -> int:
        """Size of the rows that `take_whole` would give."""
        return self._shelf(product).whole_bytes

    def accept(self, delivery: Delivery, slot: int = -1, row: int = 0, size_bytes: int = 0) -> Acceptance:
        """Take note of a delivery.

        Args:
            delivery: what came.
            slot: of the spool, where its rows lie; any where it has no windows.
            row: of its first window in that slot.
            size_bytes: of its rows together.

        Raises:
            InvariantError: what cannot be: an unknown product, more items than are to be done of a message, two counts
                of them, an ending with windows, a last segment that counts no windows or fewer than have come.
        """
        shelf, origin = self._shelf(delivery.product), delivery.reference.origin
        key = (origin.source_id, origin.partition, origin.offset)
        each = size_bytes // max(1, len(delivery.windows))
        brought = tuple(StoredRow(slot, row + index, each) for index in range(len(delivery.windows)))
        if origin.offset in shelf.taken.get(key[:2], ()):
            return Acceptance(Verdict.DUPLICATE, brought)
        message = self._message(shelf, key, delivery)
        part, replaced = message.parts.get(origin.item), ()
        if part is not None:
            order = self._compare_attempts(part.attempt, delivery.attempt)
            if order is AttemptOrder.LOWER:
                return Acceptance(Verdict.STALE, brought)
            if order is AttemptOrder.HIGHER:
                part, replaced = None, tuple(part.rows.values())
            elif part.whole:
                return Acceptance(Verdict.DUPLICATE, brought)
        if part is None:
            self._reopen(shelf, key)
            part = message.parts[origin.item] = _Item(delivery.attempt)
        added = self._add(part, delivery, brought)
        if message.whole:
            self._close(shelf, key, message)
        return Acceptance(added.verdict, replaced + added.released) if replaced else added

    def take_whole(self, product: str) -> list[WholeMessage]:
        """All whole messages of a product, ascending by log and offset. They count as taken."""
        shelf = self._shelf(product)
        keys = sorted(shelf.whole)
        logs = {key[:2]: SourcePartition(*key[:2]) for key in keys}
        messages = [_whole(logs[key[:2]], key[2], shelf.waiting.pop(key)) for key in keys]
        for key in keys:
            shelf.taken.setdefault(key[:2], BitMap64()).add(key[2])
        shelf.whole.clear()
        shelf.whole_bytes = 0
        return messages

    def give_back(self, product: str, messages: Iterable[WholeMessage]) -> None:
        """Undo `take_whole` for messages that could not be sealed."""
        shelf = self._shelf(product)
        for whole in messages:
            key = (whole.log.source_id, whole.log.partition, whole.offset)
            shelf.taken[key[:2]].discard(whole.offset)
            message = shelf.waiting[key] = _Message(len(whole.items))
            for item in whole.items:
                # Windows are compared only while an item is not whole: their place serves as key.
                rows = dict(enumerate(item.rows))
                message.parts[item.item] = _Item(item.attempt, rows, len(rows), whole=True, ended=item.ended)
            self._close(shelf, key, message)

    def forget(self, logs: Iterable[SourcePartition]) -> tuple[StoredRow, ...]:
        """Drop what is held of these logs, whole or not, and that it was ever taken; returns its rows."""
        gone = {(log.source_id, log.partition) for log in logs}
        released: list[StoredRow] = []
        for shelf in self._shelves.values():
            for key in [key for key in shelf.waiting if key[:2] in gone]:
                self._reopen(shelf, key)
                for part in shelf.waiting.pop(key).parts.values():
                    released += part.rows.values()
            for log in gone:
                shelf.taken.pop(log, None)
        return tuple(released)

    def _compare_attempts(self, held: int, brought: int) -> AttemptOrder:
        """How the attempt that brought something compares with the one that its item is held under."""
        if brought == held:
            return AttemptOrder.SAME
        return AttemptOrder.HIGHER if brought > held else AttemptOrder.LOWER

    def _window_key(self, window: WindowMeta) -> int:
        """What two windows of one item in one product share if they are the same window."""
        return window.start

    def _shelf(self, product: str) -> _Shelf:
        if product not in self._shelves:
            raise InvariantError(f"product {product} is not assembled here")
        return self._shelves[product]

    @staticmethod
    def _message(shelf: _Shelf, key: _MessageKey, delivery: Delivery) -> _Message:
        """The message's state, made if this is the first of it."""
        message, item = shelf.waiting.get(key), delivery.reference.origin.item
        expected = delivery.items if message is None else message.items
        held = () if message is None else message.parts
        if delivery.items != expected or item < 0 or (item not in held and len(held) >= expected):
            has = f"{len(held)} of {expected}"
            raise InvariantError(f"item {item} of {delivery.items} in message {key}, which has {has}")
        if message is None:
            message = shelf.waiting[key] = _Message(delivery.items)
        return message

    def _add(self, part: _Item, delivery: Delivery, brought: tuple[StoredRow, ...]) -> Acceptance:
        """Put a delivery's rows, or its ending, to an item that is not whole yet."""
        if delivery.ended is not None:
            if brought:
                raise InvariantError(f"{delivery.reference.origin} ended without rows and yet brought some")
            released, part.rows = tuple(part.rows.values()), {}
            part.whole, part.ended = True, delivery.ended
            return Acceptance(Verdict.ACCEPTED, released)
        repeated: list[StoredRow] = []
        for window, row in zip(delivery.windows, brought, strict=True):
            if part.rows.setdefault(self._window_key(window), row) is not row:
                repeated.append(row)
        is_news = delivery.last and part.total < 0
        if is_news:
            part.total = delivery.total
        if (is_news and part.total < 1) or len(part.rows) > part.total >= 0:
            counts = f"{len(part.rows)} rows of {part.total}"
            raise InvariantError(f"{delivery.reference.origin} in {delivery.product} has {counts} and no other ending")
        part.whole = len(part.rows) == part.total
        nothing_new = len(repeated) == len(brought) and not is_news
        if not repeated and not nothing_new:
            return _ACCEPTED
        return Acceptance(Verdict.DUPLICATE if nothing_new else Verdict.ACCEPTED, tuple(repeated))

    @staticmethod
    def _close(shelf: _Shelf, key: _MessageKey, message: _Message) -> None:
        """All items are whole: the message can be taken."""
        shelf.whole[key] = message.size_bytes
        shelf.whole_bytes += shelf.whole[key]

    @staticmethod
    def _reopen(shelf: _Shelf, key: _MessageKey) -> None:
        """An item begins anew: its message is no longer whole, if it was."""
        shelf.whole_bytes -= shelf.whole.pop(key, 0)


def _whole(log: SourcePartition, offset: int, message: _Message) -> WholeMessage:
    items = tuple(
        WholeItem(item, part.attempt, tuple(row for _, row in sorted(part.rows.items())), part.ended)
        for item, part in sorted(message.parts.items())
    )
    return WholeMessage(log, offset, items)
