"""Planted mistakes: each is something that an implementation could plausibly do, and that loses, repeats or stops."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum

from operators.records import VoidReason, WindowMeta
from pipeline.flow.assembly import Assembler, AttemptOrder
from pipeline.flow.calls import Lease
from pipeline.flow.credits import Credits
from pipeline.flow.lane import Lane
from pipeline.flow.ledger import DirectOutcomes, Entry
from pipeline.flow.ranges import Ranges, difference
from pipeline.lake.commit import Rules
from pipeline.lake.delta import Delta, Opening
from pipeline.lake.state import LakeState
from pipeline.records import Predicate, Sealed, SealKind, SourcePartition, Span, ranges_of


class Mistake(StrEnum):
    """What is done wrong."""

    SETTLED_BY_WRITER = "settled by writer instead of commit id"
    KAFKA_FIRST = "Kafka's offsets before the lake, and resumed from"
    PLAIN_PUT = "plain put instead of an exclusive create"
    ATTEMPTS_IGNORED = "attempts ignored by the packer"
    TWICE_IN_A_DELTA = "a message twice in one delta"
    NOT_RECHECKED = "coverage not rechecked after a conflict"
    LATEST_AGAIN = "`latest` resolved anew after a crash"
    LETTER_UNCOVERED = "a letter's message without coverage"
    REPORTED_BEFORE_UPLOAD = "a shard reported before it is uploaded"
    CREDITS_KEPT = "credits for tokens never given back"
    VACUUM_WITHOUT_FLOOR = "vacuum deletes without raising the floor first"
    REFUSED_NOT_REDONE = "what a commit refused is not made again"
    LOG_TRUNCATED = "log versions deleted once a checkpoint has them"
    NO_TOPIC_CHECK = "topic ids not compared"
    STOPPED_UNCHECKED = "topic ids not compared any more once a lane has stopped"
    SUCCESSOR_AT_THE_END = "a successor started at the log's end"
    NO_REVISIONS = "products without revisions: the last writer reopens"
    HOLE_TWICE = "a hole counted once for each time that it was seen"
    VACUUM_BY_CLOCK = "vacuum deletes by age"
    LIVE_LIST_GROWS = "a live list that names replaced shards"
    HINT_LEFT_LATE = "a hint that landed late is never put right"
    OLD_ATTEMPT = "a segment retried under its item's old attempt"
    FILM_NEVER_FITS = "credits for tokens held until they are committed"
    OUTCOMES_TWICE = "a retried write of outcomes, and both files named"
    REPLAY_COVERS = "a replay gains coverage"
    REPLAY_COVERED = "a replay filtered as covered"
    LETTERS_LEFT = "letters left with a closed predecessor"
    RETOKENIZE_BY_LINEAGE = "re-tokenization filtered by inherited coverage"
    PREDICATE_AT_INTAKE = "takedowns obeyed at intake only"
    REWRITE_UNCHECKED = "a rewrite admitted though its input was replaced"


class _SettledByWriter(Rules):
    def is_mine(self, found: Delta, sent: Delta) -> bool:
        return found.writer == sent.writer


class _TwiceInADelta(Rules):
    def taken(self, ranges: Ranges, span: Span) -> Ranges:
        del ranges, span
        return ()


class _NotRechecked(Rules):
    def covered(self, state: LakeState, product: str, span: Span, conflicts: int) -> Ranges:
        return () if conflicts else super().covered(state, product, span, conflicts)


class _ReplayCovers(Rules):
    def covered(self, state: LakeState, product: str, span: Span, conflicts: int) -> Ranges:
        covered = super().covered(state, product, span, conflicts)
        return difference(covered, self.letters_open(state, product, span, conflicts))


class _PredicateAtIntake(Rules):
    def later_predicates(self, state: LakeState, obeyed: int) -> Mapping[Predicate, int]:
        del state, obeyed
        return {}


class _RewriteUnchecked(Rules):
    def replaceable(self, state: LakeState, product: str, path: str) -> bool:
        del state, product, path
        return True


class _AttemptsIgnored(Assembler):
    def __init__(self, products: Iterable[str]) -> None:
        super().__init__(products)
        self._windows = itertools.count()

    def _compare_attempts(self, held: int, brought: int) -> AttemptOrder:
        del held, brought
        return AttemptOrder.SAME

    def _window_key(self, window: WindowMeta) -> int:
        return (window.start << 32) + next(self._windows)


class _Kept(Credits):
    def give(self, size_bytes: int) -> None:
        pass


class _UntilCommitted(Credits):
    """Gives everything back at once, when the lane hears of a commit."""

    held_bytes = 0

    def give(self, size_bytes: int) -> None:
        self.held_bytes += size_bytes

    def committed(self) -> None:
        """What was held is given back."""
        held, self.held_bytes = self.held_bytes, 0
        super().give(held)


class _HoleTwice(DirectOutcomes):
    def __init__(self) -> None:
        super().__init__()
        self._seen = Counter[str]()

    def void(self, product: str, log: SourcePartition, start: int, end: int, reason: VoidReason) -> None:
        self._seen[product] += end - start
        super().void(product, log, start, end, reason)

    def take(self) -> tuple[Sealed, ...]:
        taken = list(super().take())
        for number, part in enumerate(taken):
            if VoidReason.HOLE in part.voids:
                voids = dict(part.voids) | {VoidReason.HOLE: self._seen.pop(part.product, part.voids[VoidReason.HOLE])}
                taken[number] = replace(part, voids=voids, voided=())
        return tuple(taken)


def rules_for(mistake: Mistake | None) -> Rules:
    """The commit's rules."""
    match mistake:
        case Mistake.SETTLED_BY_WRITER:
            return _SettledByWriter()
        case Mistake.TWICE_IN_A_DELTA:
            return _TwiceInADelta()
        case Mistake.NOT_RECHECKED:
            return _NotRechecked()
        case Mistake.REPLAY_COVERS:
            return _ReplayCovers()
        case Mistake.PREDICATE_AT_INTAKE:
            return _PredicateAtIntake()
        case Mistake.REWRITE_UNCHECKED:
            return _RewriteUnchecked()
        case _:
            return Rules()


