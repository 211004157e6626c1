from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.nearness import node_for, preferring


@pytest.mark.parametrize(
    ("decoders", "tokenizers", "node"),
    [
        ([], [], ""),
        (["a"], ["", ""], ""),
        ([], ["b", "b", "a"], "b"),
        (["b"], ["b", "b", "a"], "a"),
        (["b", "a"], ["b", "b", "a"], "b"),
        (["elsewhere"] * 5, ["a"], "a"),
    ],
)
def test_decoders_are_shared_out_as_tokenizers_are(decoders: list[str], tokenizers: list[str], node: str) -> None:
    assert node_for(decoders, tokenizers) == node


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(1, 40))
def test_no_tokenizer_has_a_decoder_more_than_another_could_have_been_given(tokenizers: list[str], count: int) -> None:
    decoders: list[str] = []
    for _ in range(count):
        decoders.append(node_for(decoders, tokenizers))
    readers = Counter(tokenizers)
    here = Counter(decoders)
    for node, other in product(readers, readers):
        assert here[node] / readers[node] <= (here[other] + 1) / readers[other] + 1e-9


def test_without_a_node_ray_is_left_its_choice() -> None:
    assert preferring("") is None
