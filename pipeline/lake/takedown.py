"""What predicates take down: references, letters and empties. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from operators.records import MediaReference, Origin
from pipeline.flow.takedown import is_taken_down
from pipeline.records import Empty, Letter, Message, Predicate, PredicateField
from pipeline.refs.parse import parse


def taken_down_outcomes(
    letters: Iterable[Letter], empties: Iterable[Empty], predicates: Collection[Predicate]
) -> frozenset[Origin]:
    """The items that are to go. A letter is judged by its message; an empty, which has none, by its uri alone."""
    uris = {predicate.value for predicate in predicates if predicate.field is PredicateField.URI}
    gone = {empty.origin for empty in empties if empty.uri in uris}
    return frozenset(gone | {letter.origin for letter in letters if _letter_is(letter, predicates)})


def _letter_is(letter: Letter, predicates: Collection[Predicate]) -> bool:
    if Predicate(PredicateField.URI, letter.uri) in predicates:
        return True
    whole = Origin(letter.origin.source_id, letter.origin.partition, letter.origin.offset, 0)
    items = parse(Message(whole, letter.topic, letter.key, letter.value, letter.headers)).items
    item = items[letter.origin.item] if letter.origin.item < len(items) else None
    return isinstance(item, MediaReference) and is_taken_down(item, predicates)
