"""Tokenizers by name: built-in, by import path, or from an installed package's entry point.

Importing this module imports no tokenizer, hence no torch.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast

from operators.errors import ConfigError
from operators.records import Modality
from operators.tokenize.base import Tokenizer, TokenKind

ENTRY_POINTS = "mediatok.tokenizers"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """What can be said of a built-in without building it.

    Attributes:
        path: `module:Class`.
        vocabulary: sizes of its codebooks, or what its vectors are.
        grid: of the tokens of one window.
        weights: where they come from.
        licence: of the weights.
    """

    name: str
    path: str
    kind: TokenKind
    modality: Modality
    vocabulary: str
    grid: str
    weights: str
    licence: str


BUILT_IN: Mapping[str, BuiltIn] = {
    each.name: each
    for each in (
        BuiltIn(
            "image-rq",
            "operators.tokenize.image_rq:ImageResidualQuantizer",
            TokenKind.CODES,
            Modality.IMAGE,
            "4 × 1024 (residual)",
            "32 × 32 × 4 for 256 × 256 pixels",
            "shipped: image-rq.safetensors",
            "Apache-2.0",
        ),
        BuiltIn(
            "image-patches",
            "operators.tokenize.image_patches:RawPatches",
            TokenKind.EMBEDDINGS,
            Modality.IMAGE,
            "768 numbers a patch",
            "256 patches of 16 × 16 pixels",
            "none",
            "–",
        ),
        BuiltIn(
            "image-patches-projected",
            "operators.tokenize.image_patches:ProjectedPatches",
            TokenKind.EMBEDDINGS,
            Modality.IMAGE,
            "192 numbers a patch, or the weights' width",
            "256 patches of 16 × 16 pixels",
            "DCT basis, or any ViT's patch projection",
            "–",
        ),
        BuiltIn(
            "text-bytes",
            "operators.tokenize.text_bytes:TextBytes",
            TokenKind.CODES,
            Modality.TEXT,
            "256",
            "1 a byte",
            "none",
            "–",
        ),
        BuiltIn(
            "text-bpe",
            "operators.tokenize.text_bpe:TextBpe",
            TokenKind.CODES,
            Modality.TEXT,
            "8192, or the tokenizer.json's",
            "about 1 a word piece",
            "shipped: text-bpe.json",
            "Apache-2.0",
        ),
    )
}


def build(name: str, options: Mapping[str, Any]) -> Tokenizer:
    """Build a tokenizer on the CPU.

    Args:
        name: a built-in's, `package.module:Class`, or an entry point's of the group `mediatok.tokenizers`.
        options: keyword arguments of the class.

    Raises:
        ConfigError: there is no such tokenizer or option; names the nearest valid one.
    """
    make = _find(name)
    try:
        return cast("Tokenizer", make(**options))
    except TypeError as error:
        raise ConfigError(f"{name}: {_explain(error, make)}") from error


def _find(name: str) -> Any:  # noqa: ANN401  whatever the user names
    if name in BUILT_IN:
        return _load(name, BUILT_IN[name].path)
    if ":" in name:
        return _load(name, name)
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in found:
        return found[name].load()
    valid = sorted({*BUILT_IN, *found})
    nearest = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise ConfigError(f"no tokenizer {name!r}; {hint}valid: {', '.join(valid)}, or package.module:Class")


def _load(name: str, path: str) -> Any:  # noqa: ANN401
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"tokenizer {name!r}: {path} can't be imported: {error}") from error


def _explain(error: TypeError, make: Any) -> str:  # noqa: ANN401
    import inspect

    valid = [parameter for parameter in inspect.signature(make).parameters if parameter != "self"]
    return f"{error}; options: {', '.join(valid) or 'none'}"
