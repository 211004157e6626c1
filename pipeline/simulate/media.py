"""What simulated messages hold, and what becomes of it in the hands of simulated workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from operators.errors import StoreUnavailableError, TokenizeFailedError, TruncatedError
from operators.records import ContentFacts, EmptyReason, Failure, Modality, VoidReason, WindowMeta
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.flow.calls import Block, CallFailure, Lease, Prepare, PreparedItem, RowSpan, Tokenize
from pipeline.flow.outages import place_of
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Product

WINDOW_BYTES = 100
TOKEN_BYTES = 10
FOREVER = 1 << 30

VIEWS = ("whole", "tiles")
"""Two products, each of a view of its own, so that one item has different numbers of rows in them."""


def product(name: str, view: str, revision: int = 1, letter: str = "") -> Product:
    """A product of the simulated lane; `letter` is what its fingerprint consists of."""
    spec = TokenSpec(TokenKind.CODES, Modality.IMAGE, view, ("t",), (256,), "uint16")
    return Product(name, revision, (letter or name[0]) * 64, Modality.IMAGE, spec)


PRODUCTS = tuple(product(name, view) for name, view in zip(("alpha", "beta"), VIEWS, strict=True))


@dataclass(frozen=True, slots=True)
class Media:
    """What one reference leads to.

    Attributes:
        segments: by decode call, how many windows it gives in each of `VIEWS`.
        forks: at which of its segments further ranges begin, ascending.
        breaks: at which segment it turns out that it can't be decoded.
        ended: it has no rows, and why.
        flaky: how many times fetching it fails before it works.
        kills: stages (prepare, or a product's key) whose workers it takes down.
        raises: stages that raise on it.
    """

    segments: tuple[tuple[int, ...], ...] = ((1, 1),)
    forks: tuple[int, ...] = ()
    breaks: int | None = None
    ended: Failure | EmptyReason | VoidReason | None = None
    flaky: int = 0
    kills: frozenset[str] = frozenset()
    raises: frozenset[str] = frozenset()

    @property
    def fails(self) -> bool:
        """Whether it must end as a letter in every product, whoever works on it."""
        broken = self.breaks is not None and self.breaks < len(self.segments)
        return isinstance(self.ended, Failure) or self.flaky == FOREVER or (self.ended is None and broken)

    @property
    def flawed(self) -> bool:
        """Whether it can end as a letter, in some product at least."""
        return self.fails or bool(self.kills | self.raises)

    def mended(self) -> Media:
        """What it is once somebody has seen to it."""
        return Media(self.segments, self.forks)

    def windows(self, view: str) -> int:
        """How many rows it has in a product of this view."""
        return sum(segment[VIEWS.index(view)] for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a simulated batch of windows or tokens: which window of which item it is of."""

    uri: str
    view: str
    start: int


@dataclass(frozen=True, slots=True)
class Token:
    """One row of a simulated batch of tokens."""

    product: str
    window: Row


PreparedAnswer = tuple[tuple[PreparedItem, ...], dict[str, Block]]


class Bench:
    """Does the workers' work, at once. When it is done, and whether its worker lives so long, is for others to say.

    Args:
        media: by uri.
        down: shared with whoever knows; none where it is left out.

    Attributes:
        down: places whose store does not answer now.
    """

    def __init__(self, media: Mapping[str, Media], down: set[str] | None = None) -> None:
        self.down: set[str] = set() if down is None else down
        self._media = media
        self._tried = Counter[str]()

    def prepare(self, action: Prepare) -> PreparedAnswer | CallFailure:
        """What a prepare worker answers, or how the call fails."""
        members = [self._media[lease.reference.uri] for lease in action.leases]
        if any(PREPARE in media.kills for media in members):
            return CallFailure.WORKER_DIED
        if any(PREPARE in media.raises for media in members):
            return CallFailure.RAISED
        rows: dict[str, list[Row]] = {view: [] for view in VIEWS}
        items = tuple(self._prepare_one(lease, rows) for lease in action.leases)
        blocks = {view: Block(tuple(rows[view]), WINDOW_BYTES * len(rows[view])) for view in VIEWS}
        return items, blocks

    def tokenize(self, action: Tokenize) -> Block | CallFailure:
        """What a tokenizer answers, or how the call fails."""
        windows: list[Row] = [row for piece in action.pieces for row in piece.block.handle[piece.start : piece.stop]]
        members = [self._media[row.uri] for row in windows]
        if any(action.product in media.kills for media in members):
            return CallFailure.WORKER_DIED
        if any(action.product in media.raises for media in members):
            return CallFailure.RAISED
        return Block(tuple(Token(action.product, row) for row in windows), TOKEN_BYTES * len(windows))

    def _prepare_one(self, lease: Lease, rows: Mapping[str, list[Row]]) -> PreparedItem:
        uri = lease.reference.uri
        media = self._media[uri]
        if self.down and place_of(uri) in self.down:
            return PreparedItem(ended=StoreUnavailableError("503").failure(), transient=True)
        if self._tried[uri] < media.flaky:
            self._tried[uri] += 1
            return PreparedItem(ended=StoreUnavailableError("503").failure(), transient=True)
        if media.ended is not None:
            return PreparedItem(ended=media.ended)
        segment = 0 if lease.cursor is None else int(lease.cursor)
        if segment == media.breaks:
            return PreparedItem(ended=TruncatedError("simulated").failure())
        spans: dict[str, RowSpan] = {}
        for number, view in enumerate(VIEWS):
            start = sum(counts[number] for counts in media.segments[:segment])
            count = media.segments[segment][number]
            windows = tuple(WindowMeta(start + index, start + index + 1) for index in range(count))
            spans[view] = RowSpan(len(rows[view]), windows)
            rows[view].extend(Row(uri, view, window.start) for window in windows)
        more = segment + 1 < len(media.segments) and segment + 1 not in media.forks
        facts = ContentFacts(version="1", sha256=uri, size_bytes=1)
        forks = media.forks if lease.cursor is None else ()
        return PreparedItem(facts, spans, segment + 1 if more else None, forks)


def raised() -> Failure:
    """What an operator that raises says."""
    return TokenizeFailedError("simulated").failure()
