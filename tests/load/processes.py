"""Memory of a run and of all processes that came of it."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MARK = "MEDIATOK_LOAD"
"""A variable that a run and all that it starts have in their environment, with a value of its own."""
EVERY_S = 2.0
PAGE_BYTES = 4096
KINDS = {b"ray::StageActor": "workers", b"ray::PackerActor": "packers"}
"""How the titles of a run's actors begin."""
SHARED = "shared memory"
OTHERS = "Ray's own"


@dataclass(frozen=True)
class Memory:
    """At one moment.

    Attributes:
        at_s: seconds since 1970.
        coordinator_bytes: resident.
        by_kind_bytes: of all other processes by what they are, without shared memory; and that, which is the object
            store, once (PSS).
    """

    at_s: float
    coordinator_bytes: int
    by_kind_bytes: Mapping[str, int]

    @property
    def all_bytes(self) -> int:
        """Of all processes."""
        return self.coordinator_bytes + sum(self.by_kind_bytes.values())


class MemoryWatch:
    """A thread that looks every few seconds.

    Args:
        mark: the value of `MARK`.
        coordinator: process id.
    """

    def __init__(self, mark: str, coordinator: int) -> None:
        self._mark = f"{MARK}={mark}".encode()
        self._coordinator = coordinator
        self._ended = threading.Event()
        self.samples: list[Memory] = []
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            pids = [path.parent for path in Path("/proc").glob("[0-9]*/environ") if self._mark in _read(path)]
            by_kind = Counter[str]({OTHERS: 0, SHARED: 0} | dict.fromkeys(KINDS.values(), 0))
            for pid in pids:
                rollup = _read(pid / "smaps_rollup")
                shared_bytes = _kilobytes(rollup, b"Pss_Shmem")
                by_kind[SHARED] += shared_bytes
                if int(pid.name) != self._coordinator:
                    by_kind[_kind(_read(pid / "cmdline"))] += _kilobytes(rollup, b"Pss") - shared_bytes
            self.samples.append(Memory(time.time(), _rss_bytes(self._coordinator), by_kind))


def _read(path: Path) -> bytes:
    """Nothing of a process that has ended meanwhile, or is somebody else's."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _kind(title: bytes) -> str:
    return next((kind for begins, kind in KINDS.items() if title.startswith(begins)), OTHERS)


def _kilobytes(rollup: bytes, name: bytes) -> int:
    """A line of `smaps_rollup`, in bytes; 0 where there is none."""
    found = re.search(rb"^" + name + rb":\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _rss_bytes(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * PAGE_BYTES if fields else 0
