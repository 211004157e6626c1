"""From what a dataset says of its tokenizer to the tokenizer, for the way back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from operators.errors import ConfigError
from operators.tokenize import registry
from operators.tokenize.base import Precision, Tokenizer

_OURS = "operators.tokenize."

Named = tuple[str, Mapping[str, Any]]
"""A tokenizer's name and options."""


def stored_identity(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tokenizer's own identity, from a schema's metadata: of a lake's product it is a part of the whole one.

    Raises:
        ConfigError: there is none.
    """
    identity: Mapping[str, Any] = facts.get("tokenizer", {})
    own: Mapping[str, Any] = identity.get("tokenizer", identity)
    if "class" not in own:
        raise ConfigError("what made these tokens is not said")
    return own


def rebuilt(stored: Mapping[str, Any], named: Iterable[Named] = ()) -> Tokenizer:
    """A tokenizer on the CPU whose identity is the stored one.

    Args:
        stored: class, options, and what the weights were.
        named: tokenizers to try first: they may have weights of one's own.

    Raises:
        ConfigError: there is none to be had, and why.
    """
    why = f"their tokenizer {stored.get('class')!r} does not come along"
    for name, options in (*named, *_own(stored)):
        try:
            precision = Precision(stored.get("precision", Precision.FLOAT32))
            tokenizer = registry.in_precision(registry.build(name, options), precision)
        except (ConfigError, ValueError) as error:
            why = f"their tokenizer can't be built here: {error}"
            continue
        if json.loads(json.dumps(dict(registry.identity_of(tokenizer)))) == stored:
            return tokenizer
        why = "they were made with other weights or parameters than what can be built here"
    raise ConfigError(why)


def _own(stored: Mapping[str, Any]) -> Iterator[Named]:
    target = str(stored.get("class", ""))
    # Tokens may come from strangers: of what they name, nothing is imported that nobody here has asked for.
    if target.startswith(_OURS) or target in {point.value for point in entry_points(group=registry.GROUP)}:
        yield target, stored.get("options", {})
