"""The messages in flight: admitted, not yet committed. Who packs them, which try counts, what they still owe."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from operators.records import Origin, VoidReason
from pipeline.flow.calls import Item, Lease
from pipeline.flow.ranges import merged
from pipeline.records import Letter, Message, Range, Sealed, SourcePartition, Span, Wanted

_ALL: Wanted = {}


@dataclass(slots=True)
class Progress:
    """How far the try at an item that counts has come.

    Attributes:
        ranges: that are not finished.
        windows: by view, how many all segments so far gave.
    """

    ranges: int = 1
    windows: Counter[str] = field(default_factory=Counter[str])

    def add(self, windows: Mapping[str, int], *, forks: int, finished: bool) -> None:
        """A segment has come, with so many further ranges, and perhaps its own range's last."""
        self.windows.update(windows)
        self.ranges += forks - finished


@dataclass(slots=True, eq=False)
class Entry:
    """A message in flight. There are up to a million of them: what they can share they share.

    Attributes:
        log: that the message stands in.
        items: what it holds.
        packer: the one that assembles it, whatever the pool does later.
        owed: products that no packer has sealed it for.
        uncommitted: products without a committed outcome for it.
        attempts: by item, the try that counts; 0: none yet.
        progress: by item, how far that try has come, where it has begun and is not done in one segment; None: nowhere.
        since_s: when it was admitted.
        obeys: the log's version up to which takedowns were known then.
        wanted: where only some of its items are to be done.
    """

    message: Message
    log: SourcePartition
    items: tuple[Item, ...]
    packer: str
    owed: frozenset[str]
    uncommitted: frozenset[str]
    since_s: float
    obeys: int
    attempts: list[int]
    wanted: Wanted
    progress: dict[int, Progress] | None = None

    def begun(self, item: int) -> Progress:
        """How far the try at this item has come."""
        if self.progress is None:
            self.progress = {}
        return self.progress.setdefault(item, Progress())

    def takers(self, item: int) -> frozenset[str]:
        """The products that owe something for it and want this item."""
        if not self.wanted:
            return self.owed
        return frozenset(key for key in self.owed if key not in self.wanted or item in self.wanted[key])

    def count(self, product: str) -> int:
        """How many items a product wants."""
        return len(self.wanted.get(product, self.items))

    def tries_before(self, product: str, item: int) -> int:
        """How often an item was tried in former runs that ended in a letter."""
        return self.wanted.get(product, {}).get(item, 0)


