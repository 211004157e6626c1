"""From what a dataset says of its tokenizer to the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.errors import ConfigError
from operators.tokenize import registry
from operators.tokenize.base import Tokenizer


def rebuilt(identity: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer with this identity, built anew.

    Args:
        identity: as a product's schema metadata has it: class, options, and what the weights were.

    Raises:
        ConfigError: it can't be built, or what is built here is not the same (weights of one's own).
    """
    if "class" not in identity:
        raise ConfigError("the tokens do not say which tokenizer made them; name it with --tokenizer")
    tokenizer = registry.build(str(identity["class"]), dict(identity.get("options", {})))
    if dict(tokenizer.identity) != dict(identity):
        raise ConfigError(
            "the tokens were made with weights that are not the shipped ones; "
            "name tokenizer and weights with --tokenizer and --option weights=..."
        )
    return tokenizer
