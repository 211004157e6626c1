"""`mediatok demo`, which `make run` calls: embedded broker, local Ray, all four modalities, a lake and a report.

Photographs and captions come along; speech is made on the spot, and films of both.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import structlog
from rich.console import Console

from operators.errors import MediatokError
from operators.records import Modality
from pipeline.app.build import claims_of
from pipeline.app.defaults import lanes_on
from pipeline.app.demo_folder import demo_media
from pipeline.app.demo_media import photographs
from pipeline.app.report import write_report
from pipeline.app.run import execute
from pipeline.config import Config, parse_config
from pipeline.graph import LanePlan
from pipeline.observe.logs import LOG_VARIABLE, LogStyle, setup_logs
from pipeline.records import SourcePartition
from pipeline.source.base import Positions, Source
from pipeline.source.embedded import EmbeddedBroker, Retention
from pipeline.source.events import EndReached, Event, Messages
from pipeline.source.kafka import KafkaSource
from pipeline.source.media_files import Outgoing, Unclaimed, media_messages
from pipeline.source.publish import PublishReport, publish

TOPICS = {modality.value: [f"media.{modality.value}"] for modality in Modality}
MADE = "media"
"""Folder beside the lake for the speech and the films that are made."""

_log = structlog.get_logger(__name__)


def run_demo(media: Path | None, out: Path) -> int:
    """Publish, tokenize until everything is committed, print the table, write the report. Returns the exit code."""
    setup_logs(style=None if LOG_VARIABLE in os.environ else LogStyle.CONSOLE)
    config = demo_config(media, out)
    messages = claimed(media_messages([str(media)])) if media else shipped(out / MADE)
    with EmbeddedBroker() as broker:
        topics = [topic for names in TOPICS.values() for topic in names]
        broker.create(topics)
        publisher = Publisher(broker, messages)
        publisher.start()

        def make_source(lane: LanePlan, positions: Positions) -> Source:
            kafka = broker.config(lane.config.topics, f"demo.{lane.name}")
            return PublishedSource(KafkaSource(kafka, positions), publisher)

        claims = claims_of(config, lambda lane: lane.topics)
        code = execute(config, "demo", make_source, claims, until_idle=True, style=LogStyle.CONSOLE)
    page = write_report(config.lake, out / "report.html", config=config, state=config.state)
    Console().print(f"\nAll of it on one page:\n  {page}", markup=False, highlight=False)
    for unclaimed in publisher.report.unclaimed if publisher.report else ():
        _log.warning("not published", uri=unclaimed.uri, reason=unclaimed.reason.value)
    return code


def demo_config(media: Path | None, out: Path) -> Config:
    """The default lanes on the demo's topics, with leave to read the media's folders."""
    roots = (
        {media.absolute() if media.is_dir() else media.absolute().parent}
        if media
        else {photograph.path.parent for photograph in photographs()} | {(out / MADE).absolute()}
    )
    return parse_config(
        {
            "lake": str(out / "lake"),
            "state": str(out / "state"),
            "fetch": {"roots": sorted(map(str, roots))},
            "commit": {"interval_s": 1.0},
            "lanes": lanes_on(TOPICS),
        }
    )


def claimed(messages: Iterable[Outgoing | Unclaimed]) -> Iterator[Outgoing | Unclaimed]:
    """Leave out what no lane of the demo takes, and say so: nobody would ever read it."""
    for message in messages:
        if isinstance(message, Outgoing) and message.modality.value not in TOPICS:
            _log.warning("not published: no lane takes it", uri=message.uri, modality=message.modality.value)
        else:
            yield message


def shipped(folder: Path) -> Iterator[Outgoing]:
    """The shipped photographs, each one's caption as a text of its own, and speech and films made into a folder."""
    for photograph in photographs():
        uri = photograph.path.as_uri()
        image = {"uri": uri, "modality": "image", "attributes": {"caption": photograph.caption}}
        yield Outgoing(Modality.IMAGE, uri, json.dumps(image).encode())
        text = {"uri": f"{uri}#caption", "modality": "text", "text": photograph.caption}
        yield Outgoing(Modality.TEXT, f"{uri}#caption", json.dumps(text).encode())
    for made in demo_media(folder):
        uri = made.path.absolute().as_uri()
        message = {"uri": uri, "modality": made.modality.value, "attributes": {"caption": made.caption}}
        yield Outgoing(made.modality, uri, json.dumps(message, ensure_ascii=False).encode())


class Publisher:
    """Publishes beside the run, only as fast as what was published is committed: the embedded broker forgets."""

    def __init__(self, broker: EmbeddedBroker, messages: Iterable[Outgoing | Unclaimed]) -> None:
        self._broker = broker
        self._messages = messages
        self._retention = Retention()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._publish, name="publish", daemon=True)
        self._error: MediatokError | None = None
        self.report: PublishReport | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the broker has everything.

        Raises:
            MediatokError: it could not be published.
        """
        if self._error is not None:
            raise self._error
        return self.report is not None

    def committed(self, topic: str, partition: int, position: int) -> None:
        """The lake has everything below `position`."""
        with self._lock:
            self._retention.committed(topic, partition, position)

    def _publish(self) -> None:
        try:
            self.report = publish(
                self._messages,
                self._broker.bootstrap,
                lambda message: f"media.{message.modality.value}",
                room=self._room,
                on_delivered=self._delivered,
            )
        except MediatokError as error:
            self._error = error

    def _room(self) -> int:
        with self._lock:
            return self._retention.room()

    def _delivered(self, topic: str, partition: int, offset: int, size_bytes: int) -> None:
        with self._lock:
            self._retention.published(topic, partition, offset, size_bytes)


class PublishedSource:
    """A source that is at its end only when its publisher has nothing more, and that tells it what is committed."""

    def __init__(self, inner: Source, publisher: Publisher) -> None:
        self._inner = inner
        self._publisher = publisher
        self._topics: dict[SourcePartition, str] = {}
        self._ends: dict[SourcePartition, EndReached] = {}
        self.pause, self.resume = inner.pause, inner.resume
        self.recheck, self.lag, self.close = inner.recheck, inner.lag, inner.close

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`."""
        events: list[Event] = []
        done = self._publisher.done
        for event in self._inner.poll(max_messages, timeout_s):
            match event:
                case EndReached(log=log):
                    self._ends[log] = event
                    continue
                case Messages(messages=messages):
                    for message in messages:
                        self._topics[message.log] = message.topic
                        self._ends.pop(message.log, None)
                case _:
                    pass
            events.append(event)
        if done:
            events.extend(self._ends.values())
            self._ends.clear()
        return events

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        """See `Source.advise`."""
        self._inner.advise(positions)
        for log, position in positions.items():
            if log in self._topics:
                self._publisher.committed(self._topics[log], log.partition, position)
