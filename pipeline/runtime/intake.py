"""From a source's messages to a lane's items: parsed, their modality decided, what is another lane's set aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from operators.errors import ReferenceUnclaimedError
from operators.records import Failure, MediaReference, Modality, VoidReason
from pipeline.flow.calls import Item
from pipeline.records import Message
from pipeline.refs.modality import resolve
from pipeline.refs.parse import parse


@dataclass(frozen=True, slots=True)
class Claims:
    """Which lane takes what from which topic. One for the whole run, so that all lanes judge alike.

    Attributes:
        lanes: by topic, the modalities of the lanes that read it, in the order of the config.
    """

    lanes: Mapping[str, tuple[Modality, ...]]

    def by_topic(self) -> Mapping[str, Modality]:
        """Topics that one lane alone reads: their items need no further look."""
        return {topic: modalities[0] for topic, modalities in self.lanes.items() if len(modalities) == 1}

    def judge(self, topic: str, modality: Modality | str, lane: Modality) -> VoidReason | Failure | None:
        """Whether an item of `modality` is this lane's: None if so, else what it is here.

        What no lane claims is one letter, in the topic's first lane.
        """
        takers = self.lanes[topic]
        if modality == lane:
            return None
        if modality in takers or lane is not takers[0]:
            return VoidReason.NOT_MINE
        taken = ", ".join(takers)
        error = ReferenceUnclaimedError(f"{modality}: no lane of topic {topic!r} takes it (they take: {taken})")
        return error.failure()


class Intake:
    """One lane's view of the messages."""

    def __init__(self, claims: Claims, lane: Modality) -> None:
        self._claims = claims
        self._lane = lane
        self._by_topic = claims.by_topic()

    def items(self, message: Message) -> Sequence[Item]:
        """What a message holds for this lane. A reference whose modality only its bytes can tell stays one."""
        return tuple(self._item(message.topic, item) for item in parse(message).items)

    def _item(self, topic: str, item: Item) -> Item:
        if isinstance(item, Failure):
            # Malformed: nobody can say whose it is, so it is one letter, in the topic's first lane.
            return item if self._claims.lanes[topic][0] is self._lane else VoidReason.NOT_MINE
        if not isinstance(item, MediaReference):
            return item
        reference = resolve(item, topic, self._by_topic)
        if reference.modality is None:
            return reference
        verdict = self._claims.judge(topic, reference.modality, self._lane)
        return reference if verdict is None else verdict
