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
    REFUSED = "refused"  # credentials, permissions, protocol: stays so until somebody changes it
    REFUSED_UNLESS_SEEN = "refused_unless_seen"  # at the start a wrong certificate, later a broker that restarts
    PASSING = "passing"  # librdkafka tries again by itself


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
    Trouble.REFUSED: (
        "_FATAL",
        "_AUTHENTICATION",
        "SASL_AUTHENTICATION_FAILED",
        "UNSUPPORTED_SASL_MECHANISM",
        "ILLEGAL_SASL_STATE",
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "FENCED_INSTANCE_ID",
        "UNRELEASED_INSTANCE_ID",
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


def trouble_of(error: KafkaError) -> Trouble:
    """The disposition of an error. What is fatal to the client will not pass."""
    known = _BY_CODE.get(error.code())
    if known is None:
        return Trouble.REFUSED if error.fatal() else Trouble.PASSING
    return known
