from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from operators.errors import StoreUnavailableError
from operators.records import Failure, MediaReference, Modality, Origin
from pipeline.lake.delta import Opening
from pipeline.lake.gather import Offsets
from pipeline.lake.items import Place, items_with_rows
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal, Reason
from pipeline.lake.remade import is_remade, remade_message
from pipeline.lake.replay import Replay, message_of
from pipeline.lake.store_local import LocalStore
from pipeline.lake.verify import verify
from pipeline.records import Letter, Product, Sealed, SealKind, Task
from pipeline.refs.parse import parse

NAMES = {"image-rq": "image-rq-5e6f7a8b"}
VALUE = b'{"items": [{"uri": "mem://0"}, {"uri": "mem://1"}, {"uri": "mem://2"}]}'


@pytest.fixture
def lake(golden: ModuleType, tmp_path: Path) -> Lake:
    """With a letter of message 13, by a closed predecessor."""
    return golden.make_lake(tmp_path / "lake")


def letter(golden: ModuleType, product: Product, offset: int, item: int = 0, code: str = "decode.failed") -> Letter:
    base: Letter = golden.letter(product, offset)
    failure = Failure(code, code.partition(".")[0], "why")
    origin = replace(base.origin, item=item)
    return replace(base, origin=origin, failure=failure, value=VALUE, headers=(), attempts=item + 1)


def seal(golden: ModuleType, product: Product, *letters: Letter) -> Sealed:
    offsets = sorted({each.origin.offset for each in letters})
    return Sealed(product.key, covers=(golden.span(golden.LOG, *offsets),), letters=letters)


def tasks_of(replay: Replay) -> list[Task]:
    found = list[Task]()
    while (some := replay.next()) is not None:
        found += some
    assert not any(replay.left.values())
    return found


def every(letter: Letter) -> bool:
    return True


def test_a_closed_predecessors_letters_are_for_the_product_of_the_name(golden: ModuleType, lake: Lake) -> None:
    replay = Replay(lake.store, lake.state, NAMES, every)
    assert replay.left == {golden.LOG: 1}
    (task,) = tasks_of(replay)
    expected: Letter = golden.letter(golden.FIRST, 13)
    assert task.message.origin == expected.origin
    assert (task.message.topic, task.message.key, task.message.value) == ("media.image", expected.key, expected.value)
    assert task.message.headers == expected.headers
    assert task.products == (golden.SECOND.key,)
    assert task.wanted == {golden.SECOND.key: {0: 3}}
    assert replay.chosen == {("image-rq", "decode.truncated"): 1}
    assert replay.topics == {"media.image": {"image-rq"}}


def two_products(golden: ModuleType, lake: Lake) -> tuple[Product, dict[str, str]]:
    """Messages 30 with letters of two items in two products, 31 of one item in one."""
    other = Product("image-other", 1, "0f0e0d0c" * 8, Modality.IMAGE, golden.SPEC)
    starts = (golden.Start(other.key, golden.LOG, 0),)
    lake.commit(Proposal(openings=(Opening(other, "image"),), starts=starts))
    second: Product = golden.SECOND
    lake.commit(
        Proposal(
            (
                seal(golden, second, letter(golden, second, 30, 0, "fetch.denied"), letter(golden, second, 30, 2)),
                seal(golden, other, letter(golden, other, 30, 1), letter(golden, other, 31, 1)),
            )
        )
    )
    return other, {**NAMES, other.name: other.key}


def test_a_message_comes_once_with_the_items_of_each_product(golden: ModuleType, lake: Lake) -> None:
    other, names = two_products(golden, lake)
    tasks = {task.message.origin.offset: task for task in tasks_of(Replay(lake.store, lake.state, names, every))}
    assert sorted(tasks) == [13, 30, 31]
    assert tasks[30].wanted == {golden.SECOND.key: {0: 1, 2: 3}, other.key: {1: 2}}
    assert set(tasks[30].products) == {golden.SECOND.key, other.key}
    assert tasks[31].wanted == {other.key: {1: 2}}


def test_who_chooses_a_letter_gets_the_messages_others_in_that_product(golden: ModuleType, lake: Lake) -> None:
    _, names = two_products(golden, lake)
    replay = Replay(lake.store, lake.state, names, lambda letter: letter.failure.code == "fetch.denied")
    (task,) = tasks_of(replay)
    assert task.wanted == {golden.SECOND.key: {0: 1, 2: 3}}
    assert replay.chosen == {("image-rq", "fetch.denied"): 1, ("image-rq", "decode.failed"): 1}


