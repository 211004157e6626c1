"""How the content of leases gets here: into memory where it is small, into files where it is long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from operators.decode import Cursor
from operators.errors import MediatokError
from operators.records import ContentFacts, MediaReference
from pipeline.fetch import Fetcher, HeldFile, MediaFiles

_AT_A_TIME = 4


class Work(Protocol):
    """What is leased: an item, and where in it to go on."""

    @property
    def reference(self) -> MediaReference:
        """The item."""
        ...

    @property
    def cursor(self) -> Cursor | None:
        """From this item's last report; None: its start."""
        ...

    @property
    def facts(self) -> ContentFacts | None:
        """Of its content, from this item's first report; None: its start."""
        ...


@dataclass(frozen=True, slots=True)
class Content:
    """What a lease's decoder gets."""

    body: bytes | Path
    facts: ContentFacts

    def first(self, count: int) -> bytes:
        """Up to `count` bytes of it."""
        if isinstance(self.body, bytes):
            return self.body[:count]
        with self.body.open("rb") as file:
            return file.read(count)


class Contents(Protocol):
    """Gives the contents of leases in order, each as soon as it and those before it are there."""

    def each(self, leases: Sequence[Work]) -> Iterator[Content | MediatokError]:
        """One a lease. It is held until the next one is asked for."""
        ...


class InMemory:
    """Images and texts.

    Args:
        fetcher: gives them.
        concurrency: fetches at a time; 1: no threads at all; None: as the fetcher likes.
    """

    def __init__(self, fetcher: Fetcher, concurrency: int | None = None) -> None:
        self._fetcher = fetcher
        self._concurrency = concurrency

    def each(self, leases: Sequence[Work]) -> Iterator[Content | MediatokError]:
        """See `Contents.each`."""
        for fetched in self._fetcher.stream([lease.reference for lease in leases], self._concurrency):
            yield fetched if isinstance(fetched, MediatokError) else Content(fetched.content, fetched.facts)


class OnDisk:
    """Sound and films: files of this node, fetched once however many segments and workers read them."""

    def __init__(self, files: MediaFiles) -> None:
        self._files = files
        self._threads: ThreadPoolExecutor | None = None

    def each(self, leases: Sequence[Work]) -> Iterator[Content | MediatokError]:
        """See `Contents.each`."""
        all_held = self._held(leases)
        try:
            for held in all_held:
                if isinstance(held, MediatokError):
                    yield held
                    continue
                try:
                    yield Content(held.path, held.facts)
                finally:
                    # What a decoder keeps open stays readable, even if the file has to make room for others.
                    self._files.release(held)
        finally:
            # Whoever reads may fail at one of them; those behind it are held already.
            for held in all_held:
                if isinstance(held, HeldFile):
                    self._files.release(held)

    def _held(self, leases: Sequence[Work]) -> Iterator[HeldFile | MediatokError]:
        if len(leases) == 1:
            return map(self._hold, leases)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="hold")
        return self._threads.map(self._hold, leases)

    def _hold(self, lease: Work) -> HeldFile | MediatokError:
        try:
            return self._files.hold(lease.reference, lease.facts)
        except MediatokError as error:
            return error
