"""Who is guilty when a worker dies: halve the batch; an item alone is guilty after three deaths."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from pipeline.flow.calls import CallFailure

DEATHS_TO_BE_GUILTY = 3

T = TypeVar("T")


class Blame(StrEnum):
    """What a failed batch has coming."""

    NOBODY = "nobody"
    """Run it again as it is."""
    HALVED = "halved"
    """Run each half apart: one of them holds the guilty item."""
    ALONE_AGAIN = "alone_again"
    """One item, but one death proves nothing: try another worker."""
    GUILTY = "guilty"
    """One item, and that was enough: a dead letter."""


def judge(size: int, deaths: int, failure: CallFailure) -> Blame:
    """Decide what becomes of a batch of `size` items whose call came to nothing by `failure`.

    Args:
        size: items in the batch.
        deaths: workers that its only item took down before this one; ignored where `size > 1`.
        failure: how the call failed.
    """
    match failure:
        case CallFailure.WORKER_LEFT | CallFailure.VALUE_LOST:
            return Blame.NOBODY
        case CallFailure.WORKER_DIED | CallFailure.RAISED if size > 1:
            return Blame.HALVED
        case CallFailure.RAISED:
            return Blame.GUILTY
        case CallFailure.WORKER_DIED:
            return Blame.GUILTY if deaths + 1 >= DEATHS_TO_BE_GUILTY else Blame.ALONE_AGAIN


def halves(batch: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The first and the second half, the second longer where the size is odd."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
