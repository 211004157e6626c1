from __future__ import annotations

import numpy as np
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.decode.pcm import PcmCutter
from operators.forms import PcmForm

RATES = st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000])


@settings(max_examples=60)
@given(
    rate_hz=RATES,
    window=st.integers(1, 3_000),
    context=st.integers(0, 500),
    length=st.integers(0, 20_000),
    cuts=st.lists(st.integers(1, 4_000), max_size=8),
    takes=st.lists(st.integers(0, 5), max_size=10),
)
def test_windows_end_to_end_are_the_resampled_whole(
    rate_hz: int, window: int, context: int, length: int, cuts: list[int], takes: list[int]
) -> None:
    form = PcmForm(24_000, 1, window, context)
    sound = np.random.default_rng(length).standard_normal((1, length)).astype(np.float32)
    cutter = PcmCutter(form, rate_hz, ("FC",), 0, 0)
    spans, at = [], 0
    for cut, take in zip([*cuts, length], [*takes, *[1] * 9], strict=False):
        cutter.push(sound[:, at : at + cut])
        at = min(length, at + cut)
        if cutter.holds(take):
            spans.append(cutter.take(take))
            assert len(spans[-1].samples) == context + take * window
    cutter.push(sound[:, at:])
    cutter.finish()
    spans.append(cutter.take(10**6))
    heard = np.concatenate([span.samples[context:] for span in spans])[:, 0]
    count = -(-length * 24_000 // rate_hz)
    whole = sound[0] if rate_hz == 24_000 else soxr.resample(sound[0], rate_hz, 24_000)
    assert len(heard) == cutter.end == min(count, len(whole))
    assert count - 1 <= len(heard) <= count
    assert np.array_equal(heard, whole[:count])
    padded = np.concatenate([np.zeros(context, np.float32), heard])
    for span in spans:
        assert np.array_equal(span.samples[:context, 0], padded[span.start : span.start + context])


def test_a_range_begins_with_what_lies_before_it() -> None:
    sound = np.random.default_rng(0).standard_normal((1, 48_000 * 3)).astype(np.float32)
    whole = soxr.resample(sound[0], 48_000, 24_000)
    cutter = PcmCutter(PcmForm(24_000, 1, 24_000, 320), 48_000, ("FC",), 1, 2)
    cutter.push(sound[:, 48_000:])
    cutter.finish()
    span = cutter.take(5)
    assert (span.start, len(span.samples)) == (48_000, 24_000 + 320)
    assert np.abs(span.samples[:, 0] - whole[48_000 - 320 :]).max() < 1e-4


def test_taking_nothing_gives_the_context_alone() -> None:
    cutter = PcmCutter(PcmForm(24_000, 1, 10, 4), 24_000, ("FC",), 0, 0)
    assert cutter.take(0).samples.shape == (4, 1)
    cutter.push(np.ones((1, 10), np.float32))
    assert cutter.take(3).samples[:, 0].tolist() == [0] * 4 + [1] * 10
    assert cutter.take(3).samples[:, 0].tolist() == [1] * 4