class Ledger:
    """Messages in flight by log and offset.

    Args:
        packers: their names. Runs of consecutive offsets share one, so that what a packer holds is a few
            intervals and not a scatter: dealt at random, 8 packers leave 26,000 intervals; in runs of 4,096, 12.
        run_length: the longest run; in-flight ÷ (4 × packers) keeps all packers busy.
    """

    def __init__(self, packers: Sequence[str], run_length: int) -> None:
        self._packers = itertools.cycle(packers)
        self._run_length = run_length
        self._runs: dict[SourcePartition, tuple[str, int]] = {}
        self._entries: dict[tuple[str, int], dict[int, Entry]] = defaultdict(dict)
        self._next_attempt = itertools.count(1)
        self._products: dict[tuple[str, ...], frozenset[str]] = {}
        self.obeys = 0

    def __len__(self) -> int:
        """Messages in flight."""
        return sum(map(len, self._entries.values()))

    def __iter__(self) -> Iterator[Entry]:
        return itertools.chain.from_iterable(entries.values() for entries in self._entries.values())

    def holds(self, log: SourcePartition, offset: int) -> bool:
        """Whether this message is in flight already."""
        return offset in self._entries[log]

    def admit(
        self,
        message: Message,
        items: Sequence[Item],
        products: Iterable[str],
        now_s: float,
        wanted: Wanted | None = None,
    ) -> Entry:
        """Take a message into flight and bind it to a packer."""
        key, log = tuple(products), message.log
        owed = self._products.setdefault(key, frozenset(key))
        entry = Entry(
            message=message,
            log=log,
            items=tuple(items),
            packer=self._bind(log),
            owed=owed,
            uncommitted=owed,
            since_s=now_s,
            obeys=self.obeys,
            attempts=[0] * len(items),
            wanted=wanted or _ALL,
        )
        self._entries[log][message.origin.offset] = entry
        return entry

    def entry(self, origin: Origin) -> Entry | None:
        """The message that an item belongs to, if it is in flight."""
        return self._entries[origin.source_id, origin.partition].get(origin.offset)

    def next_attempt(self, entry: Entry, item: int) -> int:
        """A new try at an item; all earlier ones are stale from now on."""
        entry.attempts[item] = attempt = next(self._next_attempt)
        if entry.progress is not None:
            entry.progress.pop(item, None)
        return attempt

    def current(self, lease: Lease) -> Entry | None:
        """The message of this lease's item, if the lease's outcome is still wanted."""
        origin = lease.reference.origin
        entry = self.entry(origin)
        return entry if entry is not None and entry.attempts[origin.item] == lease.attempt else None

    def is_current(self, lease: Lease) -> bool:
        """Whether this lease's outcome is still wanted."""
        return self.current(lease) is not None

    def counts(self, origin: Origin, attempt: int) -> bool:
        """Whether `attempt` is the one that counts for this item."""
        entry = self.entry(origin)
        return entry is not None and origin.item < len(entry.items) and entry.attempts[origin.item] == attempt

    def bound_to(self, packer: str) -> list[Entry]:
        """Messages that this packer still owes something for."""
        return [entry for entry in self if entry.packer == packer and entry.owed]

    def sealed(self, sealed: Sealed) -> int:
        """A packer has handed these messages over for one product. Returns the log's version whose takedowns all of
        them obey.
        """
        found, obeys = 0, self.obeys
        for entry in self._within(sealed.covers):
            entry.owed = entry.owed - {sealed.product}
            found, obeys = found + 1, min(obeys, entry.obeys)
        # Of one that was revoked meanwhile nobody knows when it was admitted.
        return obeys if found == sum(span.count for span in sealed.covers) else 0

    def settle(self, product: str, spans: Iterable[Span]) -> int:
        """These messages have their committed outcome in one product; returns how many owe nothing any more."""
        done = 0
        for entry in list(self._within(spans)):
            if product not in entry.uncommitted:
                continue
            entry.owed = entry.owed - {product}
            entry.uncommitted = entry.uncommitted - {product}
            if not entry.uncommitted:
                del self._entries[entry.log][entry.message.origin.offset]
                done += 1
        return done

    def owe_again(self, product: str, spans: Iterable[Span]) -> list[Entry]:
        """These messages were sealed for a product, but not taken. Returns them."""
        entries = [entry for entry in self._within(spans) if product in entry.uncommitted]
        for entry in entries:
            entry.owed = entry.owed | {product}
        return entries

    def drop(self, entry: Entry) -> None:
        """Take one message out of flight without an outcome: it will be read again."""
        del self._entries[entry.log][entry.message.origin.offset]

    def forget(self, logs: Collection[SourcePartition]) -> None:
        """These logs are someone else's now."""
        for log in logs:
            self._entries.pop(log, None)
            self._runs.pop(log, None)

    def oldest(self) -> Entry | None:
        """The message that has been in flight the longest: entries are admitted in order of time within a log."""
        heads = (next(iter(entries.values())) for entries in self._entries.values() if entries)
        return min(heads, key=lambda entry: entry.since_s, default=None)

    def _bind(self, log: SourcePartition) -> str:
        packer, left = self._runs.get(log, ("", 0))
        if left == 0:
            packer, left = next(self._packers), self._run_length
        self._runs[log] = (packer, left - 1)
        return packer

    def _within(self, spans: Iterable[Span]) -> Iterator[Entry]:
        for span in spans:
            entries = self._entries[span.log]
            for start, end in span.ranges:
                # A span may be far wider than what is in flight (a hole, a skip): walk the shorter of the two.
                offsets = range(start, end) if end - start <= len(entries) else sorted(entries)
                for offset in offsets:
                    if start <= offset < end and (entry := entries.get(offset)) is not None:
                        yield entry


