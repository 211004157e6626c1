"""What becomes of a run whose Ray goes away: it ends, and says why. Ray itself says little, and some of it nowhere."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

import ray
import ray.exceptions
import structlog

from operators.errors import RayLostError

LOOK_S = 3.0
MOST_SILENT = 3
"""So many looks without an answer mean that the head is gone: a busy one may miss one."""
GONE = (ray.exceptions.RaySystemError, ray.exceptions.RpcError, ray.exceptions.LocalRayletDiedError)

_log = structlog.get_logger(__name__)


@contextmanager
def lifeline() -> Generator[None]:
    """While this is open, a Ray that goes away is told of.

    Raises:
        RayLostError: instead of what Ray raises then.
    """
    watch = HeadWatch(ray.get_runtime_context().gcs_address)
    watch.start()
    try:
        yield
    except GONE as error:
        raise RayLostError(f"the Ray cluster does not answer any more: {error}") from error
    finally:
        watch.close()


class HeadWatch(threading.Thread):
    """Says that the cluster's head is silent. A minute later Ray ends this process itself, without a word in our log
    [2.60]; whoever calls Ray meanwhile waits for it, so this asks for nothing but a connection.

    Args:
        address: host and port of the head's control service.
        look_s: seconds from one look to the next.
    """

    def __init__(self, address: str, look_s: float = LOOK_S) -> None:
        super().__init__(name="head-watch", daemon=True)
        host, _, port = address.rpartition(":")
        self._where = (host.strip("[]"), int(port))
        self._look_s = look_s
        self._ended = threading.Event()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def run(self) -> None:
        """The thread."""
        failures = 0
        while not self._ended.wait(self._look_s):
            try:
                socket.create_connection(self._where, timeout=self._look_s).close()
            except OSError as error:
                failures += 1
                if failures == MOST_SILENT:
                    _log.error(
                        "ray's head does not answer: this process ends unless it is back within a minute",
                        head="{}:{}".format(*self._where),
                        error=str(error),
                        advice=RayLostError.advice,
                    )
                continue
            if failures >= MOST_SILENT:
                _log.info("ray's head answers again")
            failures = 0
