"""The tree of errors: whole, drawn as it is, and each says what to do."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator

import pytest

import operators
import pipeline
from operators import errors
from operators.errors import Disposition, MediatokError, advice_for


def tree(root: type[MediatokError]) -> Iterator[type[MediatokError]]:
    for error in root.__subclasses__():
        yield error
        yield from tree(error)


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported() -> None:
    for package in (operators, pipeline):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def test_every_error_says_what_to_do_in_words_of_its_own() -> None:
    silent = [error.__name__ for error in tree(MediatokError) if "code" in vars(error) and "advice" not in vars(error)]
    assert set(silent) <= {"NotAnImageError", "NotTextError", "NotMediaError", "NoStreamError", "DecodeFailedError"}
    assert all(error.advice for error in tree(MediatokError))


def test_a_code_is_one_errors_alone() -> None:
    codes = Counter(error.code for error in tree(MediatokError) if "code" in vars(error))
    assert [code for code, times in codes.items() if times > 1] == []


def test_all_of_the_operators_tree_is_drawn_with_its_codes() -> None:
    drawn = errors.__doc__ or ""
    for error in tree(MediatokError):
        if error.__module__ == errors.__name__:
            assert error.__name__ in drawn
            assert error.code in drawn or error.__subclasses__()


def test_a_disposition_is_its_branchs() -> None:
    roots = {Disposition.RETRY: errors.TransientError, Disposition.LETTER: errors.MediaError}
    for disposition, root in roots.items():
        assert all(error.disposition is disposition for error in tree(root))
    assert all(error.disposition is Disposition.STOP for error in tree(errors.StopError))


def test_advice_is_found_by_the_code_of_a_letter() -> None:
    assert "dlq replay" in (advice_for("decode.truncated") or "")
    assert advice_for("somebody.elses") is None
