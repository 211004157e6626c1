"""Content on its way from a store into a sink."""

from __future__ import annotations

import time

from operators.errors import StoreUnavailableError
from operators.records import MediaReference
from pipeline.fetch.base import Fetched, FetchLimits, Head, Sink, check_size, fetched, out_of_range

PIECE_BYTES = 1 << 20


class Intake:
    """One try: counts what comes, holds it to the limits and hands it on."""

    def __init__(self, reference: MediaReference, sink: Sink, limits: FetchLimits) -> None:
        """Args: limits: the time runs from now."""
        self.reference = reference
        self.limits = limits
        self._sink = sink
        self._head: Head | None = None
        self._size_bytes = 0
        self._deadline_s = time.monotonic() + limits.total_timeout_s

    @property
    def left_s(self) -> float:
        """How long the try may still take; grows with what comes, see `FetchLimits.slowest_bytes_per_s`."""
        return self._deadline_s - time.monotonic()

    def begin(self, head: Head) -> bool:
        """Whether the content is wanted.

        Raises:
            TooLargeError: by its announced size.
            ReferenceMalformedError: by it, the object ends before the byte range does.
        """
        if head.size_bytes is not None:
            check_size(self.reference, head.size_bytes, self.limits)
            self._check_range(head.size_bytes)
        self._head = head
        return self._sink.begin(head)

    def write(self, piece: bytes) -> None:
        """The next piece.

        Raises:
            TooLargeError: the announced size was a lie, or there was none.
            StoreUnavailableError: it comes too slowly.
        """
        self._size_bytes += len(piece)
        check_size(self.reference, self._size_bytes, self.limits)
        self._deadline_s += len(piece) / self.limits.slowest_bytes_per_s
        if self.left_s < 0:
            raise StoreUnavailableError(f"{self.reference.uri}: too slow: {self._size_bytes} bytes have come in time")
        self._sink.write(piece)

    def end(self) -> None:
        """That was all.

        Raises:
            ReferenceMalformedError: the object ends before the byte range does.
            StoreUnavailableError: it is not as long as was announced.
        """
        self._check_range(self._size_bytes)
        announced = self._head.size_bytes if self._head else None
        if announced is not None and self._size_bytes != announced:
            raise StoreUnavailableError(
                f"{self.reference.uri}: {self._size_bytes} bytes have come, where {announced} were announced"
            )

    def _check_range(self, size_bytes: int) -> None:
        span = self.reference.byte_range
        if span is not None and size_bytes != span[1] - span[0]:
            raise out_of_range(self.reference)


class Memory:
    """A sink that keeps all of it in memory."""

    def __init__(self) -> None:
        self._head = Head("", certain=False)
        self._pieces: list[bytes] = []

    def begin(self, head: Head) -> bool:
        """See `Sink`."""
        self._head = head
        self._pieces.clear()
        return True

    def write(self, piece: bytes) -> None:
        """See `Sink`."""
        self._pieces.append(piece)

    def fetched(self) -> Fetched:
        """All of it, with its facts."""
        return fetched(b"".join(self._pieces), self._head.version, self._head.content_type)
