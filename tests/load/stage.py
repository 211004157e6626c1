"""A real Kafka, an S3 (or a folder), media in it, and `mediatok run` beside them."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import fsspec
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from PIL import Image

from infra.services import KafkaServer, S3Server
from infra.services.process import free_port
from tests.integration.independent_count import source_ids
from tests.load.follower import Follower
from tests.load.offered import reference
from tests.load.processes import MARK
from tests.making.picture import numbered
from tests.making.sound import speechlike, write_sound

PARTITIONS = 4
KINDS = {"image": "image-rq", "audio": "audio-mdct", "text": "text-bpe"}
"""By modality, which names its topic too, the tokenizer."""
OF_EACH = 20
START_S, DRAIN_S = 300.0, 180.0


@dataclass(frozen=True)
class Setting:
    """What is varied.

    Attributes:
        mix: by modality, its weight.
        seal_age_s, commit_s: `limits.seal_age_s` and `commit.interval_s` of the run.
        folder: the media and the lake lie in folders; else in S3.
    """

    mix: Mapping[str, float] = field(default_factory=lambda: {"image": 5.0, "audio": 1.0, "text": 4.0})
    seal_age_s: float = 5.0
    commit_s: float = 1.0
    folder: bool = False
    seed: int = 1


class Stage:
    """As a context manager: all of it runs within, and every worker is warm.

    Args:
        home: for data, logs and configs.
    """

    def __init__(self, home: Path, setting: Setting) -> None:
        self.home, self.setting = home.resolve(), setting
        self.mark, self.metrics_port = uuid.uuid4().hex, free_port()
        self.values: dict[str, list[bytes]] = {}
        self.kafka, self.store = KafkaServer(home / "kafka"), S3Server(home / "s3")
        self._options: dict[str, Any] = {}
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.kafka)
            place = str(self.home)
            if not self.setting.folder:
                stack.enter_context(self.store)
                self._options = self.store.storage_options
                place = f"s3://{self.store.make_bucket()}"
            self.lake = f"{place}/lake"
            admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
            made = admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in self.setting.mix])
            for each in made.values():
                each.result(30)
            self.values = self._make_values(f"{place}/media")
            topics = {
                source: topic for topic, source in source_ids(self.kafka.bootstrap, list(self.setting.mix)).items()
            }
            self.follower = Follower(self.lake, self._options, topics)
            self._process = self._start()
            stack.callback(self._kill)
            self.follower.start()
            stack.callback(self.follower.close)
            self._warm_up()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exit.close()

    @property
    def coordinator(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the run goes on."""
        return self._process.poll() is None

    @property
    def status(self) -> dict[str, Any]:
        """As `mediatok status` would read it; empty before the first."""
        try:
            return json.loads((self.home / "state" / "status.json").read_text())
        except (OSError, ValueError):
            return {}

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(DRAIN_S)

    def wait(self, until: Callable[[], bool], most_s: float) -> bool:
        """Whether it came to be, while the run went on."""
        end_s = time.monotonic() + most_s
        while not (well := until()) and self.alive and time.monotonic() < end_s:
            time.sleep(0.1)
        return well

    def _make_values(self, place: str) -> dict[str, list[bytes]]:
        files, root = fsspec.core.url_to_fs(place, **self._options)
        files.makedirs(root, exist_ok=True)
        rng = random.Random(self.setting.seed)
        made: dict[str, list[bytes]] = {}
        for modality in self.setting.mix:
            made[modality] = []
            for number in range(OF_EACH):
                uri = f"{place}/{modality}-{number:03}"
                if modality == "text":
                    words = " ".join(f"word{rng.randrange(5000)}" for _ in range(rng.randint(50, 500)))
                    made[modality].append(reference(f"note:{number}", "text", text=words))
                    continue
                files.pipe_file(
                    f"{root}/{modality}-{number:03}", _picture(number) if modality == "image" else _sound(number)
                )
                made[modality].append(reference(uri, modality))
        return made

    def _config(self) -> dict[str, Any]:
        limits = {"seal_age_s": self.setting.seal_age_s}
        lanes = {
            modality: {
                "topics": [modality],
                "products": {KINDS[modality]: {"tokenizer": KINDS[modality]}},
                "limits": limits,
            }
            for modality in self.setting.mix
        }
        fetch = {"roots": [str(self.home / "media")]} if self.setting.folder else {}
        return {
            "lake": self.lake,
            "state": str(self.home / "state"),
            **({} if self.setting.folder else {"storage": {"s3": self._options}}),
            "kafka": {"bootstrap.servers": self.kafka.bootstrap, "group.id": "load", "group.protocol": "consumer"},
            "commit": {"interval_s": self.setting.commit_s},
            "ray": {"metrics_port": self.metrics_port},
            "fetch": fetch,
            "lanes": lanes,
        }

    def _start(self) -> subprocess.Popen[bytes]:
        path = self.home / "run.yaml"
        path.write_text(yaml.safe_dump(self._config()))
        with (self.home / "run.log").open("wb") as log:
            return subprocess.Popen(
                [str(Path(sys.executable).parent / "mediatok"), "run", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {MARK: self.mark},
            )

    def _kill(self) -> None:
        if self.alive:
            self._process.kill()
        self._process.wait()

    def _warm_up(self) -> None:
        # The broker's first idempotent producer waits a second for its id.
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "enable.idempotence": True})
        for topic, values in self.values.items():
            producer.produce(topic, values[0])
        producer.flush(30)
        topics = set(self.values)
        if not self.wait(lambda: {topic for topic, _, _ in self.follower.seen_at_s} == topics, START_S):
            raise RuntimeError(
                f"the run did not commit one message of each topic; {self.home}/run.log ends:\n{self.tail()}"
            )

    def tail(self, lines: int = 20) -> str:
        """The end of what the run printed."""
        return "\n".join((self.home / "run.log").read_text(errors="replace").splitlines()[-lines:])


def _picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(numbered(number, 384, 512)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _sound(number: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = write_sound(Path(folder) / "speech.flac", speechlike(6.0, 16_000, seed=number), 16_000, "flac")
        return path.read_bytes()


def parse_mix(text: str) -> dict[str, float]:
    """ "image=5,audio=1" -> weights by modality.

    Raises:
        ValueError: no such modality, or no weight.
    """
    mix = {name: float(weight) for name, _, weight in (each.partition("=") for each in text.split(","))}
    if unknown := set(mix) - set(KINDS):
        raise ValueError(f"{', '.join(sorted(unknown))}: none of {', '.join(KINDS)}")
    return mix


def lag(status: Mapping[str, Any]) -> int:
    """Messages that a status calls read or unread, and not committed."""
    lanes: Sequence[Mapping[str, Any]] = status.get("lanes", ())
    return sum((lane["lag_items"] or 0) + lane["in_flight_items"] for lane in lanes)
