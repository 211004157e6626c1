"""One version of the lake's log: what it adds to everything before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from operators.records import VoidReason
from pipeline.lake.paths import base_of
from pipeline.records import Predicate, Product, Shard, SourcePartition, Span

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Opening:
    """A product begins; the one of the same name that ran until now ends.

    Attributes:
        lane: that feeds it.
        closes: key of the predecessor, whose coverage it inherits by reference; filled by the commit.
    """

    product: Product
    lane: str
    closes: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """The `from` of a log in a product (key): what lies below is not owed. Committed before anything is dispatched."""

    product: str
    log: SourcePartition
    offset: int


@dataclass(frozen=True, slots=True)
class ProductSpan:
    """Some messages in one product (key)."""

    product: str
    span: Span


@dataclass(frozen=True, slots=True)
class Skip:
    """Messages given up for a product (key) on purpose: they count as void."""

    product: str
    span: Span
    reason: VoidReason = VoidReason.EXPIRED


@dataclass(frozen=True, slots=True)
class VoidCount:
    """How many items were void in a product (key)."""

    product: str
    reason: VoidReason
    items: int


@dataclass(frozen=True, slots=True)
class OutcomeFile:
    """A file of letters and empties of one product (key).

    Attributes:
        letters: how many letters it holds (items).
        empties: how many empties it holds (items).
        open: the messages that have letters in it. Such a letter is open until its message is closed.
    """

    product: str
    path: str
    letters: int
    empties: int
    open: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Live files of a product (key, open or closed) that others take the place of.

    Attributes:
        removes: paths of shards and outcomes files that are live until now.
        shards: with the rows that stay.
        outcomes: with the letters and empties that stay. Letters that were closed before stay closed.
        taken_down: items that had an outcome until now, and are void from now on.
        duplicates: likewise, since other items' rows are the same.
        open_letters: messages with open letters in what is removed, when this was made: the commit holds it against the
            state, since a replay may have closed one. Not part of the log.
    """

    product: str
    removes: tuple[str, ...]
    shards: tuple[Shard, ...] = ()
    outcomes: tuple[OutcomeFile, ...] = ()
    taken_down: int = 0
    duplicates: int = 0
    open_letters: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Delta:
    """One log version.

    Attributes:
        version: N; the log has every one from 1 on.
        base: the least version that a writer of any file named here knew; `version - 1` where none is named.
        commit_id: unique to the try: who finds it at N knows that this very delta was committed.
        writer: who committed; for people, never for decisions.
        committed_at_ms: by the committer's clock, UTC; for people.
        covers: the messages that are done by this delta.
        closings: the messages whose open letters are closed. Closings come before `outcomes` open letters.
        remade: the messages that a predecessor covers, and that the product now has of its own.
        predicates: what is taken down from the next version on.
        min_base: from now on nothing older than this may be added (vacuum).
    """

    version: int
    base: int
    commit_id: str
    writer: str
    committed_at_ms: int
    openings: tuple[Opening, ...] = ()
    starts: tuple[Start, ...] = ()
    shards: tuple[Shard, ...] = ()
    covers: tuple[ProductSpan, ...] = ()
    outcomes: tuple[OutcomeFile, ...] = ()
    voids: tuple[VoidCount, ...] = ()
    closings: tuple[ProductSpan, ...] = ()
    skips: tuple[Skip, ...] = ()
    remade: tuple[ProductSpan, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    predicates: tuple[Predicate, ...] = ()
    min_base: int | None = None

    @property
    def paths(self) -> Iterator[str]:
        """The data and outcome files that it adds."""
        yield from (shard.path for shard in self.shards)
        yield from (file.path for file in self.outcomes)
        for rewrite in self.rewrites:
            yield from (shard.path for shard in rewrite.shards)
            yield from (file.path for file in rewrite.outcomes)

    @property
    def oldest_base(self) -> int:
        """What `base` must be."""
        return min((base_of(path) for path in self.paths), default=self.version - 1)