def test_a_store_that_is_away_is_asked_again(golden: ModuleType, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = Replay(lake.store, lake.state, NAMES, every)

    def away(self: LocalStore, path: str) -> bytes:
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "read", away)
        with pytest.raises(StoreUnavailableError):
            replay.next()
    assert len(tasks_of(replay)) == 1


def test_letters_that_a_replay_wrote_are_not_closed_by_one_that_began_before(golden: ModuleType, lake: Lake) -> None:
    second: Product = golden.SECOND
    lake.commit(Proposal((seal(golden, second, letter(golden, second, 30, 0), letter(golden, second, 30, 1)),)))
    replayed = frozenset(Replay(lake.store, lake.state, NAMES, every).files)

    def half() -> Sealed:
        """Item 0 works now, item 1 fails again."""
        shard = golden.bring_shard(lake, second, golden.LOG, 30)
        failed = (letter(golden, second, 30, 1),)
        return Sealed(second.key, (shard,), (golden.span(golden.LOG, 30),), failed, kind=SealKind.REPLAY)

    first = lake.commit(Proposal((half(),), replayed=replayed))
    assert first.parts[0].reason is Reason.NEW
    # Another replay that began as early; or this one, which did not hear that its commit went through.
    late = lake.commit(Proposal((half(),), replayed=replayed))
    assert late.parts[0].reason is Reason.LETTER_NOT_OPEN
    assert late.delta is None
    assert late.parts[0].unsettled == ()
    assert verify(lake.store).ok
    (task,) = [
        task for task in tasks_of(Replay(lake.store, lake.state, NAMES, every)) if task.message.origin.offset == 30
    ]
    assert task.wanted == {second.key: {1: 2}}


def test_a_letter_that_is_made_anew_leaves_the_messages_others_open(golden: ModuleType, lake: Lake) -> None:
    second: Product = golden.SECOND
    lake.commit(Proposal((seal(golden, second, letter(golden, second, 30, 1)),)))
    third = Product("image-rq", 3, "9a9b9c9d" * 8, Modality.IMAGE, golden.SPEC)
    lake.commit(Proposal(openings=(Opening(third, "image"),)))
    remade = replace(seal(golden, third, letter(golden, third, 30, 0)), kind=SealKind.RETOKENIZE)
    lake.commit(Proposal((remade,)))
    tasks = {task.message.origin.offset: task for task in tasks_of(Replay(lake.store, lake.state, NAMES, every))}
    assert tasks[30].wanted == {NAMES["image-rq"]: {0: 1, 1: 2}}
    assert verify(lake.store).ok


def test_what_a_product_had_before_its_successor_failed_at_it_is_not_made_twice(golden: ModuleType, lake: Lake) -> None:
    first: Product = golden.FIRST
    failed = replace(seal(golden, golden.SECOND, letter(golden, golden.SECOND, 10)), kind=SealKind.RETOKENIZE)
    lake.commit(Proposal((failed,)))
    back = replace(first, revision=3)
    lake.commit(Proposal(openings=(Opening(back, "image"),)))

    def rows_of(key: str, messages: Offsets) -> Mapping[Place, Collection[int]]:
        return items_with_rows(lake.store, lake.state.shards[key].values(), messages)

    tasks = tasks_of(Replay(lake.store, lake.state, {"image-rq": back.key}, every, rows_of))
    assert [task.message.origin.offset for task in tasks] == [13]


def remade(golden: ModuleType, offset: int, item: int) -> Letter:
    origin = Origin("golden-topic", 0, offset, 0)
    reference = MediaReference(f"mem://{item}", replace(origin, item=item), Modality.IMAGE, attributes={"n": item})
    message = remade_message(origin, "golden-topic", {item: reference})
    return replace(letter(golden, golden.SECOND, offset, item), value=message.value, headers=message.headers)


def test_the_original_message_is_preferred_to_what_rows_told_of_it(golden: ModuleType) -> None:
    original = letter(golden, golden.SECOND, 30, 2)
    message = message_of([remade(golden, 30, 0), original])
    assert (message.value, message.headers, message.origin.item) == (VALUE, (), 0)


def test_what_rows_told_of_several_items_is_put_together(golden: ModuleType) -> None:
    message = message_of([remade(golden, 30, 2), remade(golden, 30, 0)])
    assert is_remade(message.headers)
    first, _, third = parse(message).items
    assert isinstance(first, MediaReference)
    assert isinstance(third, MediaReference)
    assert (first.uri, third.uri, third.attributes) == ("mem://0", "mem://2", {"n": 2})
