from __future__ import annotations

from operators.records import EmptyReason, Failure, Origin, VoidReason
from pipeline.flow.assembly import Ending, StoredRow, WholeItem, WholeMessage
from pipeline.flow.sealing import sealed_of
from pipeline.records import Empty, Letter, Sealed, SourcePartition, Span

LOG, OTHER = SourcePartition("s", 0), SourcePartition("s", 1)
EMPTY = Empty("p", Origin("s", 0, 2, 1), "u", EmptyReason.NO_TOKENS)
LETTER = Letter("p", Origin("s", 0, 1, 0), "u", Failure("decode.empty", "decode", ""), "t", None, None, (), 1, 0)


def message(log: SourcePartition, offset: int, *endings: Ending | None) -> WholeMessage:
    items = (
        WholeItem(number, 1, () if ended else (StoredRow(0, 0, 1),), ended) for number, ended in enumerate(endings)
    )
    return WholeMessage(log, offset, tuple(items))


def test_messages_are_covered_by_log_and_their_endings_kept():
    hole, removal = VoidReason.HOLE, VoidReason.REMOVAL
    messages = [
        message(LOG, 0, hole),
        message(LOG, 1, LETTER, None),
        message(LOG, 2, None, EMPTY, removal, removal),
        message(LOG, 4, hole),
        message(OTHER, 0, removal),
    ]
    assert sealed_of("p", messages, ()) == Sealed(
        product="p",
        covers=(Span(LOG, ((0, 3), (4, 5))), Span(OTHER, ((0, 1),))),
        letters=(LETTER,),
        empties=(EMPTY,),
        voids={hole: 2, removal: 3},
        voided=(
            (hole, Span(LOG, ((0, 1), (4, 5)))),
            (removal, Span(LOG, ((2, 3),))),
            (removal, Span(LOG, ((2, 3),))),
            (removal, Span(OTHER, ((0, 1),))),
        ),
    )


def test_messages_that_all_have_rows_have_no_voids():
    sealed = sealed_of("p", [message(LOG, 7, None)], ())
    assert (sealed.covers, dict(sealed.voids), sealed.voided) == ((Span(LOG, ((7, 8),)),), {}, ())
