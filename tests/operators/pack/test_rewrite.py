"""Which rows repeat others, whatever shards they lie in."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.pack.rewrite import SampleRows, repeated_rows

Row = tuple[int, tuple[str, int, int, int]]
"""(sample, origin)."""

rows = st.lists(
    st.tuples(
        st.integers(0, 4), st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 5), st.integers(0, 1))
    ),
    unique=True,
    max_size=30,
)


def part(some: list[Row]) -> SampleRows:
    sources = tuple(dict.fromkeys(origin[0] for _, origin in some))
    ids = np.asarray([(1 << 63, sample) for sample, _ in some], np.uint64).reshape(-1, 2)
    places = [(sources.index(source), *numbers) for _, (source, *numbers) in some]
    return SampleRows(ids, sources, np.asarray(places, np.int64).reshape(-1, 4))


def kept(parts: list[list[Row]]) -> list[Row]:
    masks = repeated_rows([part(each) for each in parts])
    return [
        row for each, mask in zip(parts, masks, strict=True) for row, gone in zip(each, mask, strict=True) if not gone
    ]


@given(rows, st.integers(1, 4), st.randoms(use_true_random=False))
def test_of_each_sample_the_row_of_the_least_origin_stays_however_rows_lie(
    some: list[Row], count: int, rng: random.Random
) -> None:
    rng.shuffle(some)
    parts = [some[number::count] for number in range(count)]
    found = kept(parts)
    assert Counter(sample for sample, _ in found) == Counter({sample for sample, _ in some})
    least = {sample: min(origin for other, origin in some if other == sample) for sample, _ in some}
    assert dict(found) == least


def test_no_shards_have_no_repeats() -> None:
    assert repeated_rows([]) == []
