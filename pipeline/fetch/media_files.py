"""Long media as files: downloaded once a node, shared by its processes, and never whole in memory."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from operators.errors import InvariantError, TooLargeError
from operators.records import ContentFacts, MediaReference
from pipeline.fetch.base import changed, check_size
from pipeline.fetch.download import downloading, key_by_content, key_by_version, named_key
from pipeline.fetch.fetcher import Fetcher
from pipeline.fetch.in_place import InPlace
from pipeline.fetch.media_folder import Entry, MediaFolder

SLOWEST_BYTES_PER_S = 1e6
"""A download that keeps up this rate may go on for as long as it takes, beyond the limits' `total_timeout_s`."""


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that stays where and what it is until it is released.

    Attributes:
        path: of a seekable regular file, the reference's byte range alone where it has one. Nobody modifies a
            download; a local file that is read in place may be modified by its owner, which the next segment notices.
        facts: of the content meant.
        content_type: as the store says.
    """

    path: Path
    facts: ContentFacts
    content_type: str | None = None


@dataclass(slots=True)
class _Hold:
    entry: Entry | None = None  # of a local file in place there is none
    count: int = 0


class MediaFiles:
    """References -> files. Safe to call from several threads; make it in the process that uses it.

    A file that a message names with its version, or that belongs to an item under way (`facts`), is taken from the
    folder without asking the store. Otherwise the headers of the store's answer are looked at, and its body is read
    only if that version is not there, nor on its way in another process. A store that says nothing certain (no
    strong etag) is read anew for every item.
    """

    def __init__(self, fetcher: Fetcher, folder: Path, *, limit_bytes: int, max_object_bytes: int) -> None:
        """Set up, delete what killed processes left half-written.

        Args:
            fetcher: its policy, stores and times hold here too, but for its size limit and the total time.
            folder: of all processes of this node that are to share; on a disk of its own or with that much room.
            limit_bytes: of `folder`, over all processes: `fetch.disk_bytes`.
            max_object_bytes: of one object: `fetch.max_file_bytes`.
        """
        self._fetcher = fetcher
        self._limits = replace(
            fetcher.limits, max_object_bytes=max_object_bytes, slowest_bytes_per_s=SLOWEST_BYTES_PER_S
        )
        self._in_place = InPlace(fetcher.policy, self._limits)
        self._folder = MediaFolder(folder, limit_bytes)
        self._held: dict[Path, _Hold] = {}
        self._closed = False
        self._mutex = threading.Lock()

    def hold(self, reference: MediaReference, facts: ContentFacts | None = None) -> HeldFile:
        """The content as a file, which is this process's until it is released as often as it was held.

        Args:
            reference: local files without a byte range are read in place, all else is downloaded.
            facts: from the item's first segment, where this is a later one: the content must be the same, and is not
                hashed again where that is certain without.

        Raises:
            MediaError: it can't be fetched, is too large, or is no longer the version that the message names.
            StoreUnavailableError: the store is in trouble, or what others hold leaves no room on the disk.
            ContentChangedError: content without a version in its message is no longer that of `facts`: the item must
                begin anew.
            SpoolDiskFullError: the disk has less room than `limit_bytes` promised.
        """
        if reference.inline is None and self._fetcher.policy.check(reference.uri) == "file":
            if reference.byte_range is None:
                return self._look(reference, facts)
            self._fetcher.policy.file(reference.uri)
        found = (facts and self._there(reference, facts)) or self._fetched(reference, facts)
        if facts is not None and found.facts.sha256 != facts.sha256:
            self.release(found)
            raise changed(reference, "its sha256 is another one")
        return found if facts is None else replace(found, facts=facts)

    @contextmanager
    def holding(self, reference: MediaReference, facts: ContentFacts | None = None) -> Generator[HeldFile]:
        """As `hold`, released at the end of the block."""
        held = self.hold(reference, facts)
        try:
            yield held
        finally:
            self.release(held)

    def release(self, held: HeldFile) -> None:
        """This process no longer needs it, once it was released as often as it was held.

        Raises:
            InvariantError: it was released more often.
        """
        with self._mutex:
            if self._closed:
                return
            hold = self._held.get(held.path)
            if hold is None:
                raise InvariantError(f"{held.path} is not held")
            hold.count -= 1
            if not hold.count:
                del self._held[held.path]
                if hold.entry is not None:
                    self._folder.release(hold.entry)

    def close(self) -> None:
        """Release everything. The files stay for whoever needs them next."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            for hold in self._held.values():
                if hold.entry is not None:
                    self._folder.release(hold.entry)
            self._held.clear()
            self._folder.close()

    def _look(self, reference: MediaReference, facts: ContentFacts | None) -> HeldFile:
        path, found = self._fetcher.patiently(reference, lambda: self._in_place.look(reference, facts))
        if facts is not None and found.sha256 != facts.sha256:
            raise changed(reference, f"its version is {found.version}, and was {facts.version}")
        self._count(path, None)
        return HeldFile(path, facts or found)

    def _there(self, reference: MediaReference, facts: ContentFacts) -> HeldFile | None:
        """From the folder: a later segment need not ask the store."""
        keys = [key_by_content(reference, facts.sha256)]
        if reference.inline is None:
            keys.insert(0, key_by_version(reference, facts.version))
        for entry in filter(None, map(self._folder.find, keys)):
            if entry.facts.sha256 == facts.sha256:
                return self._keep(reference, entry, entry.facts)
            self._folder.release(entry)
        return None

    def _fetched(self, reference: MediaReference, facts: ContentFacts | None) -> HeldFile:
        """From the store, or from whoever is fetching it already."""
        named = named_key(reference)
        while True:
            with downloading(self._folder, reference, facts) as download:
                if named is None or download.claims(named):
                    self._fetcher.copy(reference, download, self._limits)
                if download.differs is not None:
                    raise changed(reference, download.differs)
                if download.entry is not None:
                    return self._keep(reference, download.entry, download.entry.facts)
                if download.awaited is None:
                    return self._keep(reference, *download.finished())
            self._folder.wait(download.awaited)
            # Its version was the store's a moment ago; if it is not there, it is our turn to try.
            entry = self._folder.find(download.awaited)
            if entry is not None:
                return self._keep(reference, entry, entry.facts)

    def _keep(self, reference: MediaReference, entry: Entry, facts: ContentFacts) -> HeldFile:
        self._count(entry.path, entry)
        held = HeldFile(entry.path, facts, entry.content_type)
        try:
            check_size(reference, facts.size_bytes, self._limits)
        except TooLargeError:
            self.release(held)
            raise
        return held

    def _count(self, path: Path, entry: Entry | None) -> None:
        with self._mutex:
            hold = self._held.setdefault(path, _Hold())
            hold.count += 1
            if hold.entry is None:
                hold.entry = entry
            elif entry is not None:
                self._folder.release(entry)
