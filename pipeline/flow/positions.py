"""Where a lane starts to read a log. Progress is the lake's; Kafka's committed offsets have no say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class StartReason(StrEnum):
    """What decided a product's `from`."""

    COMMITTED = "committed"
    """The lake has one already."""
    POLICY = "policy"
    """The first start of this source: earliest, latest or a time, as configured."""
    NEW_PARTITION = "new_partition"
    """The source is known, this partition is not: all of it is owed."""
    JOINING = "joining"
    """The lane reads this log already and a product joins: it starts at the lane's live position."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where to read from, and what must be committed before anything is dispatched.

    Attributes:
        position: the least offset that some product is owed.
        new: by product key, the `from` that the lake does not have yet.
        reasons: by product key.
    """

    position: int
    new: Mapping[str, int]
    reasons: Mapping[str, StartReason]


def choose_start(
    next_uncovered: Mapping[str, int | None], *, source_known: bool, earliest: int, by_policy: Callable[[], int]
) -> Start:
    """Decide a log's position.

    Args:
        next_uncovered: by product key, the least uncovered offset at or after its committed `from`; None where it has
            no `from` for this log.
        source_known: whether the lake has a `from` for any partition of this source in any of the products.
        earliest: the log's first offset.
        by_policy: resolves the configured start. It is asked once for ever: the answer is committed, because
            resolving "latest" again after a crash would skip what came in between.
    """
    committed = {key: offset for key, offset in next_uncovered.items() if offset is not None}
    if committed:
        fresh, why = min(committed.values()), StartReason.JOINING
    elif source_known:
        fresh, why = earliest, StartReason.NEW_PARTITION
    else:
        fresh, why = by_policy(), StartReason.POLICY
    new = {key: fresh for key in next_uncovered if key not in committed}
    reasons = {key: StartReason.COMMITTED if key in committed else why for key in next_uncovered}
    return Start(min((*committed.values(), *new.values())), new, reasons)
