"""What `report.html` shows, gathered: figures as numbers, media as arrays. Nothing here knows of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from operators.records import Modality
from pipeline.flow.waits import WaitReason
from pipeline.observe.report.samples import Film, Gallery, Listening, Reading
from pipeline.observe.status import State


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures at the top.

    Attributes:
        items: that have rows, letters or nothing to tokenize, once for all products of a lane; None where not every
            row was read.
        messages: that are done, once for all products of a lane; holes of the log included.
        tokens, stored_bytes: of all products.
        letters: open ones, once for all products of a lane.
    """

    items: int | None
    messages: int
    tokens: int
    stored_bytes: int
    letters: int


@dataclass(frozen=True, slots=True)
class Rate:
    """How much the tokens say for each unit of the medium.

    Attributes:
        bits: information of the codes: log2 of their codebooks' sizes; of embeddings all their bits.
        unit: "pixel", "second" or "byte".
    """

    bits: float
    unit: str


@dataclass(frozen=True, slots=True)
class ProductFigures:
    """A row of the table of products.

    Attributes:
        kind: what its tokens are, e.g. "codes, 4 × 1,024".
        open: its rows are admitted; else a successor has taken its place.
        tokens_hz: tokens a second over the run; None while unknown.
        rate: None where nothing was read of it.
        ratio: bytes of the decoded windows for each byte stored, all columns and overheads included; None likewise.
    """

    name: str
    key: str
    modality: Modality
    kind: str
    open: bool
    rows: int
    tokens: int
    tokens_hz: float | None
    stored_bytes: int
    rate: Rate | None
    ratio: float | None


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """What one lane did in the run.

    Attributes:
        tokens_hz: over the whole run; None while unknown.
        waited_s: seconds by reason.
    """

    lane: str
    state: State
    done_items: int
    tokens_hz: float | None
    letters: int
    waited_s: Mapping[WaitReason, float]


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The run whose status was found.

    Attributes:
        seconds: that it took, or has taken so far.
        stale: it says that it goes on, but has been silent for too long.
    """

    state: State
    stale: bool
    started_at: datetime
    seconds: float
    lanes: tuple[LaneFigures, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LetterEntry:
    """An item that could not be tokenized, for one reason.

    Attributes:
        products: that lack it.
        origin: source_id/partition/offset/item.
    """

    code: str
    uri: str
    message: str
    products: tuple[str, ...]
    origin: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Letters:
    """Open dead letters.

    Attributes:
        by_code: how many items, the most frequent code first.
        entries: the first of them, by origin.
    """

    by_code: Mapping[str, int] = field(default_factory=dict[str, int])
    entries: tuple[LetterEntry, ...] = ()

    @property
    def count(self) -> int:
        """How many items."""
        return sum(self.by_code.values())


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        lake: its URI.
        version: of its log.
        made_at: now, UTC.
        run: None where no run's status was found; `why_no_run` says why.
    """

    lake: str
    version: int
    made_at: datetime
    totals: Totals
    products: tuple[ProductFigures, ...]
    galleries: tuple[Gallery, ...] = ()
    listenings: tuple[Listening, ...] = ()
    film: Film | None = None
    readings: tuple[Reading, ...] = ()
    run: RunFigures | None = None
    why_no_run: str = ""
    letters: Letters = Letters()

    def has(self, modality: str) -> bool:
        """Whether an open product takes this modality."""
        return any(product.open and product.modality == modality for product in self.products)
