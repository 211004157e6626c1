from __future__ import annotations

import itertools
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from operators.records import Origin
from pipeline.flow.outages import PROBE_MOST_S, AfterFailure, Outages, place_of

TRIES = 4
WINDOW_S, OUTAGE_MOST_S = 30.0, 1000.0
A, B = "s3://a/", "https://b/"


def outages(seed: int = 0) -> Outages:
    return Outages(WINDOW_S, OUTAGE_MOST_S, TRIES, random.Random(seed))


def item(number: int) -> Origin:
    return Origin("s", 0, number, 0)


def fails(places: Outages, number: int, now_s: float, *, uri: str = A, tries: int = 1) -> AfterFailure:
    return places.failed(uri, item(number), tries, "503", now_s)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://bucket/some/key?x", "s3://bucket"),
        ("https://user:secret@host:8443/a", "https://host:8443"),
        ("https://host", "https://host"),
        ("file:///data/x.png", "file://"),
        ("name-of-a-text", ""),
    ],
)
def test_a_place_is_scheme_and_bucket_or_host_without_credentials(uri: str, place: str) -> None:
    assert place_of(uri) == place


def test_one_item_alone_is_its_own_fault() -> None:
    places = outages()
    assert [fails(places, 1, now_s, tries=now_s + 1) for now_s in range(4)] == [*["retry"] * 3, "letter"]
    assert not places.down


def test_two_items_where_nothing_ever_worked_are_an_outage_and_no_try_counts() -> None:
    places = outages()
    assert fails(places, 1, 0.0, tries=TRIES - 1) is AfterFailure.RETRY
    assert fails(places, 2, 1.0, tries=TRIES) is AfterFailure.HOLD
    assert fails(places, 1, 2.0, tries=TRIES) is AfterFailure.HOLD
    assert (places.down["s3://a"].since_s, places.down["s3://a"].error) == (1.0, "503")
    assert places.waits_for(A + "x") == "s3://a"
    assert places.waits_for(B) is None


def test_where_most_works_two_bad_items_are_guilty_however_long_they_are_tried() -> None:
    places = outages()
    ends: list[AfterFailure] = []
    for round_ in range(TRIES):
        for number in range(100, 110):
            places.worked(A, item(number), float(round_))
        ends += [fails(places, number, float(round_), tries=round_ + 1) for number in (1, 2)]
    assert ends[-2:] == [AfterFailure.LETTER, AfterFailure.LETTER]
    assert AfterFailure.HOLD not in ends


def test_a_place_that_worked_until_now_is_down_once_most_of_the_last_items_fail() -> None:
    places = outages()
    for number in range(1000):
        places.worked(A, item(number), 0.0)
    ends = [fails(places, number, 1.0) for number in range(2000, 2020)]
    assert ends == [AfterFailure.RETRY] * 16 + [AfterFailure.HOLD] * 4


def test_or_once_nothing_has_worked_for_the_window() -> None:
    places = outages()
    for number in range(1000):
        places.worked(A, item(number), 0.0)
    assert fails(places, 1, WINDOW_S - 1) is AfterFailure.RETRY
    assert fails(places, 2, WINDOW_S) is AfterFailure.HOLD


def test_while_it_is_down_probes_come_ever_more_slowly_but_never_further_apart_than_the_bound() -> None:
    places = outages()
    fails(places, 1, 0.0)
    fails(places, 2, 0.0)
    times: list[float] = []
    for tenth in range(6000):
        allowed = places.allow("s3://a", 50, tenth / 10)
        assert allowed in {0, 1}
        times += [tenth / 10] * allowed
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[0] <= 2.1
    assert all(PROBE_MOST_S / 2 <= gap <= PROBE_MOST_S + 0.1 for gap in gaps[5:])


def test_each_success_lets_two_more_through_until_most_work_again() -> None:
    places = outages()
    for number in range(40):
        fails(places, number, 0.0)
    rounds: list[int] = []
    number, now_s = 0, 20.0
    while places.down:
        rounds.append(places.allow("s3://a", 40, now_s))
        for _ in range(rounds[-1]):
            number += 1
            places.worked(A, item(number + 10), now_s)
        now_s += 0.5
    assert rounds == [1, 2, 4, 8, 16][: len(rounds)]
    assert places.allow("s3://a", 40, now_s) == 40


