"""From a tokenizer's name in the config to the tokenizer. Imports torch only once one that needs it is built."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast

from operators.errors import ConfigError
from operators.records import Modality
from operators.tokenize.base import Precision, Tokenizer, TokenKind
from operators.tokenize.options import instance, nearest

GROUP = "mediatok.tokenizers"
"""The entry point group that other distributions put theirs in."""
MEMBERS = ("decode", "encode", "identity", "spec", "to", "tokenize")


@dataclass(frozen=True, slots=True)
class Description:
    """A built-in with its default options, as a table shows it.

    Attributes:
        name: as the config calls it.
        target: "package.module:Class".
        kind: codes or embeddings.
        modality: what it takes.
        vocabulary: how many codes each position has; None for embeddings.
        grid: shape of one window's tokens, or how many come of what.
        bits_per_pixel: what is stored for codes, information for information; None where there are no pixels.
        weights: where they come from.
        licence: of the weights.
        summary: what it is.
        bits_per_second: what is stored of sound; None where there is no time.
        rate: how often tokens come, e.g. "75 Hz × 8"; "" where there is no time.
    """

    name: str
    target: str
    kind: TokenKind
    modality: Modality
    vocabulary: int | None
    grid: str
    bits_per_pixel: float | None
    weights: str
    licence: str
    summary: str
    bits_per_second: float | None = None
    rate: str = ""


_BUILT_IN = (
    Description(
        name="audio-mdct",
        target="operators.tokenize.audio_mdct:AudioMdctTokenizer",
        kind=TokenKind.CODES,
        modality=Modality.AUDIO,
        vocabulary=1024,
        grid="600 a second",
        bits_per_pixel=None,
        weights="shipped (weights/audio-mdct.md)",
        licence="Apache-2.0",
        summary="envelope and band-split residual codes of MDCT frames at 24 kHz",
        bits_per_second=6000.0,
        rate="75 Hz × 8",
    ),
    Description(
        name="image-patches",
        target="operators.tokenize.image_patches:ImagePatchesTokenizer",
        kind=TokenKind.EMBEDDINGS,
        modality=Modality.IMAGE,
        vocabulary=None,
        grid="256×768",
        bits_per_pixel=96.0,
        weights="none",
        licence="Apache-2.0",
        summary="raw 16×16 patches as a vision transformer takes them; lossless",
    ),
    Description(
        name="image-patches-projected",
        target="operators.tokenize.image_patches:ProjectedPatchesTokenizer",
        kind=TokenKind.EMBEDDINGS,
        modality=Modality.IMAGE,
        vocabulary=None,
        grid="256×192",
        bits_per_pixel=24.0,
        weights="a cosine transform; or any published ViT's",
        licence="Apache-2.0",
        summary="patches through a linear projection",
    ),
    Description(
        name="image-rq",
        target="operators.tokenize.image_rq:ImageRqTokenizer",
        kind=TokenKind.CODES,
        modality=Modality.IMAGE,
        vocabulary=1024,
        grid="32×32×4",
        bits_per_pixel=0.625,
        weights="shipped (weights/image-rq.md)",
        licence="Apache-2.0",
        summary="residual codes of 8×8 patches",
    ),
    Description(
        name="text-bpe",
        target="operators.tokenize.text_bpe:TextBpeTokenizer",
        kind=TokenKind.CODES,
        modality=Modality.TEXT,
        vocabulary=8192,
        grid="about 0.3 a byte",
        bits_per_pixel=None,
        weights="shipped (weights/text-bpe.md); or any tokenizer.json",
        licence="Apache-2.0",
        summary="byte-level BPE; lossless",
    ),
    Description(
        name="text-bytes",
        target="operators.tokenize.text_bytes:TextBytesTokenizer",
        kind=TokenKind.CODES,
        modality=Modality.TEXT,
        vocabulary=256,
        grid="1 a byte",
        bits_per_pixel=None,
        weights="none",
        licence="Apache-2.0",
        summary="UTF-8 bytes; lossless",
    ),
    Description(
        name="video-interleaved",
        target="operators.tokenize.video_interleaved:VideoInterleavedTokenizer",
        kind=TokenKind.CODES,
        modality=Modality.VIDEO,
        vocabulary=8192,
        grid="32×32×4 a picture",
        bits_per_pixel=0.625,
        weights="its parts' (image-rq, audio-mdct, text-bpe)",
        licence="Apache-2.0",
        summary="pictures, sound and subtitles by time on one clock, with spans",
        bits_per_second=1 * 32 * 32 * 4 * 10 + 6000.0,
        rate="1 Hz, 75 Hz × 8",
    ),
)


def describe() -> tuple[Description, ...]:
    """Every built-in, by name."""
    return _BUILT_IN


def build(name: str, options: Mapping[str, Any]) -> Tokenizer:
    """A tokenizer on the CPU, ready to be moved `to` its device.

    Args:
        name: of a built-in, `package.module:Class`, or of an entry point in `mediatok.tokenizers`.
        options: for the class's `Options`.

    Raises:
        ConfigError: there is no such tokenizer, option or file; says what would be valid.
    """
    target = name if ":" in name else _target(name)
    made = instance(_load(name, target), name, options)
    missing = [member for member in MEMBERS if not hasattr(made, member)]
    if missing:
        raise ConfigError(f"tokenizer {name}: {target} is none, it lacks {', '.join(missing)}")
    return cast("Tokenizer", made)


def in_precision(tokenizer: Tokenizer, precision: Precision) -> Tokenizer:
    """The tokenizer with its encoder computing so; itself for float32, which all do.

    Raises:
        ConfigError: it has no encoder that could compute otherwise.
    """
    if precision is Precision.FLOAT32:
        return tokenizer
    change = getattr(tokenizer, "in_precision", None)
    if change is None:
        raise ConfigError(f"precision: {type(tokenizer).__name__} computes in float32 only, not in {precision.value}")
    return cast("Tokenizer", change(precision))


def pads(tokenizer: Tokenizer) -> bool:
    """Whether it pads a batch to its longest window, so that its windows should be about equally long."""
    return bool(getattr(tokenizer, "pads", False))


def identity_of(tokenizer: Tokenizer) -> Mapping[str, Any]:
    """All that its values depend on: what it says itself, and the precision where that is not float32."""
    precision = getattr(tokenizer, "precision", Precision.FLOAT32)
    return {**tokenizer.identity, **({} if precision is Precision.FLOAT32 else {"precision": precision.value})}


def _target(name: str) -> str:
    built_in = {description.name: description.target for description in _BUILT_IN}
    others = {point.name: point.value for point in entry_points(group=GROUP)}
    # A built-in's name means the same everywhere; nothing that is installed beside it can change that.
    known = {**others, **built_in}
    if name not in known:
        raise ConfigError(
            f'no tokenizer is called "{name}"{nearest(name, known)}, or an import path package.module:Class'
        )
    return known[name]


def _load(name: str, target: str) -> type[Any]:
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"tokenizer {name}: can't import {module_name} ({error})") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise ConfigError(f'tokenizer {name}: {module_name} has no class "{attribute}"{nearest(attribute, classes)}')
    return cast("type[Any]", found)
