"""What whole messages came to, as the unit of a commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from operators.records import VoidReason
from pipeline.flow.assembly import WholeMessage
from pipeline.records import Empty, Letter, Sealed, Shard, SourcePartition, Span, ranges_of


def sealed_of(product: str, messages: Sequence[WholeMessage], shards: tuple[Shard, ...]) -> Sealed:
    """Sum up messages whose rows lie in `shards`.

    Args:
        product: key.
        messages: as `Assembler.take_whole` gave them.
        shards: of all their rows; none where they have none.
    """
    covered: dict[SourcePartition, list[int]] = {}
    for message in messages:
        covered.setdefault(message.log, []).append(message.offset)
    endings = [item.ended for message in messages for item in message.items]
    return Sealed(
        product=product,
        shards=shards,
        covers=tuple(Span(log, ranges_of(offsets)) for log, offsets in covered.items()),
        letters=tuple(ending for ending in endings if isinstance(ending, Letter)),
        empties=tuple(ending for ending in endings if isinstance(ending, Empty)),
        voids=dict(Counter(ending for ending in endings if isinstance(ending, VoidReason))),
        voided=_voided(messages),
    )


def _voided(messages: Sequence[WholeMessage]) -> tuple[tuple[VoidReason, Span], ...]:
    """Which messages had void items; a message with n of one reason stands in n spans of it."""
    layers: dict[tuple[VoidReason, int, SourcePartition], list[int]] = {}
    for message in messages:
        voids = Counter(item.ended for item in message.items if isinstance(item.ended, VoidReason))
        for reason, items in voids.items():
            for layer in range(items):
                layers.setdefault((reason, layer, message.log), []).append(message.offset)
    return tuple((reason, Span(log, ranges_of(offsets))) for (reason, _, log), offsets in layers.items())
