"""What a message turns out to be."""

from __future__ import annotations

from dataclasses import dataclass

from operators.records import Failure, MediaReference, VoidReason

Item = MediaReference | VoidReason | Failure
"""Something to tokenize, nothing to tokenize, or something that can't be understood."""


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """One entry an item, in the message's order; at least one.

    A message that is malformed as a whole is one item: a Failure.
    """

    items: tuple[Item, ...]
