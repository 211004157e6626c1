"""Everything that a round plays on: Kafka, S3 behind a proxy, Ray, replicas of `mediatok run`, and a publisher."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import s3fs
import yaml
from confluent_kafka.admin import AdminClient, NewTopic
from PIL import Image

from infra.services import KafkaServer, S3Server, ServiceUnavailableError
from infra.services.s3 import make_bucket
from tests.chaos.audit import Auditor
from tests.chaos.publisher import IMAGES, TEXTS, Feed, Publisher
from tests.chaos.ray_head import RayHead
from tests.chaos.replicas import Replica, Supervisor
from tests.chaos.small_disk import NoSmallDiskError, SmallDisk
from tests.integration.fault_proxy import FaultProxy

PARTITIONS = 3
PICTURES = 20
STORE_BYTES = 256 << 20
SPOOL_BYTES = 24 << 20
PRODUCTS = {"texts": "bytes", "images": "patches"}
"""By topic."""
SESSION_S = 6.0
"""After so long without a word the group gives a replica's partitions away; the broker's setting for KIP-848."""


@dataclass(frozen=True)
class Setting:
    """What is varied.

    Attributes:
        protocol: of the consumer groups: "consumer" (KIP-848) or "classic".
        texts_hz, images_hz: messages published a second.
    """

    seed: int = 1
    replicas: int = 2
    protocol: str = "consumer"
    texts_hz: float = 15.0
    images_hz: float = 6.0


class Stage:
    """As a context manager: all of it runs within.

    Args:
        folder: for data, logs and configs.
    """

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.folder, self.setting = folder.resolve(), setting
        self.kafka = KafkaServer(folder / "kafka")
        self.store = S3Server(folder / "s3")
        self.ray = RayHead(folder / "ray")
        self.proxy = FaultProxy(pause_s=0.5)
        self.disks: list[SmallDisk] = []
        self.store_disk: SmallDisk | None = None
        self.no_disks = ""
        """Why disks can't be filled here."""
        self.replicas: tuple[Replica, ...] = ()
        self.ray_starts = 0
        """With those that failed."""
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._make_disks(stack)
            for service in (self.kafka, self.store):
                stack.callback(service.close)
                service.start()
            stack.callback(self.ray.close)
            stack.callback(self.proxy.close)
            self.proxy.upstream = self.store.endpoint
            self._make_topics()
            media, self.lake = self._make_media(), f"s3://{make_bucket('', self.store.storage_options)}/lake"
            self.replicas = tuple(self._replica(number) for number in range(self.setting.replicas))
            self.publisher = self._publisher(media)
            self.supervisor = Supervisor(self.replicas, self._mend_ray)
            stack.callback(self.supervisor.close)
            self.auditor = Auditor(self.kafka.bootstrap, PRODUCTS, self.lake, self.store.storage_options)
            self.supervisor.start()
            self.publisher.start()
            stack.callback(self.publisher.close)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exit.close()

    def verify(self) -> subprocess.CompletedProcess[str]:
        """`mediatok lake verify` on the whole lake."""
        program = str(Path(sys.executable).parent / "mediatok")
        config = str(self.folder / "replica-0.yaml")
        command = [program, "lake", "verify", self.lake, "--config", config]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)

    def dump(self, title: str) -> None:
        """All that tells what hangs, into the folder."""
        for replica in self.replicas:
            said = json.dumps(replica.status, indent=1) + "\n\n" + replica.tail(200_000)
            (self.folder / f"{title}-{replica.name}.txt").write_text(said)

    def _make_disks(self, stack: ExitStack) -> None:
        try:
            for number in range(self.setting.replicas):
                self.disks.append(stack.enter_context(self._disk(f"disk-{number}", SPOOL_BYTES)))
            self.store_disk = stack.enter_context(self._disk("disk-store", STORE_BYTES))
            self.store.home.mkdir(parents=True)
            self.store.data = self.store_disk.path / "data"
        except NoSmallDiskError as error:
            self.disks, self.store_disk, self.no_disks = [], None, str(error)

    def _disk(self, name: str, size_bytes: int) -> SmallDisk:
        point = self.folder / name
        point.mkdir(parents=True)
        return SmallDisk(point, size_bytes)

    def _make_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        made = admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in PRODUCTS])
        for each in made.values():
            each.result(30)

    def _make_media(self) -> str:
        bucket = make_bucket("", self.store.storage_options)
        files: Any = s3fs.S3FileSystem(**self.store.storage_options, skip_instance_cache=True)
        rng = random.Random(self.setting.seed)
        for number in range(PICTURES):
            buffer = io.BytesIO()
            coarse = Image.frombytes("RGB", (8, 8), rng.randbytes(192))
            coarse.resize((96, 64), Image.Resampling.BICUBIC).save(buffer, "JPEG")
            files.pipe_file(f"{bucket}/in/{number:03}.jpg", buffer.getvalue())
        files.pipe_file(f"{bucket}/in/damaged.jpg", b"\xff\xd8\xff\xe0 no more than this")
        return bucket

    def _publisher(self, bucket: str) -> Publisher:
        folder = f"s3://{bucket}/in"
        images = tuple(f"{folder}/{number:03}.jpg" for number in range(PICTURES))
        texts = Feed("texts", self.setting.texts_hz, TEXTS)
        feeds = texts, Feed("images", self.setting.images_hz, IMAGES, images, folder)
        return Publisher(self.kafka.bootstrap, feeds, self.setting.seed)

    def _replica(self, number: int) -> Replica:
        name = f"replica-{number}"
        place = self.disks[number].path if self.disks else self.folder
        state = place / f"state-{number}"
        config = self.folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(self._config(state)))
        return Replica(name, config, state, self.folder / f"{name}.log", self.ray.environment)

    def _config(self, state: Path) -> dict[str, Any]:
        classic = {"session.timeout.ms": int(SESSION_S * 1000), "heartbeat.interval.ms": 1000}
        protocol = {"group.protocol": self.setting.protocol, **(classic if self.setting.protocol == "classic" else {})}
        common = {
            "workers": {"min": 1, "max": 1, "cpus": 0.25},
            "limits": {"seal_age_s": 2.0, "prepare_batch": 8, "spool_bytes": SPOOL_BYTES // 2},
            "failures": {"window_s": 3.0},
        }
        patches = {"tokenizer": "image-patches-projected", "options": {"size": 32}}
        tokenizers = {"bytes": {"tokenizer": "text-bytes"}, "patches": patches}
        modality_of = {"texts": "text", "images": "image"}
        lanes = {
            modality_of[topic]: {"topics": [topic], "products": {product: tokenizers[product]}, **common}
            for topic, product in PRODUCTS.items()
        }
        return {
            "lake": self.lake,
            "state": str(state),
            "storage": {"s3": {**self.store.storage_options, "endpoint_url": self.proxy.endpoint}},
            "kafka": {"bootstrap.servers": self.kafka.bootstrap, "group.id": "chaos", **protocol},
            "commit": {"interval_s": 1.0, "checkpoint_every": 50},
            "ray": {"address": self.ray.address},
            "fetch": {"retry_s": 1.0},
            "lanes": lanes,
        }

    def _mend_ray(self) -> bool:
        """Start Ray where it does not run, as what looks after a cluster would. Returns whether it runs."""
        if self.ray.pid is None:
            self.ray_starts += 1
            try:
                self.ray.start()
            except ServiceUnavailableError as error:
                print(f"    Ray does not start; once more: {str(error).splitlines()[-1]}", flush=True)
        return self.ray.pid is not None