def kind_for(mistake: Mistake | None, kind: SealKind) -> SealKind:
    """What a job says that its work is."""
    replays = kind is SealKind.REPLAY and mistake in {Mistake.REPLAY_COVERS, Mistake.REPLAY_COVERED}
    return SealKind.LIVE if replays else kind


def opening_for(mistake: Mistake | None, opening: Opening, state: LakeState) -> Opening:
    """What a process opens, knowing the lake in this state."""
    running = state.open_product(opening.product.name)
    if mistake is not Mistake.NO_REVISIONS or running is None:
        return opening
    return replace(opening, product=replace(opening.product, revision=running.product.revision + 1))


def assembler_for(mistake: Mistake | None, products: Iterable[str]) -> Assembler:
    """A packer's assembler."""
    return _AttemptsIgnored(products) if mistake is Mistake.ATTEMPTS_IGNORED else Assembler(products)


def plant_in_lane(mistake: Mistake | None, lane: Lane) -> None:
    """Change a lane that has just been made."""
    if mistake is Mistake.CREDITS_KEPT:
        lane.core.tokens = _Kept(lane.core.tokens.limit_bytes)
    if mistake is Mistake.HOLE_TWICE:
        lane.direct = _HoleTwice()
    if mistake is Mistake.FILM_NEVER_FITS:
        lane.core.tokens = _UntilCommitted(lane.core.tokens.limit_bytes)
    if mistake is Mistake.OLD_ATTEMPT:
        lane.core.renew = _renewed_as_it_is


def commit_heard(lane: Lane) -> None:
    """The lane hears of a commit."""
    if isinstance(lane.core.tokens, _UntilCommitted):
        lane.core.tokens.committed()


def _renewed_as_it_is(entry: Entry, lease: Lease, *, tries: int = 0, deaths: int = 0) -> Lease:
    del entry
    return replace(lease, cursor=None, facts=None, tries=tries, deaths=deaths)


def sealed_for(mistake: Mistake | None, sealed: tuple[Sealed, ...]) -> tuple[Sealed, ...]:
    """What a packer reports."""
    return tuple(map(_letters_uncovered, sealed)) if mistake is Mistake.LETTER_UNCOVERED else sealed


def _letters_uncovered(sealed: Sealed) -> Sealed:
    gone = {(each.origin.source_id, each.origin.partition, each.origin.offset) for each in sealed.letters}
    covers: list[Span] = []
    for span in sealed.covers:
        offsets = (offset for start, end in span.ranges for offset in range(start, end))
        kept = ranges_of(offset for offset in offsets if (*_key(span.log), offset) not in gone)
        if kept:
            covers.append(Span(span.log, kept))
    return replace(sealed, covers=tuple(covers))


def _key(log: SourcePartition) -> tuple[str, int]:
    return log.source_id, log.partition
