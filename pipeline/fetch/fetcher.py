"""References -> content, within a policy and limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import stamina

from operators.errors import MediatokError, StoreUnavailableError
from operators.records import MediaReference
from pipeline.fetch.base import Fetched, FetchLimits, Head, Sink, Store, check_range, check_size, fetched
from pipeline.fetch.http import HttpStore
from pipeline.fetch.intake import Intake
from pipeline.fetch.local import LocalStore
from pipeline.fetch.objects import ObjectStore, S3Store
from pipeline.fetch.policy import FetchPolicy, Resolver, system_resolver

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0

T = TypeVar("T")


class Fetcher:
    """Fetches references. Safe to call from several threads; make it in the process that uses it."""

    def __init__(
        self,
        limits: FetchLimits | None = None,
        policy: FetchPolicy | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        resolver: Resolver = system_resolver,
    ) -> None:
        """Set up, connect to nothing.

        Args:
            limits: sizes, times and tries.
            policy: what may be fetched.
            options: by scheme, keyword arguments of its fsspec filesystem, e.g. `{"s3": {"endpoint_url": ...}}`.
            resolver: of host names, for HTTP.
        """
        self.limits = limits or FetchLimits()
        self.policy = policy or FetchPolicy()
        self._options = options or {}
        self._resolver = resolver
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def fetch(self, reference: MediaReference) -> Fetched:
        """The content, tried again for `retry_budget_s` while trouble looks transient.

        Raises:
            ReferenceRefusedError: the policy does not allow it.
            MediaError: it can't be fetched: not found, denied, superseded, too large, ...
            StoreUnavailableError: the store was in trouble for longer than the budget.
        """
        if reference.inline is not None:
            return self._inline(reference, reference.inline)
        store = self._store(self.policy.check(reference.uri))
        return self.patiently(reference, lambda: store.fetch(reference))

    def copy(self, reference: MediaReference, sink: Sink, limits: FetchLimits) -> None:
        """The content, piece by piece; tried again as in `fetch`, each time from its beginning.

        Args:
            sink: told before the first piece of each try what will come.
            limits: of this copy; connections and tries are held to the fetcher's own.

        Raises:
            ReferenceRefusedError, MediaError, StoreUnavailableError: as `fetch`; and whatever the sink raises.
        """
        if reference.inline is not None:
            content = _meant(reference, reference.inline)
            intake = Intake(reference, sink, limits)
            # What an inline reference is called says nothing of its bytes, nor does its version.
            if intake.begin(Head(reference.version or "", False, len(content), reference.content_type)):
                intake.write(content)
            return
        store = self._store(self.policy.check(reference.uri))
        self.patiently(reference, lambda: store.copy(reference, sink, limits))

    def patiently(self, reference: MediaReference, trial: Callable[[], T]) -> T:
        """What `trial` gives, called again for `retry_budget_s` while it raises `StoreUnavailableError`."""
        if self.limits.retry_budget_s <= 0:
            return trial()
        for attempt in stamina.retry_context(
            on=StoreUnavailableError,
            attempts=None,
            timeout=self.limits.retry_budget_s,
            wait_initial=_FIRST_WAIT_S,
            wait_max=_LONGEST_WAIT_S,
            wait_jitter=_FIRST_WAIT_S,
        ):
            with attempt:
                return trial()
        raise StoreUnavailableError(f"{reference.uri}: no try was made")

    def fetch_many(
        self, references: Sequence[MediaReference], concurrency: int | None = None
    ) -> list[Fetched | MediatokError]:
        """Their contents or errors, in order; round trips overlap.

        Args:
            references: any number.
            concurrency: how many at a time, `limits.concurrency` at most; 1: one after the other, in this thread.
        """
        return list(self.stream(references, concurrency))

    def stream(
        self, references: Sequence[MediaReference], concurrency: int | None = None
    ) -> Iterator[Fetched | MediatokError]:
        """As `fetch_many`, each as soon as it and those before it are there."""
        width = min(concurrency or self.limits.concurrency, self.limits.concurrency, len(references))
        if width <= 1:
            yield from map(self._settled, references)
            return
        slots = threading.BoundedSemaphore(width)

        def slotted(reference: MediaReference) -> Fetched | MediatokError:
            with slots:
                return self._settled(reference)

        yield from self._threads().map(slotted, references)

    def close(self) -> None:
        """Let go of the threads."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _settled(self, reference: MediaReference) -> Fetched | MediatokError:
        try:
            return self.fetch(reference)
        except MediatokError as error:
            return error

    def _inline(self, reference: MediaReference, content: bytes) -> Fetched:
        content = _meant(reference, content)
        check_size(reference, len(content), self.limits)
        return fetched(content, reference.version or "", reference.content_type)

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.limits.concurrency, thread_name_prefix="fetch")
            return self._pool

    def _store(self, scheme: str) -> Store:
        with self._lock:
            store = self._stores.get(scheme)
            if store is None:
                store = self._stores[scheme] = self._make(scheme)
            return store

    def _make(self, scheme: str) -> Store:
        if scheme == "file":
            return LocalStore(self.policy, self.limits)
        if scheme in {"http", "https"}:
            return HttpStore(self.policy, self.limits, self._resolver)
        kind = S3Store if scheme in {"s3", "s3a"} else ObjectStore
        return kind(scheme, self._options.get(scheme, {}), self.limits)


def _meant(reference: MediaReference, content: bytes) -> bytes:
    if reference.byte_range is None:
        return content
    return check_range(reference, content[slice(*reference.byte_range)])
