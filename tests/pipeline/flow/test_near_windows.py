from __future__ import annotations

import random

from operators.records import MediaReference, Modality, Origin, WindowMeta
from pipeline.flow.calls import Block, Prepare, PreparedItem, RowSpan, Tokenize
from pipeline.flow.core import LaneSettings
from pipeline.flow.lane import Lane
from pipeline.records import Message

VIEW = "utf8:4096"


def test_windows_are_tokenized_on_the_node_where_they_lie() -> None:
    lane = Lane("text", {"tok": VIEW}, ["p"], LaneSettings(), random.Random(0), lambda: 0)
    lane.worker_ready("decoder", ["prepare"], "n2")
    for name, node in (("a", "n1"), ("b", "n2"), ("c", "n3")):
        lane.worker_ready(name, ["tok"], node)
    reference = MediaReference("t", Origin("s", 0, 0, 0), Modality.TEXT, inline=b"good")
    lane.admit(Message(reference.origin, "t", None, b"v"), [reference], ["tok"], 0.0)
    (prepare,) = lane.actions(0.0)
    assert isinstance(prepare, Prepare)
    rows = RowSpan(0, (WindowMeta(0, 4, 1, 1),))
    lane.prepared(prepare.call, [PreparedItem(rows={VIEW: rows})], {VIEW: Block("h", 4, node="n2")}, 0.0)
    (tokenize,) = lane.actions(0.0)
    assert isinstance(tokenize, Tokenize)
    assert tokenize.worker == "b"
