"""What each of librdkafka's errors means to us. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from confluent_kafka import KafkaError


class Trouble(StrEnum):
    """What to do about an error."""

    END = "end"  # no error: the partition's end
    OUT_OF_RANGE = "out_of_range"  # the position lies outside of the log
    TRUNCATED = "truncated"  # the log was cut below the position and went on differently
    UNKNOWN_TOPIC = "unknown_topic"  # deleted, or not there yet
    NAME_HELD = "name_held"  # another member has our group.instance.id; one that died keeps it for its session
    FENCED = "fenced"  # another member took our group.instance.id
    REFUSED = "refused"  # credentials, permissions, protocol: stays so until somebody changes it
    REFUSED_UNLESS_SEEN = "refused_unless_seen"  # at the start a wrong certificate, later a broker that restarts
    PASSING = "passing"  # librdkafka tries again by itself


_MEMBERSHIP: Final = (Trouble.NAME_HELD, Trouble.FENCED)
_TROUBLES: Final = {
    Trouble.END: ("_PARTITION_EOF",),
    Trouble.OUT_OF_RANGE: ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"),
    Trouble.TRUNCATED: ("_LOG_TRUNCATION",),
    Trouble.UNKNOWN_TOPIC: (
        "UNKNOWN_TOPIC_OR_PART",
        "UNKNOWN_TOPIC_ID",
        "INCONSISTENT_TOPIC_ID",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
    ),
    Trouble.NAME_HELD: ("UNRELEASED_INSTANCE_ID",),
    Trouble.FENCED: ("FENCED_INSTANCE_ID",),
    Trouble.REFUSED: (
        "_FATAL",
        "_AUTHENTICATION",
        "SASL_AUTHENTICATION_FAILED",
        "UNSUPPORTED_SASL_MECHANISM",
        "ILLEGAL_SASL_STATE",
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "INCONSISTENT_GROUP_PROTOCOL",
        "INVALID_GROUP_ID",
        "INVALID_SESSION_TIMEOUT",
        "UNSUPPORTED_ASSIGNOR",
        "UNSUPPORTED_VERSION",
        "_UNSUPPORTED_FEATURE",
        "_INVALID_ARG",
    ),
    Trouble.REFUSED_UNLESS_SEEN: ("_SSL",),
}
# Not every librdkafka knows all of these names.
_BY_CODE: Final[dict[int, Trouble]] = {
    int(getattr(KafkaError, name)): trouble
    for trouble, names in _TROUBLES.items()
    for name in names
    if hasattr(KafkaError, name)
}


_IN_FATAL: Final = {KafkaError(code).str(): trouble for code, trouble in _BY_CODE.items() if trouble in _MEMBERSHIP}


def trouble_of(error: KafkaError) -> Trouble:
    """The disposition of an error. What is fatal to the client will not pass."""
    if error.code() == KafkaError._FATAL:
        # What it was stands in its text alone.
        return next((trouble for text, trouble in _IN_FATAL.items() if text in error.str()), Trouble.REFUSED)
    known = _BY_CODE.get(error.code())
    if known is None:
        return Trouble.REFUSED if error.fatal() else Trouble.PASSING
    return known
