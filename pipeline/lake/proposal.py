"""What goes into a commit and what comes out of it: proposal, actions, events, results."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from operators.errors import StopError
from operators.records import Origin
from pipeline.lake.delta import Delta, Opening, OutcomeFile, Rewrite, Skip, Start
from pipeline.lake.store import CreateAnswer
from pipeline.records import Empty, Letter, Predicate, Sealed, Shard, Span


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a coordinator wants committed, all of it in one version.

    Attributes:
        sealed: what packers finished.
        openings: products to open; those that run already are no-ops.
        starts: `from`s; where one is committed already, that one stands.
        skips: gaps accepted as lost.
        min_base: vacuum's floor.
        predicates: what is to be taken down; those that stand already are no-ops.
        rewrites: each goes in only while all that it replaces is live.
        replayed: the outcomes files whose letters the `sealed` of a replay are about. A message that has open letters
            elsewhere too was replayed or made anew by others meanwhile: some of its items may be done. None: any file.
    """

    sealed: tuple[Sealed, ...] = ()
    openings: tuple[Opening, ...] = ()
    starts: tuple[Start, ...] = ()
    skips: tuple[Skip, ...] = ()
    min_base: int | None = None
    predicates: tuple[Predicate, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    replayed: frozenset[str] | None = None


class Verdict(StrEnum):
    """What became of one `Sealed`."""

    ADMITTED = "admitted"
    FILTERED = "filtered"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why."""

    NEW = "new"
    ALREADY_COVERED = "already_covered"
    TWICE_IN_DELTA = "twice_in_delta"
    LETTER_NOT_OPEN = "letter_not_open"
    NOT_A_PREDECESSORS = "not_a_predecessors"
    PRODUCT_CLOSED = "product_closed"
    BASE_TOO_OLD = "base_too_old"


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of one `Sealed`.

    Attributes:
        sealed: as proposed.
        admitted: its messages that this version brought.
        settled: its messages that are in the lake now, whoever brought them: nothing is owed for them.
        unsettled: its messages that are not: they must be done again (by whom, `reason` says).
    """

    sealed: Sealed
    verdict: Verdict
    reason: Reason
    admitted: tuple[Span, ...]
    settled: tuple[Span, ...]
    unsettled: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class FilterShard:
    """Do: make a copy of a shard without some of its rows; answer `ShardFiltered`.

    Attributes:
        drop: the messages whose rows are to go.
        predicates: the rows that these take down are to go as well.
        base: goes into the new file's name.
    """

    shard: Shard
    drop: tuple[Span, ...]
    base: int
    predicates: tuple[Predicate, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteOutcomes:
    """Do: write these to one new file; answer `OutcomesWritten`."""

    product: str
    letters: tuple[Letter, ...]
    empties: tuple[Empty, ...]
    base: int


@dataclass(frozen=True, slots=True)
class CreateVersion:
    """Do: create this log file exclusively; answer `CreateAnswered`."""

    version: int
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ReadVersion:
    """Do: read this log file; answer `VersionRead`."""

    version: int
    path: str


@dataclass(frozen=True, slots=True)
class Committed:
    """Done.

    Attributes:
        version: of the lake now.
        delta: what was added; None where all was there already.
        parts: one a `Sealed`, in the proposal's order.
        closed_products: keys in the proposal that are not open (any more): their runs are superseded.
        stale_rewrites: of the proposal, those of which an input is not live any more: to be made anew.
        conflicts: how many versions of others this commit had to fold in on its way.
    """

    version: int
    delta: Delta | None
    parts: tuple[PartResult, ...]
    closed_products: tuple[str, ...]
    stale_rewrites: tuple[Rewrite, ...] = ()
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """Done: nothing was committed and the run must stop."""

    error: StopError


Action = FilterShard | WriteOutcomes | CreateVersion | ReadVersion | Committed | Refused


@dataclass(frozen=True, slots=True)
class ShardFiltered:
    """The new shard, the same one where nothing had to go, or None where no row is left.

    Attributes:
        taken_down: the items that the predicates took out of it.
    """

    shard: Shard | None
    taken_down: frozenset[Origin] = frozenset()


@dataclass(frozen=True, slots=True)
class OutcomesWritten:
    """The file as the delta shall name it."""

    file: OutcomeFile


@dataclass(frozen=True, slots=True)
class CreateAnswered:
    """What the store said."""

    answer: CreateAnswer


@dataclass(frozen=True, slots=True)
class VersionRead:
    """The log file's bytes; None where there is no such file."""

    body: bytes | None


Event = ShardFiltered | OutcomesWritten | CreateAnswered | VersionRead
