"""The nouns of delivery: what the coordinator, the packers, the lake and the simulator hand to each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from operators.pickling import flat
from operators.records import (
    ContentFacts,
    EmptyReason,
    Failure,
    MediaReference,
    Modality,
    Origin,
    VoidReason,
    WindowMeta,
)
from operators.tokenize.base import TokenSpec

Range = tuple[int, int]
"""Half-open [start, end) of message offsets."""


class SourcePartition(NamedTuple):
    """One ordered log of messages: a partition of a topic, or a frozen listing (partition 0).

    A tuple, since it is the key of most tables that a message is looked up in.
    """

    source_id: str
    partition: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the source gave it.

    Attributes:
        origin: of its item 0.
        topic: the name it was read from; for a listing, the listing's id.
        timestamp_ms: of the message, UTC; 0 where the source has none.
    """

    origin: Origin
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int = 0

    @property
    def log(self) -> SourcePartition:
        """The log that the message stands in."""
        return SourcePartition(self.origin.source_id, self.origin.partition)


@dataclass(frozen=True, slots=True)
class Product:
    """One tokenizer's dataset in the lake.

    Attributes:
        name: e.g. "image-rq"; also the config's key.
        revision: another fingerprint needs a higher one.
        fingerprint: sha256 (hex) over what changes the product's values: decoder, view, tokenizer, weights.
        modality: of the lane that feeds it.
        spec: what its tokenizer gives.
    """

    name: str
    revision: int
    fingerprint: str
    modality: Modality
    spec: TokenSpec

    @property
    def key(self) -> str:
        """`<name>-<first 8 of the fingerprint>`: its folder's name, and what the log calls it."""
        return f"{self.name}-{self.fingerprint[:8]}"


@dataclass(frozen=True, slots=True)
class Span:
    """Some messages of one log, as sorted, disjoint, non-adjacent ranges of offsets."""

    log: SourcePartition
    ranges: tuple[Range, ...]

    @property
    def count(self) -> int:
        """How many messages these are."""
        return sum(end - start for start, end in self.ranges)


def ranges_of(offsets: Iterable[int]) -> tuple[Range, ...]:
    """Offsets in any order, repeats allowed -> sorted, disjoint, non-adjacent ranges."""
    ordered = sorted(set(offsets))
    groups = itertools.groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])
    runs = ([offset for _, offset in group] for _, group in groups)
    return tuple((run[0], run[-1] + 1) for run in runs)


@dataclass(frozen=True, slots=True)
class Letter:
    """An item that can't be tokenized, in one product: what, where and why, and the message to try it again.

    Attributes:
        attempts: how many times it was tried.
        at_ms: when it was given up, UTC.
    """

    product: str
    origin: Origin
    uri: str
    failure: Failure
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    attempts: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Empty:
    """An item that has no rows in one product although nothing is wrong with it."""

    product: str
    origin: Origin
    uri: str
    reason: EmptyReason


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished, uploaded data file.

    Attributes:
        product: key of its product.
        path: below the lake's root, e.g. "data/product=image-rq-1a2b3c4d/dt=2026-11-24/part-12-<uuid>.arrow".
        size_bytes: of the file.
        sha256: of the file, in hex.
    """

    product: str
    path: str
    rows: int
    tokens: int
    size_bytes: int
    sha256: str


class PredicateField(StrEnum):
    """What a takedown looks at; a column of every row, and a field of every reference."""

    URI = "uri"
    SUBJECT_KEY = "subject_key"
    LICENCE = "licence"


@dataclass(frozen=True, slots=True, order=True)
class Predicate:
    """What is taken down, for ever: nothing of which `field` is `value` is added any more."""

    field: PredicateField
    value: str


class SealKind(StrEnum):
    """What a commit does with finished messages."""

    LIVE = "live"
    """They come for the first time: they gain coverage. Catch-up below a `from` too."""
    REPLAY = "replay"
    """They close open letters, and gain no coverage: that they have. Holds of each message the items with letters."""
    RETOKENIZE = "retokenize"
    """A predecessor's messages, made anew: they gain coverage of the product's own, beneath what it inherits."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one packer finished for one product: whole messages and nothing else. The unit of a commit.

    Attributes:
        shards: none where all of these messages were empty, letters or void; several where one message is large.
        covers: the messages whose items all have their outcome here.
        voids: how many items were void, by reason.
        voided: in which messages those items were, one entry for each further item of a message: what keeps the
            count right when another commit has some of these messages already. May be left out where nothing but
            voids of one reason is covered here, one to a message.
        kind: what a commit does with it.
        obeys: the log's version up to which its makers obeyed predicates; the commit takes out what later ones say.
    """

    product: str
    shards: tuple[Shard, ...] = ()
    covers: tuple[Span, ...] = ()
    letters: tuple[Letter, ...] = ()
    empties: tuple[Empty, ...] = ()
    voids: Mapping[VoidReason, int] = field(default_factory=dict[VoidReason, int])
    kind: SealKind = SealKind.LIVE
    obeys: int = 0
    voided: tuple[tuple[VoidReason, Span], ...] = ()


Wanted = Mapping[str, Mapping[int, int]]
"""By product (key), the items of a message that are to be done, and how often each was tried before. Those that it
does not name are done already."""


@dataclass(frozen=True, slots=True)
class Task:
    """A message of which is known what is to be done: a job's, which knows what the lake has.

    Attributes:
        products: keys of those that it is for.
        wanted: where not all of its items are to be done; names each of `products` then.
    """

    message: Message
    products: tuple[str, ...]
    wanted: Wanted | None = None


@flat
@dataclass(frozen=True, slots=True)
class Delivery:
    """What a packer is told about one item in one product: a segment's windows, or how it ended without rows.

    Attributes:
        product: key.
        items: how many items of the item's message are to be done in this product.
        attempt: of the lease that made this; an item's higher attempt replaces what a lower one brought.
        reference: the item.
        facts: of its content; None where nothing was fetched.
        windows: this segment's windows, ascending by start.
        batch: index into the `TokenBatch`es that come with the call; -1 where there are no windows.
        row: the first window's row in that batch; window i is row `row + i`.
        last: no further segment of this item follows (segments may overtake each other on their way here).
        total: with the last segment: how many windows the item has in all; else -1.
        ended: the item's outcome where it has no rows.
    """

    product: str
    items: int
    attempt: int
    reference: MediaReference
    facts: ContentFacts | None = None
    windows: tuple[WindowMeta, ...] = ()
    batch: int = -1
    row: int = 0
    last: bool = True
    total: int = -1
    ended: Letter | Empty | VoidReason | None = None

    def in_batch(self, batch: int) -> Delivery:
        """The same with its index; `dataclasses.replace` takes four times as long, and every row comes by here."""
        return Delivery(
            self.product,
            self.items,
            self.attempt,
            self.reference,
            self.facts,
            self.windows,
            batch,
            self.row,
            self.last,
            self.total,
            self.ended,
        )


@dataclass(frozen=True, slots=True)
class PackReport:
    """What a packer answers.

    Attributes:
        sealed: what has been finished and uploaded since the last answer; each stands in exactly one report.
        spooled_bytes: what its spool holds now.
        waiting_messages: messages it has begun but not sealed.
    """

    sealed: tuple[Sealed, ...]
    spooled_bytes: int
    waiting_messages: int
