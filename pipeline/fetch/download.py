"""Content on its way into the folder that a node's processes share, and the keys by which they find it there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from operators.errors import TooLargeError
from operators.records import ContentFacts, MediaReference
from pipeline.fetch.base import Head, plain_etag
from pipeline.fetch.media_folder import Entry, MediaFolder, Part

_STEP_BYTES = 16 << 20  # reserved at a time for content whose size nobody told


class Download:
    """A sink that writes to the folder, unless the content is there or on its way already.

    Attributes:
        entry: it is there, and held.
        awaited: it is on its way: the key to wait for.
        differs: it is not what the item's first segment was cut from, and how so.
    """

    def __init__(self, folder: MediaFolder, reference: MediaReference, facts: ContentFacts | None) -> None:
        self.entry: Entry | None = None
        self.awaited: str | None = None
        self.differs: str | None = None
        self._folder = folder
        self._reference = reference
        self._facts = facts
        self._head = Head("", certain=False)
        self._key: str | None = None
        self._part: Part | None = None
        self._hash = hashlib.sha256()

    def claims(self, key: str | None) -> bool:
        """Whether we are to write the file of this key (None: known at the end), now that nobody else does."""
        if self._part is not None and self._key == key:
            return True
        self.give_up()
        self._key = key
        claimed = self._folder.begin() if key is None else self._folder.claim(key)
        match claimed:
            case Part():
                self._part = claimed
            case Entry():
                self.entry = claimed
            case None:
                self.awaited = key
        return self._part is not None

    def begin(self, head: Head) -> bool:
        """See `Sink`."""
        self.differs = self._difference(head)
        certain = head.certain or named_key(self._reference) is not None
        if self.differs is not None or not self.claims(
            key_by_version(self._reference, head.version) if certain else None
        ):
            return False
        assert self._part is not None
        self._head = head
        self._hash = hashlib.sha256()
        self._check_fits(head.size_bytes or 0)
        self._folder.restart(self._part, head.size_bytes or 0)
        return True

    def write(self, piece: bytes) -> None:
        """See `Sink`."""
        assert self._part is not None
        size_bytes = self._part.written_bytes + len(piece)
        if size_bytes > self._part.reserved_bytes:
            self._check_fits(size_bytes)
            step_bytes = min(_STEP_BYTES, self._folder.limit_bytes // 64)
            self._folder.extend(self._part, min(size_bytes + step_bytes, self._folder.limit_bytes))
        self._hash.update(piece)
        self._folder.write(self._part, piece)

    def finished(self) -> tuple[Entry, ContentFacts]:
        """All of it has come."""
        assert self._part is not None
        facts = ContentFacts(self._head.version, self._hash.hexdigest(), self._part.written_bytes)
        key = self._key or key_by_content(self._reference, facts.sha256)
        entry = self._folder.publish(self._part, key, facts, self._head.content_type)
        self._part = None
        return entry, facts

    def give_up(self) -> None:
        """What has come so far is of no use."""
        part, self._part = self._part, None
        if part is not None:
            self._folder.drop(part)

    def _difference(self, head: Head) -> str | None:
        facts = self._facts
        if facts is None:
            return None
        if head.size_bytes not in {None, facts.size_bytes}:
            return f"it has {head.size_bytes} bytes, and had {facts.size_bytes}"
        if head.certain and head.version != facts.version:
            return f"its version is {head.version}, and was {facts.version}"
        return None  # as far as is known now; its hash will tell

    def _check_fits(self, size_bytes: int) -> None:
        if size_bytes > self._folder.limit_bytes:
            raise TooLargeError(
                f"{self._reference.uri}: {size_bytes} bytes, where fetch.disk_bytes allows {self._folder.limit_bytes}"
                " for all files of a node"
            )


@contextmanager
def downloading(folder: MediaFolder, reference: MediaReference, facts: ContentFacts | None) -> Generator[Download]:
    """A download that leaves nothing behind unless it was finished.

    Args:
        facts: that the content must have, as far as they are known.
    """
    download = Download(folder, reference, facts)
    try:
        yield download
    finally:
        download.give_up()


def named_key(reference: MediaReference) -> str | None:
    """The key by the version that the message names."""
    if reference.version is None or reference.inline is not None:
        return None
    return key_by_version(reference, plain_etag(reference.version))


def key_by_version(reference: MediaReference, version: str) -> str:
    """For what has one that is certain, or that the message names: whoever has that version has the content."""
    return _hashed("version", reference, version)


def key_by_content(reference: MediaReference, sha256: str) -> str:
    """For what has no version that is certain, or is inline."""
    return _hashed("sha256", reference, sha256)


def _hashed(kind: str, reference: MediaReference, value: str) -> str:
    return hashlib.sha256(json.dumps([_boot(), kind, reference.uri, value, reference.byte_range]).encode()).hexdigest()


@cache
def _boot() -> str:
    """Part of every key: nothing is synced to the disk, so what a crash of the system left is not to be trusted."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""  # not Linux
