from __future__ import annotations

import sys
from pathlib import Path

import pytest

from operators.errors import ConfigError
from operators.tokenize.text_bytes import TextBytesOptions, TextBytesTokenizer
from pipeline.app.rebuild import rebuilt, stored_identity
from tests.pipeline.app.report.lakes import HERE, Letterwise

MADE = TextBytesTokenizer(TextBytesOptions(window_bytes=32))


def test_one_of_ours_comes_back_from_what_was_stored_of_it() -> None:
    found = rebuilt(MADE.identity)
    assert isinstance(found, TextBytesTokenizer)
    assert found.identity == MADE.identity


def test_options_that_were_tuples_are_the_same_as_the_lists_that_json_made_of_them(monkeypatch) -> None:
    stored = {**MADE.identity, "mean": [1, 2]}
    monkeypatch.setattr(TextBytesTokenizer, "identity", property(lambda _: {**stored, "mean": (1, 2)}))
    assert rebuilt(stored).identity["mean"] == (1, 2)


def test_the_identity_may_stand_within_that_of_a_whole_product() -> None:
    assert stored_identity({"tokenizer": {"format": 1, "tokenizer": MADE.identity}}) == MADE.identity
    assert stored_identity({"tokenizer": {"class": "golden"}}) == {"class": "golden"}
    with pytest.raises(ConfigError, match="not said"):
        stored_identity({})


def test_other_weights_than_those_that_are_shipped_give_nothing_back() -> None:
    with pytest.raises(ConfigError, match="other weights or parameters"):
        rebuilt({**MADE.identity, "weights_sha256": "another"})


def test_what_can_not_be_built_says_why() -> None:
    with pytest.raises(ConfigError, match=r"can't be built here: .*window_bytes"):
        rebuilt({**MADE.identity, "options": {"window_bytes": 1}})


def test_a_stranger_s_module_is_not_imported_because_tokens_name_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "strangers_module.py").write_text("class It: ...")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="strangers_module:It' does not come along"):
        rebuilt({"class": "strangers_module:It", "options": {}})
    assert "strangers_module" not in sys.modules


def test_one_that_is_named_may_be_anybodys() -> None:
    assert isinstance(rebuilt(Letterwise.identity, [(f"{HERE}:Letterwise", {})]), Letterwise)


def test_a_name_that_has_moved_on_does_not_hide_what_was_stored() -> None:
    assert rebuilt(MADE.identity, [("text-bytes", {"window_bytes": 64})]).identity == MADE.identity
