"""Planted mistakes: each is something that an implementation could plausibly do, and that loses, repeats or stops."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from operators.records import WindowMeta
from pipeline.flow.assembly import Assembler, AttemptOrder
from pipeline.flow.credits import Credits
from pipeline.flow.lane import Lane
from pipeline.flow.ranges import Ranges
from pipeline.lake.commit import Rules
from pipeline.lake.delta import Delta
from pipeline.lake.state import LakeState
from pipeline.records import Sealed, SourcePartition, Span, ranges_of


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


def rules_for(mistake: Mistake | None) -> Rules:
    """The commit's rules."""
    match mistake:
        case Mistake.SETTLED_BY_WRITER:
            return _SettledByWriter()
        case Mistake.TWICE_IN_A_DELTA:
            return _TwiceInADelta()
        case Mistake.NOT_RECHECKED:
            return _NotRechecked()
        case _:
            return Rules()


def assembler_for(mistake: Mistake | None, products: Iterable[str]) -> Assembler:
    """A packer's assembler."""
    return _AttemptsIgnored(products) if mistake is Mistake.ATTEMPTS_IGNORED else Assembler(products)


def plant_in_lane(mistake: Mistake | None, lane: Lane) -> None:
    """Change a lane that has just been made."""
    if mistake is Mistake.CREDITS_KEPT:
        lane.core.tokens = _Kept(lane.core.tokens.limit_bytes)


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
