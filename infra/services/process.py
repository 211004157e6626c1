"""A server as a child process: started, waited for, killed, and started again on the same data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.services.install import ServiceUnavailableError

STOP_S = 20.0
POLL_S = 0.1


class Server(ABC):
    """One server, on 127.0.0.1. As a context manager: started on entry; stopped, and its data deleted, on exit.

    Subclasses say how to start it (`_command`, which may prepare `data`) and when it is ready (`_ready`). Ports and
    data stay the same over `kill` and `start`.

    Args:
        home: its folder: `data/`, and `server.log`, which stays.
        detached: outlives the process that started it (else, on Linux, it is stopped with it, however that ends).
    """

    name = "server"
    patience_s = 120.0

    def __init__(self, home: Path, *, detached: bool = False) -> None:
        self.home = home.resolve()
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        self._detached = detached
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> Self:
        """Start it and wait until it serves; with the data that it had, if it ran before.

        Raises:
            ServiceUnavailableError: it ended, or was not ready in time; with the end of its log.
        """
        if self.pid is not None:
            return self
        self.data.mkdir(parents=True, exist_ok=True)
        command = self._command()
        setpriv = None if self._detached else shutil.which("setpriv")
        prefix = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, *command],
                env=os.environ | self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )
        try:
            self._await_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """SIGKILL: nothing is flushed or closed."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after a while."""
        self._end(signal.SIGTERM)

    def restart(self) -> Self:
        """Stop it in good order and start it on the same data and port."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Kill it and delete its data: nothing is left that a good end would be for."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _environment(self) -> dict[str, str]:
        return {}

    @abstractmethod
    def _ready(self) -> bool: ...

    def _await_ready(self) -> None:
        end_s = time.monotonic() + self.patience_s
        while not self._ready():
            if self.pid is None:
                raise ServiceUnavailableError(f"{self.name} ended while it started; {self.log} ends:\n{self.log_end()}")
            if time.monotonic() > end_s:
                raise ServiceUnavailableError(
                    f"{self.name} was not ready after {self.patience_s:.0f} s; {self.log} ends:\n{self.log_end()}"
                )
            time.sleep(POLL_S)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log_end(self, lines: int = 30) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return "(empty)"
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
