"""`mediatok run` as an orchestrator has it: processes that are started again whenever they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PAUSE_S = 1.0
"""Between an end and the next start."""
LOOK_S = 0.2
DRAIN_S = 60.0
TAIL_BYTES = 8000
STOPPED = re.compile(
    r"^(?:lane \S+ stopped: )?([a-z]+\.[a-z_]+): |^(?:\w+\.)*(\w+(?:Error|Exception|Interrupt)): ?(.{0,120})"
    r"|(\w+\.cc:\d+): .*Check failed",
    re.MULTILINE,
)
"""How a process says why it ends: the code of an error of ours, a traceback's last line, or where Ray gives up."""


class Replica:
    """One process and those that follow it.

    Args:
        state: its state folder.
        log: what all of them print is appended there.
        environment: over ours.
    """

    def __init__(self, name: str, config: Path, state: Path, log: Path, environment: Mapping[str, str]) -> None:
        self.name, self.log = name, log
        self._environment = {**os.environ, "MEDIATOK_LOG": "json", **environment}
        self._config, self._state = config, state
        self._process: subprocess.Popen[bytes] | None = None
        self._from = 0
        self._due_s = 0.0

    def start(self) -> None:
        """A process more; in a session of its own."""
        program = str(Path(sys.executable).parent / "mediatok")
        with self.log.open("ab") as log:
            self._from = log.tell()
            self._process = subprocess.Popen(
                [program, "run", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment,
            )

    @property
    def pid(self) -> int:
        """Of the process that runs; 0: none does."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    @property
    def status(self) -> dict[str, Any]:
        """The running process's own; empty where it has written none yet."""
        try:
            status = json.loads((self._state / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return status if status["pid"] == self.pid else {}

    def actor(self, word: str) -> int:
        """The process id of an actor whose name has this word in it; 0: none is known."""
        pids = (pid for name, pid in self.status.get("pids", {}).items() if word in name)
        return next((pid for pid in pids if Path(f"/proc/{pid}").exists()), 0)

    def send(self, what: signal.Signals) -> int:
        """To the process, if it runs. Returns its process id."""
        pid = self.pid
        if pid:
            os.kill(pid, what)
        return pid

    def look(self) -> str | None:
        """Start it again a while after it ended. Returns how it ended, once."""
        if self._process is not None and (code := self._process.poll()) is not None:
            self._process = None
            self._due_s = time.monotonic() + PAUSE_S
            return self._end(code)
        if self._process is None and time.monotonic() >= self._due_s:
            self.start()
        return None

    def end(self) -> int | None:
        """Drain it, with patience. Returns its exit code; None where none ran or it had to be killed."""
        if self._process is None:
            return None
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    def tail(self, size_bytes: int = TAIL_BYTES) -> str:
        """The end of what the present or last process printed."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._from, size - size_bytes))
            return log.read().decode(errors="replace")

    def _end(self, code: int) -> str:
        if code < 0:
            return f"{signal.Signals(-code).name}"
        said = [each[1] or each[4] or f"{each[2]}: {each[3]}" for each in STOPPED.finditer(self.tail())]
        return f"exit {code}" + (f" ({said[-1]})" if code and said else "")


class Supervisor:
    """Looks after the replicas in a thread of its own.

    Args:
        ready: is called now and then; starts again what the replicas need. While it says no, none is started.
    """

    def __init__(self, replicas: tuple[Replica, ...], ready: Callable[[], bool]) -> None:
        self.replicas = replicas
        self.ends: Counter[str] = Counter()
        self._ready = ready
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin; starts the replicas."""
        self._thread.start()

    def close(self) -> list[int | None]:
        """Start nothing any more, and drain the replicas. Returns their exit codes."""
        self._ended.set()
        self._thread.join()
        return [replica.end() for replica in self.replicas]

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            for replica in self.replicas if self._ready() else ():
                if how := replica.look():
                    self.ends[how] += 1