@dataclass(slots=True)
class _Direct:
    """What ended without a packer in one product and log.

    Attributes:
        messages: by offset, the letters and voids of its items.
        held: of these, the ones whose letters must not be taken yet.
        lettered: how many of them have letters.
        empty: ranges of offsets that are one void item each.
    """

    messages: dict[int, tuple[tuple[Letter, ...], tuple[VoidReason, ...]]] = field(
        default_factory=dict[int, tuple[tuple[Letter, ...], tuple[VoidReason, ...]]]
    )
    held: set[int] = field(default_factory=set[int])
    lettered: int = 0
    empty: list[tuple[VoidReason, Range]] = field(default_factory=list[tuple[VoidReason, Range]])

    @property
    def ready(self) -> bool:
        return bool(self.empty) or len(self.messages) > len(self.held)

    def sealed(self, product: str, log: SourcePartition) -> Sealed:
        """All of it, whether held or not."""
        layers: dict[tuple[VoidReason, int], list[Range]] = defaultdict(list)
        for reason, range_ in self.empty:
            layers[reason, 0].append(range_)
        for offset, (_, voids) in self.messages.items():
            for reason, items in Counter(voids).items():
                for layer in range(items):
                    layers[reason, layer].append((offset, offset + 1))
        voided = tuple((reason, Span(log, merged(ranges))) for (reason, _), ranges in layers.items())
        counts = Counter[VoidReason]()
        for reason, span in voided:
            counts[reason] += span.count
        covers = merged((*((at, at + 1) for at in self.messages), *(range_ for _, range_ in self.empty)))
        letters = tuple(letter for letters, _ in self.messages.values() for letter in letters)
        return Sealed(product, covers=(Span(log, covers),), letters=letters, voids=dict(counts), voided=voided)


class DirectKey(NamedTuple):
    """A message that ended without a packer, in one product."""

    product: str
    log: SourcePartition
    offset: int


class DirectOutcomes:
    """Outcomes that need no packer: holes, voids, messages that are malformed as a whole.

    A message with letters is held until it is released.
    """

    def __init__(self) -> None:
        self._held: dict[SourcePartition, dict[str, _Direct]] = defaultdict(lambda: defaultdict(_Direct))

    def __bool__(self) -> bool:
        return bool(self._held)

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return any(direct.ready for products in self._held.values() for direct in products.values())

    @property
    def lettered(self) -> int:
        """Messages with letters that wait to be released or taken, once a product: each has its bytes in memory."""
        return sum(direct.lettered for products in self._held.values() for direct in products.values())

    def holds(self, key: DirectKey) -> bool:
        """Whether this message is here already."""
        return key.log in self._held and key.offset in self._held[key.log][key.product].messages

    def void(self, product: str, log: SourcePartition, start: int, end: int, reason: VoidReason) -> None:
        """Each of the offsets [start, end) is one item that is nothing to tokenize."""
        self._held[log][product].empty.append((reason, (start, end)))

    def message(self, key: DirectKey, letters: Iterable[Letter], voids: Iterable[VoidReason]) -> None:
        """A message whose items all ended before dispatch. One that is here already is ignored."""
        direct = self._held[key.log][key.product]
        if key.offset not in direct.messages:
            direct.messages[key.offset] = kept, _ = tuple(letters), tuple(voids)
            if kept:
                direct.held.add(key.offset)
                direct.lettered += 1

    def release(self, key: DirectKey) -> None:
        """Its letters have been held for long enough."""
        if self.holds(key):
            self._held[key.log][key.product].held.discard(key.offset)

    def withhold(self, key: DirectKey) -> None:
        """Its letters will not be committed: it will be read again."""
        if self.holds(key):
            direct = self._held[key.log][key.product]
            direct.held.discard(key.offset)
            direct.lettered -= 1
            del direct.messages[key.offset]
            self._tidy(key.log)

    def forget(self, logs: Collection[SourcePartition]) -> None:
        """These logs are someone else's now."""
        for log in logs:
            self._held.pop(log, None)

    def take(self) -> tuple[Sealed, ...]:
        """One `Sealed` a product and log, of what is not held; what is taken is no longer here."""
        sealed: list[Sealed] = []
        for log, products in list(self._held.items()):
            for product, direct in products.items():
                if direct.ready:
                    kept = {offset: direct.messages.pop(offset) for offset in direct.held}
                    sealed.append(direct.sealed(product, log))
                    products[product] = _Direct(kept, direct.held, len(kept))
            self._tidy(log)
        return tuple(sealed)

    def _tidy(self, log: SourcePartition) -> None:
        """Keep no log that has nothing."""
        if not any(direct.messages or direct.empty for direct in self._held[log].values()):
            del self._held[log]
