"""Reads the lake's log as it grows, by code that shares nothing with the pipeline, and notes when what was done."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import fsspec

from tests.integration.independent_count import places_of
from tests.load.offered import Place

LOOK_S = 0.1


class Follower:
    """A thread, from `start` to `close`.

    A message is committed when a reader can see the version that covers it: up to `LOOK_S` later than it was there.

    Args:
        lake: URI or folder.
        topics: by source id.
    """

    def __init__(self, lake: str, options: Mapping[str, Any], topics: Mapping[str, str]) -> None:
        fresh = {"skip_instance_cache": True, "use_listings_cache": False, **options} if "://" in lake else {}
        self._store, self._root = fsspec.core.url_to_fs(lake, **fresh)
        self._topics = dict(topics)
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._seen_at_s: dict[Place, float] = {}
        self.version, self.letters = 0, 0
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begin at the log's first version."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    @property
    def seen_at_s(self) -> dict[Place, float]:
        """When each message was first seen committed, in seconds since 1970; a copy."""
        with self._lock:
            return dict(self._seen_at_s)

    def _follow(self) -> None:
        while not self._ended.wait(LOOK_S):
            while self._read_next():
                pass

    def _read_next(self) -> bool:
        number = self.version + 1
        try:
            data = self._store.cat_file(f"{self._root}/_meta/log/{number // 1000:06}/{number:09}.json")
        except FileNotFoundError:
            return False
        now_s = time.time()
        delta = json.loads(data)
        with self._lock:
            for span in delta.get("covers", ()):
                for place in places_of(span):
                    self._seen_at_s.setdefault((self._topics[place.source], place.partition, place.offset), now_s)
            self.letters += sum(each["letters"] for each in delta.get("outcomes", ()))
            self.version = number
        return True
