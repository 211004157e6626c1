"""A Ray of one node whose raylet is killed now and then."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

from infra.services.process import Server, free_port

CPUS = 4
"""Pretended: the actors ask for fractions."""
STORE_BYTES = 256 << 20


class RayHead(Server):
    """`ray start --head --block`, which ends all of the node's processes when one of them dies. A fresh Ray a start."""

    name = "Ray"
    patience_s = 240.0

    def __init__(self, home: Path) -> None:
        # Detached: what dies with its parent dies with the parent's thread, and the supervisor's ends before the rest.
        super().__init__(home, detached=True)
        self._port = free_port()
        self._client_port = free_port()
        # Ray's sockets lie there, and their paths may not be long.
        self._temp = Path(tempfile.mkdtemp(prefix="chaos-ray-"))
        self._token = self.home / "token"

    @property
    def address(self) -> str:
        """For `ray.address`."""
        return f"127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """What its clients need too."""
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self._token)}
        return token | {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

    def kill_raylet(self) -> int:
        """SIGKILL. Returns its process id, 0 where it does not run."""
        for pid in self._processes("raylet/raylet"):
            os.kill(pid, signal.SIGKILL)
            return pid
        return 0

    def stop(self) -> None:
        """Everything of this Ray."""
        super().stop()
        for pid in self._processes(""):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def close(self) -> None:
        """Likewise, and delete what it left."""
        self.stop()
        shutil.rmtree(self._temp, ignore_errors=True)
        super().close()

    def _command(self) -> list[str]:
        self.stop()  # what outlived its node
        if not self._token.exists():
            self._token.write_text(secrets.token_hex(32))
        ray = str(Path(sys.executable).parent / "ray")
        ports = [f"--port={self._port}", f"--ray-client-server-port={self._client_port}"]
        size = [f"--num-cpus={CPUS}", "--num-gpus=0", f"--object-store-memory={STORE_BYTES}"]
        quiet = ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={self._temp}"]
        return [ray, "start", "--head", "--block", "--node-ip-address=127.0.0.1", *ports, *size, *quiet]

    def _environment(self) -> dict[str, str]:
        # Actors at Ray's usual niceness, 15, get no turn on a machine with other work.
        return self.environment | {"RAY_worker_niceness": "0"}

    def _ready(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self._port)):
                return False
        return any(self._temp.glob("session_latest/sockets/raylet"))

    def _processes(self, program: str) -> list[int]:
        """Those that name this Ray's own folder, and this program before it."""
        found = list[int]()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # gone meanwhile
                continue
            if str(self._temp) in command and program in command.partition(" ")[0]:
                found.append(int(path.parent.name))
        return found
