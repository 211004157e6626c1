"""What a verification can find, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class FindingKind(StrEnum):
    """What can be wrong."""

    LOG_BROKEN = "log_broken"
    CHECKPOINT_DIFFERS = "checkpoint_differs"
    COVERED_TWICE = "covered_twice"
    COVERAGE_DIFFERS = "coverage_differs"
    COVERAGE_GAP = "coverage_gap"
    REPLACED_YET_LIVE = "replaced_yet_live"
    SHARD_MISSING = "shard_missing"
    SHARD_DIFFERS = "shard_differs"
    INDEX_MISSING = "index_missing"
    INDEX_DIFFERS = "index_differs"
    ROW_TWICE = "row_twice"
    ROW_UNCOVERED = "row_uncovered"
    WINDOW_MISSING = "window_missing"
    LETTERS_MISSING = "letters_missing"
    LETTERS_DIFFER = "letters_differ"
    TWO_OUTCOMES = "two_outcomes"
    NO_OUTCOME = "no_outcome"
    NOT_TAKEN_DOWN = "not_taken_down"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where."""

    kind: FindingKind
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class ProductTally:
    """The outcomes of one product's own commits. `items = items_with_rows + empties + letters + voids`.

    Attributes:
        messages: covered, as the log says.
        items: with an outcome.
        items_with_rows: distinct origins among the rows.
        letters: of its own that are still open.
    """

    product: str
    messages: int
    items: int
    items_with_rows: int
    rows: int
    tokens: int
    empties: int
    letters: int
    voids: int


@dataclass(slots=True)
class Report:
    """What a verification found; `ok` where that is nothing."""

    version: int = 0
    shards: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    products: list[ProductTally] = field(default_factory=list[ProductTally])

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.findings

    def add(self, kind: FindingKind, where: str, what: str) -> None:
        """One more thing."""
        self.findings.append(Finding(kind, where, what))