def test_a_place_that_stays_down_is_given_up_and_counts_again_once_it_works() -> None:
    places = outages()
    fails(places, 1, 0.0)
    assert fails(places, 2, 1.0) is AfterFailure.HOLD
    places.worked(B, item(9), 500.0)
    assert fails(places, 1, OUTAGE_MOST_S, tries=TRIES) is AfterFailure.HOLD
    assert fails(places, 1, OUTAGE_MOST_S + 1, tries=TRIES) is AfterFailure.GIVEN_UP
    assert fails(places, 3, OUTAGE_MOST_S + 2, tries=1) is AfterFailure.RETRY
    assert not places.down
    places.worked(A, item(4), OUTAGE_MOST_S + 3)
    fails(places, 1, OUTAGE_MOST_S + 40)
    assert fails(places, 2, OUTAGE_MOST_S + 40, tries=TRIES) is AfterFailure.HOLD


def test_what_is_given_up_where_nothing_else_worked_is_a_letter_that_counts() -> None:
    places = outages()
    places.worked(B, item(9), 0.0)
    fails(places, 1, 1.0)
    fails(places, 2, 1.0)
    assert fails(places, 1, OUTAGE_MOST_S + 1, tries=TRIES) is AfterFailure.LETTER


def test_places_that_are_down_are_remembered_however_many_others_there_are() -> None:
    places = outages()
    fails(places, 1, 0.0)
    fails(places, 2, 0.0)
    for number in range(10_000):
        places.worked(f"https://h{number}/", item(number), 1.0)
    assert fails(places, 3, 2.0, tries=TRIES) is AfterFailure.HOLD


def test_many_hosts_with_one_item_each_that_all_fail_mean_that_the_lane_is_cut_off() -> None:
    places = outages()
    for number in range(100):
        places.worked(f"https://h{number}/", item(number), 0.0)
    ends = [fails(places, number, 3.0, uri=f"https://h{number}/", tries=TRIES) for number in range(100, 140)]
    assert set(ends) == {AfterFailure.LETTER}, "some seconds must have passed"
    ends = [fails(places, number, 5.0, uri=f"https://h{number}/", tries=TRIES) for number in range(140, 180)]
    assert set(ends) == {AfterFailure.HOLD}
    assert places.waits_for("https://never-seen/x") == "everywhere"
    assert places.allow("everywhere", 40, 30.0) == 1
    places.worked("https://h150/", item(150), 31.0)
    assert not places.down
    assert places.allow("everywhere", 40, 31.0) == 40


def test_dead_hosts_however_many_do_not_cut_off_a_lane_in_which_others_work() -> None:
    places = outages()
    for number in range(1000):
        now_s = number / 10
        if number % 40 == 0:
            places.worked(f"https://h{number}/", item(number), now_s)
        else:
            fails(places, number, now_s, uri=f"https://h{number}/")
        assert "everywhere" not in places.down


def test_an_outage_is_remembered_after_it_has_ended_but_not_if_it_was_given_up() -> None:
    places = outages()
    assert not places.was_down(A, 0.0)
    fails(places, 1, 0.0)
    fails(places, 2, 10.0)
    assert places.was_down(A, 10.0)
    for number in range(1, 4):
        places.worked(A, item(number), 20.0)
    assert not places.down
    assert (places.was_down(A, 20.0), places.was_down(A, 20.1), places.was_down(B, 0.0)) == (True, False, False)
    fails(places, 1, 60.0)
    fails(places, 2, 60.0)
    fails(places, 2, 60.0 + OUTAGE_MOST_S)
    assert not places.was_down(A, 59.0)


@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 5), st.booleans(), st.floats(0.0, 400.0)), max_size=120)
)
@settings(max_examples=300)
def test_no_item_of_a_place_that_is_down_is_a_letter(steps: list[tuple[str, int, bool, float]]) -> None:
    places, now_s = outages(), 0.0
    for uri, number, fine, wait_s in steps:
        now_s += wait_s
        if fine:
            places.worked(uri, item(number), now_s)
            continue
        after = places.failed(uri, item(number), TRIES, "503", now_s)
        assert (after is AfterFailure.HOLD) == (places.waits_for(uri) is not None)
        assert all(now_s - outage.since_s >= 0 for outage in places.down.values())


@given(st.integers(0, 2**32), st.floats(0.1, 20.0))
def test_an_item_that_alone_fails_always_ends_as_a_letter(seed: int, every_s: float) -> None:
    places, rng, now_s, tries, number = outages(seed), random.Random(seed), 0.0, 0, 1
    while True:
        now_s += every_s
        if rng.random() < 0.7:
            number += 1
            places.worked(A, item(number), now_s)
            continue
        after = places.failed(A, item(0), tries + 1, "500", now_s)
        if after is AfterFailure.LETTER:
            break
        tries += after is AfterFailure.RETRY
        assert number < 1000
