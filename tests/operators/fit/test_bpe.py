from __future__ import annotations

from pathlib import Path

from operators.fit.bpe import CORPORA, docstrings, train_bpe
from operators.models.checksum import sha256_of
from operators.tokenize.text_bpe import SHIPPED


def test_training_is_repeatable_and_keeps_every_byte() -> None:
    texts = [f"the quick brown fox number {index} jumps over the lazy dog" for index in range(50)]
    first, again = train_bpe(texts, 280), train_bpe(texts, 280)
    assert first.to_str() == again.to_str()
    assert first.get_vocab_size() == 280
    assert len(first.encode("é\x00🙂").ids) == 7


def test_docstrings_are_found_in_order_and_without_tests(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text('def f():\n    """Second.\n\n    More.\n    """\n')
    (tmp_path / "a.py").write_text('"""First."""\nx = "no docstring"\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "c.py").write_text('"""Left out."""\n')
    assert list(docstrings(tmp_path)) == ["First.", "Second.\n\nMore."]


def test_the_shipped_card_describes_the_shipped_vocabulary() -> None:
    card = SHIPPED.with_suffix(".md").read_text()
    assert sha256_of(SHIPPED) in card
    assert all(corpus.distribution in card for corpus in CORPORA)
