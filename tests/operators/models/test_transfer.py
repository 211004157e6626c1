"""Parts of a call go ahead of what is computed, never further than two, and nothing depends on how it is cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from operators.models.transfer import AHEAD, HostLink, cuts, through

Array = npt.NDArray[Any]


class WatchedLink(HostLink):
    """Writes down what happens when."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def send(self, part: Array) -> Tensor:
        self.seen.append(f"send {int(part[0])}")
        return super().send(part)

    def fetch(self, result: Any) -> Any:
        self.seen.append(f"fetch {int(result[0])}")
        return super().fetch(result)

    def landed(self, fetched: Any) -> Array:
        self.seen.append(f"landed {int(fetched[0])}")
        return super().landed(fetched)


def parts(count: int) -> list[Array]:
    return [np.full(2, number, np.int64) for number in range(count)]


def test_the_next_part_is_on_its_way_before_one_is_computed() -> None:
    link = WatchedLink()

    def compute(part: Tensor, number: int) -> Tensor:
        link.seen.append(f"compute {number}")
        return part

    through(compute, parts(3), "cpu", link)
    sent_and_computed = ["send 0", "send 1", "compute 0", "fetch 0", "send 2", "compute 1", "fetch 1", "compute 2"]
    assert link.seen == [*sent_and_computed, "fetch 2", "landed 0", "landed 1", "landed 2"]


@given(st.integers(0, 12))
def test_no_more_than_two_parts_are_ahead_and_results_keep_their_order(count: int) -> None:
    link = WatchedLink()
    found = through(lambda part, number: part * 10 + number, parts(count), "cpu", link)
    assert [each.tolist() for each in found] == [[11 * number] * 2 for number in range(count)]
    waiting = 0
    for what in link.seen:
        waiting += what.startswith("send") - what.startswith("fetch")
        assert waiting <= AHEAD


def test_a_result_that_was_brought_back_already_is_taken_as_it_is() -> None:
    (found,) = through(lambda part, _number: part.numpy() + 1, parts(1), "cpu")
    assert found.tolist() == [1, 1]


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 150))
def test_cuts_take_every_window_once_and_as_many_as_fit(sizes: list[int], most: int) -> None:
    found = cuts(sizes, most)
    assert [number for start, stop in found for number in range(start, stop)] == list(range(len(sizes)))
    for start, stop in found:
        assert stop > start
        assert sum(sizes[start:stop]) <= most or stop == start + 1
    for (start, stop), (_, after) in pairwise(found):
        assert stop < after
        assert sum(sizes[start : stop + 1]) > most


def test_without_a_limit_a_call_is_one_part() -> None:
    assert cuts([5, 5, 5], None) == [(0, 3)]
    assert cuts([], None) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_back_what_it_was_sent() -> None:
    rng = np.random.default_rng(0)
    sent = [rng.integers(0, 255, (3, 1 << 20), np.uint8) for _ in range(17)]
    found = through(lambda part, number: part.to(torch.int32) * 2 + number, sent, "cuda:0")
    for number, (part, result) in enumerate(zip(sent, found, strict=True)):
        assert np.array_equal(part.astype(np.int32) * 2 + number, result)
