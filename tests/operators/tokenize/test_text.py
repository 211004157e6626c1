from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from operators.errors import ConfigError, TokenizeFailedError
from operators.records import TokenSequence, WindowBatch
from operators.tokenize.text_base import TextTokenizer
from operators.tokenize.text_bpe import SHIPPED, TextBpeOptions, TextBpeTokenizer, byte_alphabet
from operators.tokenize.text_bytes import TextBytesOptions, TextBytesTokenizer

BYTES = TextBytesTokenizer(TextBytesOptions())
BPE = TextBpeTokenizer(TextBpeOptions())
BOTH = pytest.mark.parametrize("tokenizer", [BYTES, BPE], ids=["bytes", "bpe"])


def batch_of(*texts: bytes) -> WindowBatch:
    data = np.frombuffer(b"".join(texts), np.uint8)
    return WindowBatch("utf8:1048576", data, np.asarray([len(text) for text in texts], np.int64))


def encoded(tokenizer: TextTokenizer, text: bytes) -> TokenSequence:
    return tokenizer.encode(np.frombuffer(text, np.uint8))


@BOTH
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode())))
@settings(max_examples=200, deadline=None)
def test_any_bytes_come_back_as_they_were(tokenizer: TextTokenizer, text: bytes) -> None:
    tokens = encoded(tokenizer, text)
    assert tokens.values.dtype == np.uint16
    assert tokenizer.decode(tokens).tobytes() == text


@BOTH
@given(st.lists(st.binary(max_size=40), max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_batch_gives_what_its_texts_give_alone(tokenizer: TextTokenizer, texts: list[bytes]) -> None:
    tokens = tokenizer.tokenize(batch_of(*texts))
    assert len(tokens) == len(texts)
    for index, text in enumerate(texts):
        assert np.array_equal(tokens[index].values, encoded(tokenizer, text).values)
        assert tokens.n_tokens[index] == tokens.shapes[index, 0] == len(tokens[index].values)


@BOTH
def test_empty_text_has_no_tokens(tokenizer: TextTokenizer) -> None:
    assert encoded(tokenizer, b"").values.shape == (0,)
    assert tokenizer.decode(TokenSequence(np.zeros(0, np.uint16))).shape == (0,)
    assert tokenizer.tokenize(batch_of(b"", b"a", b"")).n_tokens.tolist() == [0, 1, 0]


def test_bytes_are_codes() -> None:
    assert encoded(BYTES, "né\n".encode() + b"\xff").values.tolist() == [110, 195, 169, 10, 255]
    assert BYTES.spec.codebook_sizes == (256,)


def test_valid_text_is_coded_as_the_library_does() -> None:
    text = "The tokenizer splits words; 数字 123 and emoji 🙂 too.\n\n    return None"
    assert encoded(BPE, text.encode()).values.tolist() == Tokenizer.from_file(str(SHIPPED)).encode(text).ids


def test_english_takes_less_than_a_third_of_its_bytes() -> None:
    text = b"A photographer in a dark coat looks through a camera, and returns an array of the same shape."
    assert len(encoded(BPE, text).values) < len(text) / 3


def test_the_byte_alphabet_is_the_library_s() -> None:
    assert sorted(byte_alphabet()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert byte_alphabet()[ord("A")] == "A"
    assert byte_alphabet()[ord(" ")] == "Ġ"


def test_what_a_text_spells_out_is_no_special_token(tmp_path: Path) -> None:
    library = Tokenizer.from_file(str(SHIPPED))
    library.add_special_tokens(["<|endoftext|>"])
    library.enable_truncation(4)
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = TextBpeTokenizer(TextBpeOptions(weights=str(tmp_path / "tokenizer.json")))
    text = b"one<|endoftext|>two \xff three"
    tokens = encoded(tokenizer, text)
    assert tokenizer.vocabulary == 8193
    assert 8192 not in tokens.values.tolist()
    assert tokenizer.decode(tokens).tobytes() == text
    assert tokenizer.decode(TokenSequence(np.asarray([8192], np.uint16))).tobytes() == b"<|endoftext|>"


def test_a_large_vocabulary_needs_uint32(tmp_path: Path) -> None:
    vocabulary = {char: code for code, char in enumerate(byte_alphabet())}
    vocabulary |= {f"Ġ{code}": code for code in range(256, 70_000)}
    library = Tokenizer(models.BPE(vocabulary, []))
    library.decoder = decoders.ByteLevel()
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = TextBpeTokenizer(TextBpeOptions(weights=str(tmp_path / "tokenizer.json")))
    assert tokenizer.spec.dtype == "uint32"
    assert encoded(tokenizer, b"ab").values.dtype == np.uint32


def test_a_vocabulary_without_bytes_reads_invalid_ones_as_the_replacement_character(tmp_path: Path) -> None:
    library = Tokenizer(models.WordLevel({"a": 0, "�": 1, "?": 2}, unk_token="?"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = TextBpeTokenizer(TextBpeOptions(weights=str(tmp_path / "tokenizer.json")))
    assert not tokenizer.byte_level
    assert encoded(tokenizer, b"a \xff b").values.tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"model": 3})])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        TextBpeTokenizer(TextBpeOptions(weights=str(tmp_path / "tokenizer.json")))


@BOTH
def test_windows_and_codes_that_can_not_be_are_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(TokenizeFailedError, match="lengths"):
        tokenizer.tokenize(WindowBatch("utf8:8", np.zeros(4, np.uint8), np.asarray([3], np.int64)))
    with pytest.raises(TokenizeFailedError, match=str(tokenizer.vocabulary - 1)):
        tokenizer.decode(TokenSequence(np.asarray([tokenizer.vocabulary], np.uint16)))


def test_the_window_is_an_option() -> None:
    assert TextBytesTokenizer(TextBytesOptions(window_bytes=4096)).spec.view == "utf8:4096"
    with pytest.raises(ConfigError, match=r"options\.window_bytes"):
        TextBpeOptions(window_bytes=0)
