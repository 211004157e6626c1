"""Which references a takedown is about. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection

from operators.records import MediaReference
from pipeline.records import Predicate, PredicateField


def is_taken_down(reference: MediaReference, predicates: Collection[Predicate]) -> bool:
    """Whether one of these predicates names it: by uri, or by an attribute as its row would have it."""
    if not predicates:
        return False
    return any(Predicate(field, value) in predicates for field, value in _values(reference))


def _values(reference: MediaReference) -> tuple[tuple[PredicateField, str], ...]:
    found = [(PredicateField.URI, reference.uri)]
    for field in (PredicateField.SUBJECT_KEY, PredicateField.LICENCE):
        value = reference.attributes.get(field.value)
        if value is not None:
            text = (
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
            )
            found.append((field, text))
    return tuple(found)
