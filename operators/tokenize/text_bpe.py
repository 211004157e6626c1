"""`text-bpe`: byte-pair codes, from any `tokenizer.json` of Hugging Face's `tokenizers`, or from our own small one.

Byte-level vocabularies (GPT-2, Llama 3, Qwen, ours: Radford et al. 2019) lose nothing, not even bytes that are no
valid UTF-8: the library takes strings only, so that such bytes are set apart and become the token that stands for
that byte alone. Other vocabularies read them as U+FFFD, and may normalize.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from operators.errors import ConfigError, TokenizeFailedError
from operators.models.checksum import sha256_of
from operators.tokenize.options import path_or_none, whole
from operators.tokenize.text_base import WINDOW_BYTES, TextTokenizer

SHIPPED = Path(__file__).parent / "weights" / "text-bpe.json"

# Python's surrogateescape makes U+DC80..U+DCFF of bytes that are no UTF-8.
_INVALID = re.compile("([\udc80-\udcff]+)")


@dataclass(frozen=True, slots=True)
class TextBpeOptions:
    """Options of `text-bpe`.

    Attributes:
        weights: a `tokenizer.json`; None for the shipped one.
        window_bytes: the largest window; longer texts have several.
    """

    weights: str | None = None
    window_bytes: int = WINDOW_BYTES

    def __post_init__(self) -> None:
        path_or_none("weights", self.weights)
        whole("window_bytes", self.window_bytes, 4, 1 << 30)


class TextBpeTokenizer(TextTokenizer):
    """Bytes `[N]` <-> codes `[T]`. No special token is ever added, nor read from what a text spells out."""

    Options = TextBpeOptions

    def __init__(self, options: TextBpeOptions) -> None:
        path = path_or_none("weights", options.weights) or SHIPPED
        self.weights_sha256 = sha256_of(path)
        self._bpe = _load(path)
        # A text that spells out "<|endoftext|>" must not forge the end of a document.
        self._bpe.encode_special_tokens = True
        tokens: dict[str, int] = self._bpe.get_vocab(with_added_tokens=True)
        super().__init__(options.window_bytes, max(tokens.values(), default=-1) + 1)
        self._dtype = np.dtype(self.spec.dtype)
        alphabet = byte_alphabet()
        self.byte_level = _is_byte_level(self._bpe) and all(char in tokens for char in alphabet)
        self._byte_codes = np.asarray([tokens[char] for char in alphabet] if self.byte_level else [], self._dtype)
        self._spellings = self._spelled(tokens, alphabet) if self.byte_level else {}

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class, parameters, and what the vocabulary is."""
        return {
            "class": "operators.tokenize.text_bpe:TextBpeTokenizer",
            "options": {"window_bytes": self.window_bytes},
            "weights_sha256": self.weights_sha256,
        }

    def codes_of(self, texts: Sequence[bytes]) -> list[npt.NDArray[Any]]:
        """Byte pairs, all texts in one call to the library."""
        how = "surrogateescape" if self.byte_level else "replace"
        # Splitting by a group leaves valid stretches at even places and invalid bytes at odd ones.
        split = [_INVALID.split(text.decode("utf-8", how)) for text in texts]
        valid = [piece for pieces in split for piece in pieces[::2] if piece]
        encoded = iter(self._bpe.encode_batch_fast(valid, add_special_tokens=False))
        codes = list[npt.NDArray[Any]]()
        for pieces in split:
            parts = [np.zeros(0, self._dtype)]
            for index, piece in enumerate(pieces):
                if index % 2:
                    parts.append(self._byte_codes[np.frombuffer(piece.encode("utf-8", how), np.uint8)])
                elif piece:
                    parts.append(np.asarray(next(encoded).ids, self._dtype))
            codes.append(np.concatenate(parts))
        return codes

    def text_of(self, codes: npt.NDArray[Any]) -> bytes:
        """The bytes that the codes stand for."""
        if not self.byte_level:
            return str(self._bpe.decode(codes.tolist(), skip_special_tokens=False)).encode()
        try:
            return b"".join(self._spellings[code] for code in codes.tolist())
        except KeyError as error:
            raise TokenizeFailedError(f"code {error} is not in the vocabulary") from error

    def _spelled(self, tokens: Mapping[str, int], alphabet: str) -> dict[int, bytes]:
        byte_of = {char: byte for byte, char in enumerate(alphabet)}
        added = {int(code) for code in self._bpe.get_added_tokens_decoder()}
        return {
            code: token.encode() if code in added else bytes(byte_of[char] for char in token)
            for token, code in tokens.items()
        }


def byte_alphabet() -> str:
    """GPT-2's stand-ins: character b of this string stands for byte b. Printable Latin-1 stands for itself."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in plain else next(spare)) for byte in range(256))


def _is_byte_level(bpe: tokenizers.Tokenizer) -> bool:
    state: dict[str, Any] = json.loads(bpe.to_str())
    decoder: dict[str, Any] = state.get("decoder") or {}
    return "ByteLevel" in {decoder.get("type"), *(part.get("type") for part in decoder.get("decoders", []))}


def _load(path: Path) -> tokenizers.Tokenizer:
    try:
        bpe = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ConfigError(f"weights {path}: no tokenizer.json ({error})") from error
    bpe.no_padding()
    bpe.no_truncation()
    return bpe
