from __future__ import annotations

import json

from operators.records import Failure, MediaReference, Modality, Origin, VoidReason
from pipeline.records import Message
from pipeline.runtime.intake import Claims, Intake

SHARED = Claims({"media.all": (Modality.IMAGE, Modality.TEXT), "media.image": (Modality.IMAGE,)})


def message(value: object, topic: str = "media.all") -> Message:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Message(Origin("s", 0, 7, 0), topic, None, body)


def outcomes(value: object, topic: str = "media.all") -> dict[Modality, object]:
    return {lane: Intake(SHARED, lane).items(message(value, topic))[0] for lane in (Modality.IMAGE, Modality.TEXT)}


def test_an_item_goes_to_the_lane_of_its_modality_and_is_void_in_the_others() -> None:
    got = outcomes({"uri": "s3://b/k", "modality": "text"})
    assert got[Modality.IMAGE] is VoidReason.NOT_MINE
    assert isinstance(got[Modality.TEXT], MediaReference)


def test_what_no_lane_takes_is_one_letter_in_the_topics_first_lane() -> None:
    got = outcomes({"uri": "s3://b/k", "modality": "audio"})
    assert isinstance(got[Modality.IMAGE], Failure)
    assert got[Modality.IMAGE].code == "reference.unclaimed"
    assert "image, text" in got[Modality.IMAGE].message
    assert got[Modality.TEXT] is VoidReason.NOT_MINE


def test_a_malformed_message_is_one_letter_in_the_topics_first_lane() -> None:
    got = outcomes(b"{")
    assert isinstance(got[Modality.IMAGE], Failure)
    assert got[Modality.IMAGE].code == "reference.malformed"
    assert got[Modality.TEXT] is VoidReason.NOT_MINE


def test_a_topic_of_one_lane_needs_no_look_at_the_bytes() -> None:
    item = Intake(SHARED, Modality.IMAGE).items(message({"uri": "s3://b/no-suffix"}, "media.image"))[0]
    assert isinstance(item, MediaReference)
    assert item.modality is Modality.IMAGE


def test_only_the_bytes_can_tell_for_a_name_without_suffix_in_a_shared_topic() -> None:
    got = outcomes({"uri": "s3://b/no-suffix"})
    assert all(isinstance(item, MediaReference) and item.modality is None for item in got.values())


def test_bytes_of_no_known_modality_are_one_letter_in_the_topics_first_lane() -> None:
    first = SHARED.judge("media.all", "binary", Modality.IMAGE)
    assert isinstance(first, Failure)
    assert first.code == "reference.unclaimed"
    assert SHARED.judge("media.all", "binary", Modality.TEXT) is VoidReason.NOT_MINE
