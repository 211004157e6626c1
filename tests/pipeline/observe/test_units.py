from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.observe import units


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (units.count(1234567), "1,234,567"),
        (units.count(None), "–"),
        (units.compact(9_999_999), "9,999,999"),
        (units.compact(10_000_000), "10.0M"),
        (units.size(0), "0 B"),
        (units.size(1023), "1023 B"),
        (units.size(1024), "1.0 KiB"),
        (units.size(1024**2 - 1), "1.0 MiB"),
        (units.size(5_000_000), "4.8 MiB"),
        (units.size(3 * 1024**6), "3072.0 PiB"),
        (units.short(999), "999"),
        (units.short(4096), "4.1k"),
        (units.short(999_999), "1.0M"),
        (units.rate(0), "0"),
        (units.rate(0.254), "0.25"),
        (units.rate(42.34), "42.3"),
        (units.rate(12345.6), "12,346"),
        (units.duration(None), "–"),
        (units.duration(0.44), "0.4 s"),
        (units.duration(9.96), "10 s"),
        (units.duration(59.6), "1:00"),
        (units.duration(75), "1:15"),
        (units.duration(4000), "1:06:40"),
        (units.duration(200_000), "2 d 07:33"),
    ],
)
def test_numbers_read_well(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.text(max_size=60), st.integers(4, 40))
def test_a_shortened_text_fits_and_keeps_its_end(text: str, width: int) -> None:
    shown = units.middle(text, width)
    assert len(shown) <= width
    assert shown[-2:] == text[-2:]
    assert shown == text or len(shown) == width
