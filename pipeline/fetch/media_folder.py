"""A folder of downloads that all processes of a node share, within one budget of disk.

    <key>.media   whole content; shared `flock`s on it hold it
    <key>.json    its facts, there before it is
    <key>.part    content on its way; an exclusive `flock` on it is its writer's
    folder.lock   taken for every change of a name or a reservation, briefly; holds the bytes promised, in ASCII

The system lets go of a lock with its process, so that a killed one holds nothing. A part's *apparent* size is what
is reserved for it (the file is sparse), so that the budget can always be counted anew from the folder itself.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from operators.errors import MediatokError, SpoolDiskFullError, StoreUnavailableError
from operators.records import ContentFacts

_SLACK = 16  # when room is made, a 16th of the budget more than is needed, for the next ones


@dataclass(frozen=True, slots=True)
class Entry:
    """A whole file that is held.

    Attributes:
        lock: the descriptor whose shared lock holds it.
        path: of the file.
        facts: of its content.
        content_type: as the store said.
    """

    lock: int
    path: Path
    facts: ContentFacts
    content_type: str | None


@dataclass(slots=True, eq=False)
class Part:
    """A file that is being written, by one thread.

    Attributes:
        handle: the descriptor whose exclusive lock is the right to write.
        path: of the file.
        reserved_bytes: of the budget.
        written_bytes: so far.
    """

    handle: int
    path: Path
    reserved_bytes: int = 0
    written_bytes: int = 0


class MediaFolder:
    """Safe to use from several threads and processes of one node.

    Args:
        folder: made where it is missing; of nobody else. On a disk of this node, for the locks to work.
        limit_bytes: what all its files may take.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / "folder.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mutex = threading.Lock()
        with self._alone():
            files, used_bytes = self._scan()
            self._delete_oldest(files, used_bytes, limit_bytes)
            for facts in folder.glob("*.json"):
                if not facts.with_suffix(".media").exists():
                    facts.unlink()

    def find(self, key: str) -> Entry | None:
        """The file of this key, held from now on."""
        with self._alone():
            return self._find(key)

    def claim(self, key: str) -> Entry | Part | None:
        """The file of this key, or the right to write it; None: somebody else is at it."""
        with self._alone():
            return self._find(key) or self._claim(key)

    def begin(self) -> Part:
        """A part whose key will be known at its end."""
        with self._alone():
            part = self._claim(uuid4().hex)
        assert part is not None
        return part

    def wait(self, key: str) -> None:
        """Until nobody is writing the file of this key: it may be there now, or not."""
        try:
            handle = os.open(self.folder / f"{key}.part", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)

    def restart(self, part: Part, size_bytes: int) -> None:
        """An empty part with a reservation of this size.

        Raises:
            StoreUnavailableError: what others hold leaves no room.
        """
        with self._alone():
            os.ftruncate(part.handle, 0)
            os.ftruncate(part.handle, part.reserved_bytes)
            part.written_bytes = 0
            self._reserve(part, size_bytes)

    def extend(self, part: Part, size_bytes: int) -> None:
        """A larger reservation; raises as `restart`."""
        with self._alone():
            self._reserve(part, size_bytes)

    def write(self, part: Part, piece: bytes) -> None:
        """Within what is reserved.

        Raises:
            StoreUnavailableError: the disk is full before the budget is, but room was made or may be.
            SpoolDiskFullError: it is full, and nothing in this folder is to blame.
        """
        view = memoryview(piece)
        try:
            while view:
                count = os.pwrite(part.handle, view, part.written_bytes)
                part.written_bytes += count
                view = view[count:]
        except OSError as error:
            with self._alone():
                raise self._trouble(error, part.reserved_bytes - part.written_bytes, part.reserved_bytes) from error

    def publish(self, part: Part, key: str, facts: ContentFacts, content_type: str | None) -> Entry:
        """The finished part as the file of this key, held; where there is one already, that one."""
        with self._alone():
            found = self._find(key)
            if found is not None:
                self._drop(part)
                return found
            path, facts_path = self._path(key), self._path(key).with_suffix(".json")
            self._reserve(part, part.written_bytes)
            temporary = part.path.with_suffix(".part.json")
            temporary.write_text(json.dumps({"facts": asdict(facts), "content_type": content_type}), encoding="utf-8")
            temporary.replace(facts_path)
            part.path.replace(path)
            _touch(part.handle)
            fcntl.flock(part.handle, fcntl.LOCK_SH)
            return Entry(part.handle, path, facts, content_type)

    def drop(self, part: Part) -> None:
        """Delete a part that came to nothing."""
        with self._alone():
            self._drop(part)

    def release(self, entry: Entry) -> None:
        """It may be deleted for room from now on, the longest unused first."""
        _touch(entry.lock)
        os.close(entry.lock)

    def close(self) -> None:
        """Let go of the folder; what is held stays so until it is released."""
        os.close(self._lock)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.media"

    @contextmanager
    def _alone(self) -> Generator[None]:
        with self._mutex:  # the lock is the process's: its threads need one of their own
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                yield
            except OSError as error:
                raise self._trouble(error) from error
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    # All below: within `_alone`.

    def _find(self, key: str) -> Entry | None:
        path = self._path(key)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        # Nobody keeps us waiting: a whole file is locked exclusively within `_alone` only.
        fcntl.flock(handle, fcntl.LOCK_SH)
        stored = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        _touch(handle)
        return Entry(handle, path, ContentFacts(**stored["facts"]), stored["content_type"])

    def _claim(self, key: str) -> Part | None:
        path = self.folder / f"{key}.part"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(handle):
            os.close(handle)
            return None
        left_bytes = os.fstat(handle).st_size  # by a process that was killed
        os.ftruncate(handle, 0)
        self._promise(-left_bytes)
        return Part(handle, path)

    def _reserve(self, part: Part, size_bytes: int) -> None:
        more_bytes = size_bytes - part.reserved_bytes
        if more_bytes > 0:
            self._make_room(more_bytes)
        self._promise(more_bytes)
        os.ftruncate(part.handle, size_bytes)
        part.reserved_bytes = size_bytes

    def _make_room(self, need_bytes: int) -> None:
        if self._promised() + need_bytes <= self.limit_bytes:
            return
        files, used_bytes = self._scan()
        used_bytes = self._delete_oldest(files, used_bytes, self.limit_bytes - need_bytes, self.limit_bytes // _SLACK)
        if used_bytes + need_bytes > self.limit_bytes:
            raise StoreUnavailableError(
                f"no room for {need_bytes} bytes in {self.folder}: {used_bytes} of {self.limit_bytes} are in use"
                " (fetch.disk_bytes)"
            )

    def _trouble(self, error: OSError, need_bytes: int = 1 << 20, own_bytes: int = 0) -> MediatokError:
        """What a failed write means.

        As for the packer's spool, a disk without the room that was promised stops the run: a letter would blame the
        item, and waiting would hide it. Unless it is us who fill it: then room is made, or will be.

        Args:
            need_bytes: that could not be written.
            own_bytes: of this folder, reserved by who wrote.
        """
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            return StoreUnavailableError(f"{self.folder}: {error}")
        files, used_bytes = self._scan()
        left_bytes = self._delete_oldest(files, used_bytes, used_bytes - need_bytes)
        if left_bytes < used_bytes or left_bytes > own_bytes:
            return StoreUnavailableError(
                f"{self.folder}: {error.strerror}; {used_bytes - left_bytes} bytes of unused media were deleted,"
                f" {left_bytes - own_bytes} are left"
            )
        return SpoolDiskFullError(
            f"no space left for fetched media in {self.folder}: {error}; fetch.disk_bytes promises {self.limit_bytes}"
        )

    def _scan(self) -> tuple[list[tuple[int, int, Path]], int]:
        """Last use in ns, size in bytes and path of every whole file, and the bytes of all, parts too; dead ones go."""
        files: list[tuple[int, int, Path]] = []
        used_bytes = 0
        for item in self.folder.iterdir():
            if item.suffix not in {".media", ".part"}:
                continue
            status = item.stat()
            if item.suffix == ".media":
                files.append((status.st_mtime_ns, status.st_size, item))
            elif _deleted_if_free(item):
                continue
            used_bytes += status.st_size
        self._promise(used_bytes - self._promised())
        return files, used_bytes

    def _delete_oldest(
        self, files: list[tuple[int, int, Path]], used_bytes: int, most_bytes: int, slack_bytes: int = 0
    ) -> int:
        """Down to `most_bytes`, and once at it, `slack_bytes` further; what is held stays. Returns what is left."""
        goal_bytes = most_bytes if used_bytes <= most_bytes else most_bytes - slack_bytes
        for _, size_bytes, path in sorted(files):
            if used_bytes <= goal_bytes:
                break
            if _deleted_if_free(path):
                path.with_suffix(".json").unlink(missing_ok=True)
                self._promise(-size_bytes)
                used_bytes -= size_bytes
        return used_bytes

    def _drop(self, part: Part) -> None:
        part.path.unlink(missing_ok=True)
        self._promise(-part.reserved_bytes)
        os.close(part.handle)

    def _promised(self) -> int:
        return int(os.pread(self._lock, 32, 0) or b"0")

    def _promise(self, more_bytes: int) -> None:
        os.pwrite(self._lock, b"%-31d\n" % (self._promised() + more_bytes), 0)


def _locked(handle: int) -> bool:
    """Whether the exclusive lock could be had at once."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _deleted_if_free(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        free = _locked(handle)
        if free:
            path.unlink()
        return free
    finally:
        os.close(handle)


def _touch(handle: int) -> None:
    """Used now: times of change of whole files are times of use here."""
    os.utime(handle, ns=(now := time.time_ns(), now))
