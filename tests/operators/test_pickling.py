from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from operators.pickling import flat
from operators.records import ContentFacts, MediaReference, Modality, Origin, WindowMeta
from pipeline.flow.calls import Lease, PreparedItem, RowSpan
from pipeline.records import Delivery

REFERENCE = MediaReference("s3://a/b", Origin("t", 1, 2, 3), Modality.IMAGE, inline=b"x", attributes={"n": [1, None]})
FACTS = ContentFacts("v", "0f", 7)
ROWS = RowSpan(3, (WindowMeta(0, 1, width=4, partial=True),))


@pytest.mark.parametrize(
    "record",
    [
        REFERENCE,
        Lease(9, REFERENCE, cursor=(1, 2), facts=ContentFacts("v", "s", 3), tries=2, deaths=1),
        PreparedItem(FACTS, {"v": ROWS}, transient=True, elsewhere=Modality.TEXT),
        Delivery("p", 1, 2, REFERENCE, FACTS, ROWS.windows, 0, 5, last=False, total=4),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_come_back_as_they_went(record: object) -> None:
    again = pickle.loads(pickle.dumps(record, pickle.HIGHEST_PROTOCOL))
    assert again == record
    assert type(again) is type(record)


def test_what_the_constructor_does_not_take_can_not_be_pickled_flat() -> None:
    @dataclass(frozen=True, slots=True)
    class One:
        only: int

    with pytest.raises(TypeError, match="One"):
        flat(One)
