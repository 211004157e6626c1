"""What a fetch gives, and how far it may go."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol

from operators.errors import (
    ContentChangedError,
    MediatokError,
    ReferenceMalformedError,
    SupersededError,
    TooLargeError,
)
from operators.records import ContentFacts, MediaReference


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How far a fetch may go.

    Attributes:
        max_object_bytes: refused by its announced size before it is read, and stopped there if that was a lie.
        max_redirects: over HTTP; each is checked like the first address.
        connect_timeout_s: until a connection stands.
        read_timeout_s: between two pieces of an answer.
        total_timeout_s: for one try as a whole, however slowly it trickles.
        slowest_bytes_per_s: a try may take longer than `total_timeout_s` by a second for so many bytes that have come:
            for long files, where a healthy download takes hours. inf: it may not.
        retry_budget_s: transient trouble is tried again for so long; 0: not at all.
        concurrency: fetches of one `fetch_many` under way at a time.
    """

    max_object_bytes: int = 256 << 20
    max_redirects: int = 5
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 15.0
    total_timeout_s: float = 120.0
    slowest_bytes_per_s: float = math.inf
    retry_budget_s: float = 30.0
    concurrency: int = 32


@dataclass(frozen=True, slots=True)
class Fetched:
    """Content and what is known of it.

    Attributes:
        content: all of it, or the reference's byte range.
        facts: of `content`.
        content_type: as the store says.
    """

    content: bytes
    facts: ContentFacts
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What a store says of content before it gives it.

    Attributes:
        version: as it is recorded: see `check_version`.
        certain: equal versions mean equal bytes: an etag, a generation, ...; not a time of change, nor a weak etag.
        size_bytes: of what will come, the byte range alone where there is one; None: the store does not tell.
        content_type: as the store says.
    """

    version: str
    certain: bool
    size_bytes: int | None = None
    content_type: str | None = None


class Sink(Protocol):
    """Takes content piece by piece. Used by one thread; raises errors of ours only."""

    def begin(self, head: Head) -> bool:
        """Before the first piece. Of a further try, again: what has come so far is void.

        Returns:
            Whether the content is wanted: if not, nothing is read, and that is no error.
        """
        ...

    def write(self, piece: bytes) -> None:
        """What comes next."""
        ...


class Store(Protocol):
    """One way to content; may be called from several threads at once."""

    def fetch(self, reference: MediaReference) -> Fetched:
        """One try.

        Raises:
            MediaError: this reference can't be fetched, and why.
            StoreUnavailableError: it may well succeed later.
        """
        ...

    def copy(self, reference: MediaReference, sink: Sink, limits: FetchLimits) -> None:
        """One try, in pieces: never more than a few MiB of it lie in memory.

        Args:
            limits: of this copy; those of connections are the store's own.

        Raises:
            MediaError, StoreUnavailableError: as `fetch`; and whatever the sink raises.
        """
        ...


def fetched(content: bytes, version: str, content_type: str | None = None) -> Fetched:
    """With the facts of `content`."""
    return Fetched(content, ContentFacts(version, hashlib.sha256(content).hexdigest(), len(content)), content_type)


def plain_etag(etag: str | None) -> str:
    """`W/"abc"` -> abc: stores and messages disagree on the quotes."""
    return (etag or "").removeprefix("W/").strip('"')


def check_version(reference: MediaReference, *found: str | None) -> str:
    """The version to record: the message's, where the store confirms it, else the first that the store names, or "".

    Args:
        found: every name that the store has for what it gives: etag, version id.

    Raises:
        SupersededError: the message means another one.
    """
    names = [plain_etag(name) for name in found if name]
    if reference.version is None:
        return names[0] if names else ""
    if plain_etag(reference.version) in names:
        return plain_etag(reference.version)
    raise SupersededError(
        f"{reference.uri}: the message means version {reference.version!r}, the store has {', '.join(names) or 'none'}"
    )


def check_size(reference: MediaReference, size_bytes: int, limits: FetchLimits) -> None:
    """Before anything is read.

    Raises:
        TooLargeError: `size_bytes` is over the limit.
    """
    if size_bytes > limits.max_object_bytes:
        raise TooLargeError(
            f"{reference.uri}: {size_bytes} bytes, where {limits.max_object_bytes} are allowed; not fetched"
        )


def wanted_bytes(reference: MediaReference, object_bytes: int) -> int:
    """How many bytes of an object of this size the reference means."""
    if reference.byte_range is None:
        return object_bytes
    start, end = reference.byte_range
    return max(0, min(end, object_bytes) - start)


def check_range(reference: MediaReference, content: bytes) -> bytes:
    """Content of a byte range, which must be all there.

    Raises:
        ReferenceMalformedError: the object ends before the range does.
    """
    if reference.byte_range is not None and len(content) != reference.byte_range[1] - reference.byte_range[0]:
        raise out_of_range(reference)
    return content


def out_of_range(reference: MediaReference) -> ReferenceMalformedError:
    """The error for a byte range that the object does not have."""
    start, end = reference.byte_range or (0, 0)
    return ReferenceMalformedError(f"byte_range: {reference.uri} does not reach from {start} to {end}")


def changed(reference: MediaReference, how: str) -> MediatokError:
    """The error for content that is no longer what the first segment of an item was cut from.

    A message that names a version means nothing else: it becomes a letter. One that names none means whatever is
    there, so that the error is transient: the lane then begins the item anew and drops what former segments gave,
    and no two contents are mixed. One that never rests becomes a letter after the lane's most tries.
    """
    kind = ContentChangedError if reference.version is None else SupersededError
    return kind(f"{reference.uri}: changed since the item's first segment: {how}")
