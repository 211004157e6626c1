"""What a lane asks of its actors, and what they answer. Plain records: Ray and the simulator carry out the same.

A `Handle` is whatever the driver uses to name a value that lies elsewhere (a Ray ObjectRef, or the value itself in
the simulator). The lane never looks inside; it drops its last reference to one exactly when the memory may go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from operators.pickling import flat
from operators.records import ContentFacts, EmptyReason, Failure, MediaReference, VoidReason, WindowMeta
from pipeline.records import Delivery, SourcePartition

Handle = Any

Item = MediaReference | VoidReason | Failure
"""What a message holds: something to tokenize, nothing to tokenize, or something that can't be read as either."""


@flat
@dataclass(frozen=True, slots=True)
class Lease:
    """One try at one item, or at one range of a long one.

    Attributes:
        attempt: unique in its lane and rising; a retry has a higher one, further segments and ranges the same.
        cursor: where the next segment starts; None for the first of the item.
        facts: of the item's content, once a segment has been prepared: the others must be of the same.
        tries: transient failures so far, those in an outage not counted.
        deaths: workers that died while they had this lease alone.
    """

    attempt: int
    reference: MediaReference
    cursor: Any = None
    facts: ContentFacts | None = None
    tries: int = 0
    deaths: int = 0


@flat
@dataclass(frozen=True, slots=True)
class RowSpan:
    """An item's windows in one view's batch: windows[i] is row `first + i`."""

    first: int
    windows: tuple[WindowMeta, ...]


@flat
@dataclass(frozen=True, slots=True)
class PreparedItem:
    """What fetching, decoding and cutting one lease's segment gave.

    Attributes:
        rows: by view key.
        cursor: where to go on; None when its range is finished.
        forks: where further ranges of the item begin.
        ended: why it has no rows at all.
        transient: `ended` is a failure that may pass; try again later.
        elsewhere: what its bytes show (a modality, or "binary"), where that is not the lane's; `ended` is void then,
            until who takes what says otherwise.
    """

    facts: ContentFacts | None = None
    rows: Mapping[str, RowSpan] = field(default_factory=dict[str, RowSpan])
    cursor: Any = None
    forks: tuple[Any, ...] = ()
    ended: Failure | EmptyReason | VoidReason | None = None
    transient: bool = False
    elsewhere: str | None = None


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A worker has a file open whose next segment nobody will ask for."""

    worker: str
    facts: ContentFacts
    cursor: Any


@dataclass(slots=True, eq=False)
class Block:
    """A view's batch as one prepare call made it; several products read it, then its memory goes.

    Attributes:
        readers: pieces that still need it.
        node: where its memory lies; "" where that is not known.
    """

    handle: Handle
    size_bytes: int
    readers: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class PieceItem:
    """An item's windows within a piece; `rows.first` counts in the block.

    Attributes:
        total: how many windows the item has in all, where this is the last segment to come; else -1.
    """

    lease: Lease
    facts: ContentFacts | None
    rows: RowSpan
    total: int

    @property
    def is_long(self) -> bool:
        """Whether its item is more than this segment."""
        return self.lease.cursor is not None or self.total < 0


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Rows [start, stop) of a block, for one product."""

    block: Block
    items: tuple[PieceItem, ...]

    @property
    def start(self) -> int:
        """First row in the block."""
        return self.items[0].rows.first

    @property
    def stop(self) -> int:
        """One past the last row in the block."""
        last = self.items[-1].rows
        return last.first + len(last.windows)

    @property
    def size(self) -> int:
        """Rows."""
        return self.stop - self.start


class SealReason(StrEnum):
    """Why a packer closes its open shards."""

    SIZE = "size"
    AGE = "age"
    DRAIN = "drain"
    STARVED = "starved"


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetch, decode and cut these leases' next segments."""

    call: int
    worker: str
    leases: tuple[Lease, ...]

    @property
    def is_long(self) -> bool:
        """Whether it goes on with something; a call that does begins nothing."""
        return self.leases[0].cursor is not None


@dataclass(frozen=True, slots=True)
class Tokenize:
    """Tokenize these pieces end to end as one batch."""

    call: int
    worker: str
    product: str
    pieces: tuple[Piece, ...]

    @property
    def is_long(self) -> bool:
        """Whether it is of segments of what is long."""
        return self.pieces[0].items[0].is_long

    @property
    def items(self) -> tuple[PieceItem, ...]:
        """All items of all pieces."""
        return tuple(item for piece in self.pieces for item in piece.items)


@dataclass(frozen=True, slots=True)
class Pack:
    """Take these deliveries; `Delivery.batch` indexes `batches`."""

    call: int
    packer: str
    deliveries: tuple[Delivery, ...]
    batches: tuple[Handle, ...]


@dataclass(frozen=True, slots=True)
class Seal:
    """Close the open shards, upload and report them."""

    call: int
    packer: str
    reason: SealReason


@dataclass(frozen=True, slots=True)
class Forget:
    """These logs are someone else's now: drop what is held of them."""

    call: int
    packer: str
    logs: frozenset[SourcePartition]


Action = Prepare | Tokenize | Pack | Seal | Forget


class CallFailure(StrEnum):
    """How a call came to nothing."""

    WORKER_DIED = "worker_died"
    """Its process ended while it had the call: the batch is suspect."""
    WORKER_LEFT = "worker_left"
    """Its process left by itself or with its node (memory, node loss): the batch is blameless."""
    VALUE_LOST = "value_lost"
    """An argument's memory is gone: what it was made of must be done again."""
    RAISED = "raised"
    """The operator raised on this batch."""
