from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.scale.arrange import ENOUGH, ArrangeReason, Layouts, arrange

RATES = st.floats(0, 1e6)


def reason(
    fused: float, apart: float, free: float | None = None, gpus: float = 0.0, apart_now: bool = False
) -> tuple[bool, ArrangeReason]:
    found = arrange(Layouts(fused, apart, apart if free is None else free, gpus, apart_now))
    return found.apart, found.reason


def test_tokenizers_on_a_gpu_are_apart_from_decoders() -> None:
    assert reason(100, 500, gpus=1) == (True, ArrangeReason.APART_GPU)


def test_stages_that_need_different_workers_are_apart() -> None:
    assert reason(100, 200) == (True, ArrangeReason.APART_SPEEDS_DIFFER)


def test_two_cpus_are_too_few_for_two_kinds_of_workers() -> None:
    assert reason(126, 60, apart_now=True) == (False, ArrangeReason.FUSED_SMALL_HOST)


def test_windows_that_cost_more_to_send_than_they_bring_stay_where_they_are() -> None:
    assert reason(1000, 600, free=990) == (False, ArrangeReason.FUSED_HOP_COSTS_MORE)


def test_what_makes_no_difference_stays_as_it_is() -> None:
    assert reason(100, 101) == (False, ArrangeReason.NO_DIFFERENCE)
    assert reason(101, 100, apart_now=True) == (True, ArrangeReason.NO_DIFFERENCE)


def test_a_layout_that_cannot_start_is_not_taken() -> None:
    assert reason(0, 10) == (True, ArrangeReason.APART_SPEEDS_DIFFER)
    assert reason(10, 0, apart_now=True) == (False, ArrangeReason.FUSED_SMALL_HOST)


@given(RATES, RATES, RATES, st.sampled_from([0.0, 0.5, 1.0]), st.booleans())
def test_the_layout_that_is_taken_is_never_much_slower(
    fused: float, apart: float, free: float, gpus: float, apart_now: bool
) -> None:
    found = arrange(Layouts(fused, apart, free, gpus, apart_now))
    assert (apart if found.apart else fused) >= ENOUGH * max(fused, apart)
    assert found.reason.explanation
