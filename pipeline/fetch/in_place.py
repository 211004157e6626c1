"""Local files that are read where they lie: nothing is copied, only hashed."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from pathlib import Path

from operators.errors import StoreUnavailableError
from operators.records import ContentFacts, MediaReference
from pipeline.fetch.base import FetchLimits, check_version
from pipeline.fetch.local import LocalStore, check_unchanged, checked_status, file_version
from pipeline.fetch.policy import FetchPolicy

_MOST = 1024


class InPlace:
    """Facts of local files. Those of the last 1,024 are remembered: a film of many time ranges is hashed once."""

    def __init__(self, policy: FetchPolicy, limits: FetchLimits) -> None:
        self._store = LocalStore(policy, limits)
        self._limits = limits
        self._known: OrderedDict[tuple[int, ...], ContentFacts] = OrderedDict()
        self._mutex = threading.Lock()

    def look(self, reference: MediaReference, facts: ContentFacts | None) -> tuple[Path, ContentFacts]:
        """The file, links resolved, and its facts: `facts`, unhashed, where they have its version.

        Raises:
            MediaError: it may not or can't be read, is too large, or of another version than the message's.
            StoreUnavailableError: it is being written to.
        """
        path = self._store.policy.file(reference.uri)
        handle = self._store.open(reference)
        try:
            before = checked_status(handle, reference, self._limits)
            version = check_version(reference, file_version(before))
            if facts is not None and facts.version == version:
                return path, facts
            # The time of the last change of the inode can't be set by hand, as that of the content can.
            identity = (before.st_dev, before.st_ino, before.st_mtime_ns, before.st_ctime_ns, before.st_size)
            found = self._remembered(identity)
            if found is None:
                found = ContentFacts(version, _sha256(handle, reference), before.st_size)
                check_unchanged(handle, reference, before)
                self._remember(identity, found)
            return path, found
        finally:
            os.close(handle)

    def _remembered(self, identity: tuple[int, ...]) -> ContentFacts | None:
        with self._mutex:
            return self._known.get(identity)

    def _remember(self, identity: tuple[int, ...], facts: ContentFacts) -> None:
        with self._mutex:
            self._known[identity] = facts
            if len(self._known) > _MOST:
                self._known.popitem(last=False)


def _sha256(handle: int, reference: MediaReference) -> str:
    try:
        with open(handle, "rb", buffering=0, closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreUnavailableError(f"{reference.uri}: {error.strerror}") from error
