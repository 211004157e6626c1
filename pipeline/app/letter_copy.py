"""`mediatok dlq copy`: a follower of the lake's log that copies letters into a Kafka topic, at least once.

Its place is a file of its own in the lake, since that is what it follows: it can go on from any machine. It is written
when the broker has confirmed what lies before it. The lake's letters are the truth; what is taken down is not copied.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, cast

import structlog
from rich.console import Console

from operators.errors import ConfigError, InvariantError, TransientError
from pipeline.app.storage import options_for, storage_options
from pipeline.config import Config
from pipeline.lake.codec import canonical_json
from pipeline.lake.delta import Delta
from pipeline.lake.history import read_if_there
from pipeline.lake.lake import Lake
from pipeline.lake.outcomes import read_outcomes
from pipeline.lake.takedown import taken_down_outcomes
from pipeline.observe import units
from pipeline.observe.logs import setup_logs
from pipeline.records import Letter
from pipeline.source.letter_topic import LetterTopic

FOLLOWERS = "_meta/followers/"
LOOK_EVERY_S = 5.0
RETRY_S, MOST_RETRY_S = 1.0, 30.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,120}")

_log = structlog.get_logger(__name__)


def run_copy(config: Config, topic: str, name: str | None, *, once: bool) -> int:
    """Copy what is new, until asked to end; with `once`, until all of it is copied. Returns the exit code.

    Args:
        config: of the run: its lake, its storage and its Kafka properties.
        topic: to copy into.
        name: of the follower, whose place is kept; None: the topic's.

    Raises:
        ConfigError: no such lake, a wrong setting, or the broker refuses.
    """
    setup_logs()
    if config.kafka is None:
        raise ConfigError("kafka: missing; the copy takes the broker's address from the config")
    follower = name or topic
    if not _NAME.fullmatch(follower):
        raise ConfigError(f"--name {follower!r}: letters, digits, dots, hyphens and underscores only")
    lake = Lake.open(config.lake, options_for(config.lake, storage_options(config)), read_only=True)
    copier = LetterCopy(lake, LetterTopic(topic, config.kafka), follower)
    asked = _asked_to_end()
    while not asked.is_set():
        _one_round(copier, asked)
        if once:
            break
        asked.wait(LOOK_EVERY_S)
    copied = units.count(copier.copied)
    Console().print(f"{copied} letters copied into {topic}, up to version {copier.version}", markup=False)
    return 0


def _one_round(copier: LetterCopy, asked: threading.Event) -> None:
    tries = 0
    while not asked.is_set():
        try:
            copier.go_on()
        except TransientError as error:
            _log.warning("copy tries again", error=str(error), version=copier.version)
            asked.wait(min(MOST_RETRY_S, RETRY_S * 2**tries))
            tries += 1
        else:
            return


class LetterCopy:
    """See the module.

    Attributes:
        version: up to which the topic has every letter.
        copied: letters, by this process.
    """

    def __init__(self, lake: Lake, topic: LetterTopic, follower: str) -> None:
        self._lake = lake
        self._topic = topic
        self._path = f"{FOLLOWERS}{follower}.json"
        self.version = _read_place(read_if_there(lake.store, self._path), self._path)
        self.copied = 0

    def go_on(self) -> None:
        """Copy what has been committed since.

        Raises:
            TransientError: lake or broker do not answer; go on again.
        """
        predicates = self._lake.refresh().predicates
        known = self._lake.state.version
        for delta in self._lake.log(self.version + 1):
            if delta.version > known:
                return  # what is taken down by then is not known
            for letters in self._letters(delta):
                gone = taken_down_outcomes(letters, (), predicates)
                wanted = [letter for letter in letters if letter.origin not in gone]
                self._topic.copy(wanted)
                self.copied += len(wanted)
            self.version = delta.version
            if delta.outcomes or delta.version == known:
                self._lake.store.write(self._path, canonical_json({"format": 1, "version": self.version}))

    def _letters(self, delta: Delta) -> Iterator[Sequence[Letter]]:
        """File by file. One that is not there any more was replaced after a takedown, and vacuumed."""
        for file in delta.outcomes:
            body = read_if_there(self._lake.store, file.path)
            if body is None:
                _log.info("letters were taken down before they were copied", path=file.path)
                continue
            yield read_outcomes(body)[0]


def _read_place(body: bytes | None, path: str) -> int:
    if body is None:
        return 0
    place = cast("dict[str, Any]", json.loads(body))
    if place.get("format") != 1:
        raise InvariantError(f"{path} is of format {place.get('format')}, which this version does not read")
    return int(place["version"])


def _asked_to_end() -> threading.Event:
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        asked.set()
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return asked
