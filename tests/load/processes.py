"""Memory of a run and of all processes that came of it."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "MEDIATOK_LOAD"
"""A variable that a run and all that it starts have in their environment, with a value of its own."""
EVERY_S = 2.0
PAGE_BYTES = 4096


@dataclass(frozen=True)
class Memory:
    """At one moment.

    Attributes:
        at_s: seconds since 1970.
        coordinator_bytes: resident.
        all_bytes: of all processes, each page counted once (PSS): they share the object store.
    """

    at_s: float
    coordinator_bytes: int
    all_bytes: int
    processes: int


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
            sizes = [_pss_bytes(pid) for pid in pids]
            self.samples.append(Memory(time.time(), _rss_bytes(self._coordinator), sum(sizes), len(sizes)))


def _read(path: Path) -> bytes:
    """Nothing of a process that has ended meanwhile, or is somebody else's."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _pss_bytes(process: Path) -> int:
    found = re.search(rb"^Pss:\s+(\d+) kB", _read(process / "smaps_rollup"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _rss_bytes(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * PAGE_BYTES if fields else 0
