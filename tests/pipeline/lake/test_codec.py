from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import InvariantError
from operators.records import EmptyReason, Failure, Modality, Origin, VoidReason
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.flow.ranges import merged
from pipeline.lake.codec import delta_bytes, parse_delta
from pipeline.lake.delta import Delta, Opening, OutcomeFile, ProductSpan, Rewrite, Skip, Start, VoidCount
from pipeline.lake.outcomes import outcome_bytes, read_outcomes
from pipeline.lake.paths import base_of, checkpoint_path, checkpoint_version, index_path, shard_path, version_path
from pipeline.records import Empty, Letter, Predicate, PredicateField, Product, Shard, SourcePartition, Span

text = st.text(max_size=8)
number = st.integers(0, 2**50)
logs = st.builds(SourcePartition, text, st.integers(0, 2**31 - 1))
ranges = st.lists(st.tuples(number, st.integers(1, 9)), max_size=4).map(
    lambda pairs: merged((start, start + length) for start, length in pairs)
)
spans = st.builds(Span, logs, ranges)
specs = st.builds(
    TokenSpec,
    st.sampled_from(TokenKind),
    st.sampled_from(Modality),
    text,
    st.lists(text, max_size=3).map(tuple),
    st.lists(number, max_size=3).map(tuple),
    st.sampled_from(["uint16", "float32"]),
    st.lists(number, max_size=3).map(tuple),
)
products = st.builds(Product, text, number, text, st.sampled_from(Modality), specs)


def some(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(strategy, max_size=2).map(tuple)


shards = st.builds(Shard, text, text, number, number, number, text)
files = st.builds(OutcomeFile, text, text, number, number, some(spans))

deltas = st.builds(
    Delta,
    version=number,
    base=number,
    commit_id=text,
    writer=text,
    committed_at_ms=number,
    openings=some(st.builds(Opening, products, text, st.none() | text)),
    starts=some(st.builds(Start, text, logs, number)),
    shards=some(shards),
    covers=some(st.builds(ProductSpan, text, spans)),
    outcomes=some(files),
    voids=some(st.builds(VoidCount, text, st.sampled_from(VoidReason), number)),
    closings=some(st.builds(ProductSpan, text, spans)),
    skips=some(st.builds(Skip, text, spans, st.sampled_from(VoidReason))),
    remade=some(st.builds(ProductSpan, text, spans)),
    rewrites=some(st.builds(Rewrite, text, some(text), some(shards), some(files), number, number)),
    predicates=some(st.builds(Predicate, st.sampled_from(PredicateField), text)),
    min_base=st.none() | number,
)


@given(deltas)
def test_a_delta_comes_back_as_it_was(delta: Delta) -> None:
    assert parse_delta(delta_bytes(delta)) == delta


def test_scattered_messages_are_a_bitmap_and_not_a_list_of_ranges() -> None:
    span = Span(SourcePartition("s", 0), tuple((offset, offset + 1) for offset in range(0, 1_000_000, 2)))
    delta = Delta(1, 0, "c", "w", 0, covers=(ProductSpan("p", span),))
    assert len(delta_bytes(delta)) < 200_000
    assert parse_delta(delta_bytes(delta)) == delta


SOUND = {"format": 1, "version": 3, "base": 2, "commit_id": "c", "writer": "w", "committed_at_ms": 5}
COVER = {"product": "p", "source": "s", "partition": 0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        ({"format": 2}, "format 2"),
        ({"format": None}, "format"),
        ({"version": "3"}, "version"),
        ({"version": True}, "version"),
        ({"commit_id": 3}, "commit_id"),
        ({"promises": []}, "promises"),
        ({"predicates": [{"field": "colour", "value": "red"}]}, "field"),
        ({"rewrites": [{"product": "p", "removes": []}]}, "shards"),
        ({"covers": [COVER | {"bitmap": "no base64"}]}, "base64"),
        ({"covers": [COVER | {"bitmap": "AAAA"}]}, "bitmap"),
        ({"shards": {}}, "shards"),
        ({"shards": [{"path": "x"}]}, "product"),
        ({"covers": [COVER]}, "ranges"),
        ({"covers": [COVER | {"ranges": [[3, 1]]}]}, "ranges"),
        ({"covers": [COVER | {"ranges": [[1, 3], [3, 5]]}]}, "ranges"),
        ({"covers": [COVER | {"ranges": [[-1, 3]]}]}, "ranges"),
        ({"covers": [COVER | {"ranges": [[1, 3]], "more": 1}]}, "more"),
        ({"voids": [{"product": "p", "reason": "whim", "items": 1}]}, "reason"),
    ],
)
def test_anything_else_is_refused_and_named(change: bytes | dict[str, object], says: str) -> None:
    data = change if isinstance(change, bytes) else json.dumps(SOUND | change).encode()
    with pytest.raises(InvariantError, match=says):
        parse_delta(data)


def test_missing_fields_are_named() -> None:
    for name in SOUND:
        with pytest.raises(InvariantError, match=name):
            parse_delta(json.dumps({key: value for key, value in SOUND.items() if key != name}).encode())


origins = st.builds(Origin, text, number, number, number)
letters = st.builds(
    Letter,
    product=text,
    origin=origins,
    uri=st.text(st.characters(), max_size=9),
    failure=st.builds(Failure, text, text, text, text),
    topic=text,
    key=st.none() | st.binary(max_size=5),
    value=st.none() | st.binary(max_size=5),
    headers=st.lists(st.tuples(text, st.binary(max_size=3)), max_size=2).map(tuple),
    attempts=number,
    at_ms=number,
)
empties = st.builds(Empty, text, origins, text, st.sampled_from(EmptyReason))


@given(some(letters), some(empties))
def test_letters_and_empties_come_back_as_they_were(
    some_letters: tuple[Letter, ...], some_empties: tuple[Empty, ...]
) -> None:
    assert read_outcomes(outcome_bytes(some_letters, some_empties)) == (some_letters, some_empties)


@pytest.mark.parametrize("line", [b"x", b"{}", b'{"outcome":"rows"}', b'{"outcome":"letter"}', b"[]"])
def test_lines_that_are_neither_are_refused(line: bytes) -> None:
    with pytest.raises(InvariantError, match="line 1"):
        read_outcomes(line)


def test_paths_say_what_they_hold() -> None:
    shard = shard_path("image-rq-1a2b3c4d", "2026-11-24", 12, "ab-cd")
    assert shard == "data/product=image-rq-1a2b3c4d/dt=2026-11-24/part-12-ab-cd.arrow"
    assert index_path(shard) == "_meta/index/part-12-ab-cd.idx"
    assert base_of(shard) == 12
    assert base_of("_meta/letters/7-ab.jsonl") == 7
    assert version_path(1000) == "_meta/log/000001/000001000.json"
    assert checkpoint_version(checkpoint_path(4)) == 4
    assert checkpoint_version("_meta/checkpoints/.4.zip") is None
    with pytest.raises(InvariantError):
        base_of("data/product=x/dt=y/other.arrow")
