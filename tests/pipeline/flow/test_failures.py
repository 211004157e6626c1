from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pipeline.flow.failures import CodeCount, Failures, FailureSettings, Judgement

SETTINGS = FailureSettings(window_s=10.0, most_share=0.5, least_items=20)

PRODUCT = st.sampled_from(["a", "b"])
EVENT = st.one_of(
    st.tuples(st.just("fine"), PRODUCT, st.just(0.0)),
    st.tuples(st.just("letter"), PRODUCT, st.just(0.0)),
    st.tuples(st.just("letter"), PRODUCT, st.just(0.0)),
    st.tuples(st.just("wait"), st.just(""), st.floats(0.0, 8.0)),
)


def fill(failures: Failures[int], *, fine: int, letters: int, now_s: float = 0.0, product: str = "a") -> None:
    for _ in range(fine):
        failures.fine(product, now_s)
    for number in range(letters):
        failures.letter(product, "fetch.not_found", f"s3://b/{number}", number, now_s)


def test_letters_wait_for_the_window_and_come_out_in_their_order() -> None:
    failures = Failures[int](SETTINGS)
    fill(failures, fine=0, letters=3)
    failures.letter("a", "x.y", "", 3, 4.0)
    assert failures.judge(9.9, ending=False) == (Judgement.NONE_DUE, ())
    assert failures.judge(10.0, ending=False) == (Judgement.WINDOW_PASSED, (0, 1, 2))
    assert list(failures.waiting) == [3]
    assert failures.judge(14.0, ending=False) == (Judgement.WINDOW_PASSED, (3,))
    assert failures.judge(99.0, ending=False) == (Judgement.NONE_DUE, ())


def test_at_the_end_of_a_run_they_come_out_at_once() -> None:
    failures = Failures[int](SETTINGS)
    fill(failures, fine=0, letters=3)
    assert failures.judge(0.0, ending=True) == (Judgement.ENDING, (0, 1, 2))


@pytest.mark.parametrize(("fine", "letters", "stops"), [(10, 10, False), (10, 11, True), (0, 19, False), (0, 20, True)])
def test_more_than_the_share_of_enough_items_stops(fine: int, letters: int, stops: bool) -> None:
    for ending in (False, True):
        failures = Failures[int](SETTINGS)
        fill(failures, fine=fine, letters=letters)
        judgement, withheld = failures.judge(1.0, ending=ending)
        assert (judgement is Judgement.STOPPED, failures.excess is not None) == (stops, stops)
        assert len(withheld) == (letters if stops or ending else 0)


def test_the_excess_names_the_share_and_the_most_frequent_codes_with_an_example() -> None:
    failures = Failures[int](SETTINGS)
    fill(failures, fine=5, letters=12)
    for code, count in (("decode.empty", 5), ("fetch.denied", 2), ("decode.limit", 1)):
        for number in range(count):
            failures.letter("a", code, f"https://h/{code}", number, 1.0)
    failures.judge(2.0, ending=False)
    excess = failures.excess
    assert excess is not None
    assert (excess.product, excess.letters, excess.ended, excess.share) == ("a", 20, 25, 0.8)
    assert excess.codes == (
        CodeCount("fetch.not_found", 12, "s3://b/11"),
        CodeCount("decode.empty", 5, "https://h/decode.empty"),
        CodeCount("fetch.denied", 2, "https://h/fetch.denied"),
    )


def test_a_product_that_gets_letters_only_stops_though_the_others_do_well() -> None:
    failures = Failures[int](SETTINGS)
    fill(failures, fine=1000, letters=0)
    fill(failures, fine=0, letters=20, product="b")
    assert failures.judge(0.0, ending=False)[0] is Judgement.STOPPED


def test_what_is_older_than_the_window_does_not_count() -> None:
    failures = Failures[int](SETTINGS)
    fill(failures, fine=1000, letters=0)
    fill(failures, fine=0, letters=30, now_s=9.0)
    assert failures.judge(9.5, ending=False) == (Judgement.NONE_DUE, ())
    assert failures.judge(11.0, ending=False)[0] is Judgement.STOPPED


def test_where_few_items_end_in_a_window_the_last_ones_count_however_old_they_are() -> None:
    failures, judgements = Failures[int](SETTINGS), list[Judgement]()
    while Judgement.STOPPED not in judgements:
        now_s = len(judgements) * 60.0
        fill(failures, fine=0, letters=1, now_s=now_s)
        judgements.append(failures.judge(now_s, ending=False)[0])
    assert judgements == [Judgement.NONE_DUE, *[Judgement.WINDOW_PASSED] * 18, Judgement.STOPPED]
    assert failures.excess is not None and failures.excess.ended == 20


def test_what_was_given_up_is_held_like_others_and_does_not_count() -> None:
    failures = Failures[int](SETTINGS)
    for number in range(100):
        failures.letter("a", "fetch.failed", "", number, 0.0, counts=False)
    assert failures.judge(5.0, ending=False) == (Judgement.NONE_DUE, ())
    assert failures.judge(10.0, ending=False) == (Judgement.WINDOW_PASSED, tuple(range(100)))


def test_once_stopped_nothing_comes_out_any_more() -> None:
    failures = Failures[int](SETTINGS)
    fill(failures, fine=0, letters=20)
    assert failures.judge(0.0, ending=False)[0] is Judgement.STOPPED
    fill(failures, fine=1000, letters=1)
    assert failures.judge(99.0, ending=True) == (Judgement.STOPPED, (0,))


def test_a_share_of_one_never_stops_and_a_window_of_nothing_holds_nothing() -> None:
    failures = Failures[int](replace(SETTINGS, most_share=1.0))
    fill(failures, fine=0, letters=500)
    assert failures.judge(10.0, ending=False)[0] is Judgement.WINDOW_PASSED
    failures = Failures[int](replace(SETTINGS, window_s=0.0))
    fill(failures, fine=0, letters=5)
    assert failures.judge(0.0, ending=False)[0] is Judgement.WINDOW_PASSED


@given(st.lists(EVENT, max_size=80))
def test_each_letter_comes_out_exactly_once_or_after_a_stop_never(events: list[tuple[str, str, float]]) -> None:
    failures = Failures[int](SETTINGS)
    now_s, sent, out, withheld = 0.0, list[float](), list[int](), list[int]()

    def judge(*, ending: bool) -> None:
        judgement, letters = failures.judge(now_s, ending=ending)
        if judgement is Judgement.STOPPED:
            withheld.extend(letters)
        else:
            assert not withheld
            assert ending or all(now_s - sent[letter] >= SETTINGS.window_s for letter in letters)
            out.extend(letters)

    for what, product, wait_s in events:
        now_s += wait_s
        if what == "fine":
            failures.fine(product, now_s)
        elif what == "letter":
            failures.letter(product, "x.y", "", len(sent), now_s)
            sent.append(now_s)
        judge(ending=False)
    judge(ending=True)
    assert out + withheld == list(range(len(sent)))
    assert failures.held == 0
