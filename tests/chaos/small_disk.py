"""A disk of a few MiB that can really be full, without any rights: a tmpfs in a mount namespace of its own.

The namespace lives as long as the process that holds it; everybody of the same user reaches it through that process's
`/proc/<pid>/root`, and writes there get the kernel's ENOSPC.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

STEP_BYTES = 1 << 20


class NoSmallDiskError(Exception):
    """This system has no `unshare`, or lets nobody mount in a namespace of his own."""


class SmallDisk:
    """As a context manager: gone on exit, with all that is on it.

    Args:
        mount_point: an existing folder; outside of the namespace it stays empty.
        size_bytes: of the disk.

    Raises:
        NoSmallDiskError: it can't be had here.
    """

    def __init__(self, mount_point: Path, size_bytes: int) -> None:
        unshare = shutil.which("unshare")
        if unshare is None:
            raise NoSmallDiskError("there is no `unshare`")
        mount_point = mount_point.resolve()
        script = f'mount -t tmpfs -o size={size_bytes} tmpfs "{mount_point}" && echo mounted && exec sleep infinity'
        self._holder = subprocess.Popen(
            [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.readline() != b"mounted\n":
            raise NoSmallDiskError(self._holder.stderr.read().decode(errors="replace").strip())
        self.path = Path(f"/proc/{self._holder.pid}/root{mount_point}")
        """Never to be resolved: the link leads back to the outside."""
        self._filler = self.path / ".filler"

    def fill(self) -> None:
        """Leave no byte free, for what others leave or delete meanwhile too, as far as this call can see."""
        with self._filler.open("ab", buffering=0) as filler:
            size = STEP_BYTES
            while size:
                try:
                    os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, size)
                except OSError:
                    size //= 2

    def free(self) -> None:
        """Take the filler away."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """End the process that holds the disk: it is gone when the last process that uses it is."""
        self._holder.kill()
        self._holder.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
