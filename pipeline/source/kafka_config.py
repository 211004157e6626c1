"""From a user's properties to librdkafka's: secrets resolved, ours enforced, nothing secret in any message."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from confluent_kafka import KafkaException

from operators.errors import ConfigError

PropertyValue = str | int | float | bool | Mapping[str, str]
"""A value, or where its secret lies: `{"env": "NAME"}` or `{"file": "/path"}`."""

ENFORCED: Final[Mapping[str, str | bool]] = {
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
}
"""The lake decides where to read from: a consumer that jumps or commits by itself loses messages."""

_ALIASES: Final[Mapping[str, str]] = {"metadata.broker.list": "bootstrap.servers"}
_TRUE: Final = frozenset({"true", "t", "1", "yes"})
_FALSE: Final = frozenset({"false", "f", "0", "no"})
_SECRET: Final = re.compile(r"password|secret|private|credential|key\.pem|\.key$|jaas|sasl\.oauthbearer\.config|token")
_CONSUMER_ONLY: Final = (
    "group.",
    "partition.assignment.",
    "session.timeout.",
    "heartbeat.interval.",
    "max.poll.",
    "auto.offset.",
    "enable.auto.",
    "enable.partition.eof",
    "fetch.",
    "queued.",
    "isolation.level",
    "check.crcs",
    "max.partition.fetch.",
    "coordinator.query.",
    "auto.commit.",
)


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Which topics of which broker, and how.

    Attributes:
        topics: by name.
        properties: librdkafka's, passed through. `bootstrap.servers` and `group.id` must be among them.
        topic_ids: identify topics by the broker's id for them. False where the broker has none and does not say so
            (the embedded one); brokers before 2.8 do say so.
        source_epoch: stands in for the topic id where there is none; raised when a topic was made anew.
        topic_wait_s: how long a missing topic, or a broker that does not answer, is waited for at the start.
        request_timeout_s: of each request to the broker.
        name_wait_s: how long a `group.instance.id` that another member holds is waited for: longer than the broker's
            session timeout (45 s, at most 60 s where it was not raised), for which a member that died keeps its name.
    """

    topics: tuple[str, ...]
    properties: Mapping[str, PropertyValue]
    topic_ids: bool = True
    source_epoch: str = "0"
    topic_wait_s: float = 30.0
    request_timeout_s: float = 2.0
    name_wait_s: float = 75.0


@dataclass(frozen=True, slots=True)
class Resolved:
    """Properties with their secrets in plain: never logged; `repr` hides them.

    Attributes:
        values: for librdkafka.
        secrets: the values that must not be shown.
    """

    values: Mapping[str, str | int | float | bool] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)

    def scrub(self, text: str) -> str:
        """The text without any of the secrets: librdkafka quotes a value that it refuses."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def shown(self) -> dict[str, str | int | float | bool]:
        """For logs."""
        return {name: "***" if str(value) in self.secrets else value for name, value in self.values.items()}

    def client(self) -> dict[str, str | int | float | bool]:
        """The part that an admin client or a producer takes as well."""
        return {name: value for name, value in self.values.items() if not name.startswith(_CONSUMER_ONLY)}

    @property
    def incremental(self) -> bool:
        """Whether assignments come as changes (cooperative, KIP-848) instead of as a whole (eager)."""
        if self.values.get("group.protocol", "classic") == "consumer":
            return True
        return "cooperative" in str(self.values["partition.assignment.strategy"])


def consumer_properties(config: KafkaConfig) -> Resolved:
    """Everything that the consumer gets.

    The classic protocol is cooperative unless `partition.assignment.strategy` says otherwise.

    Raises:
        ConfigError: names the property.
    """
    resolved = resolve(config.properties)
    values = dict(resolved.values)
    for name in ("bootstrap.servers", "group.id"):
        if not values.get(name):
            raise ConfigError(f"kafka.{name}: required")
    if not config.topics:
        raise ConfigError("topics: at least one is required")
    for topic in config.topics:
        if topic.startswith("^"):
            raise ConfigError(f"topics: {topic!r}: patterns are not supported; name each topic")
    for name, ours in ENFORCED.items():
        if name in values and not _same(values[name], ours):
            shown = str(ours).lower()
            raise ConfigError(
                f"kafka.{name}: must be {shown} (is {values[name]!r}): the lake decides where to read from"
            )
        values[name] = ours
    if values.get("group.protocol", "classic") == "classic":
        values.setdefault("partition.assignment.strategy", "cooperative-sticky")
    return Resolved(values, resolved.secrets)


def resolve(properties: Mapping[str, PropertyValue]) -> Resolved:
    """Read secrets from the environment and from files.

    Raises:
        ConfigError: names the property.
    """
    values: dict[str, str | int | float | bool] = {}
    secrets: set[str] = set()
    for given, value in properties.items():
        name = _ALIASES.get(given, given)
        if name in values:
            raise ConfigError(f"kafka.{given}: given twice, as {name} too")
        if isinstance(value, Mapping):
            values[name] = _secret(given, value)
            secrets.add(str(values[name]))
        elif isinstance(cast("object", value), str | int | float | bool):
            values[name] = value
            if _SECRET.search(name) and str(value):
                secrets.add(str(value))
        else:
            raise ConfigError(f"kafka.{given}: must be a string, a number or a boolean, not {type(value).__name__}")
    return Resolved(values, frozenset(secrets))


def refused(error: KafkaException | ValueError | TypeError, resolved: Resolved) -> ConfigError:
    """What librdkafka says when it does not take a property."""
    text = str(error.args[0].str()) if isinstance(error, KafkaException) else str(error)
    return ConfigError(f"kafka: {resolved.scrub(text)}")


def _secret(name: str, where: Mapping[str, Any]) -> str:
    if set(where) == {"env"}:
        value = os.environ.get(str(where["env"]))
        if value is None:
            raise ConfigError(f"kafka.{name}: the environment has no variable {where['env']!r}")
    elif set(where) == {"file"}:
        try:
            value = Path(str(where["file"])).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"kafka.{name}: can't read {where['file']!r}: {error}") from error
    else:
        raise ConfigError(f"kafka.{name}: a secret is given as {{env: NAME}} or {{file: PATH}}")
    if not value:
        raise ConfigError(f"kafka.{name}: the secret is empty")
    return value


def _same(given: str | int | float | bool, ours: str | bool) -> bool:
    text = str(given).strip().lower()
    if isinstance(ours, bool):
        return text in (_TRUE if ours else _FALSE)
    return text == ours
