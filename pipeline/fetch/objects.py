"""Object stores: S3 by one conditional look at the answer of a GET, every other fsspec scheme by info and read."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import fsspec
from fsspec.asyn import AsyncFileSystem, sync

from operators.errors import (
    DeniedError,
    FetchFailedError,
    MediatokError,
    NotFoundError,
    ReferenceMalformedError,
    StoreUnavailableError,
    SupersededError,
)
from operators.records import MediaReference
from pipeline.fetch.base import (
    Fetched,
    FetchLimits,
    Head,
    Sink,
    check_range,
    check_size,
    check_version,
    fetched,
    out_of_range,
    wanted_bytes,
)
from pipeline.fetch.intake import PIECE_BYTES, Intake

if TYPE_CHECKING:
    import asyncio

    from s3fs import S3FileSystem

_BLOCK_BYTES = 8 << 20  # of one request, where a filesystem reads in blocks
_VERSION_NAMES = ("ETag", "etag", "e_tag", "VersionId", "version_id", "generation", "md5Hash")
# S3 answers these with 400 or 403, but a renewed credential or clock mends them: nothing is wrong with the object.
_MENDS = frozenset({"ExpiredToken", "RequestTimeTooSkewed", "TokenRefreshRequired", "RequestTimeout", "SlowDown"})


class ObjectStore:
    """Any fsspec filesystem. Made on first use, for clients don't survive a fork."""

    def __init__(self, scheme: str, options: Mapping[str, Any], limits: FetchLimits) -> None:
        """Args: options: keyword arguments of the scheme's filesystem."""
        self.scheme = scheme
        self.limits = limits
        self._options = dict(options)
        self._filesystem: Any = None
        self._lock = threading.Lock()

    def _made(self) -> Any:  # noqa: ANN401  fsspec's classes share no useful type
        with self._lock:
            if self._filesystem is None:
                self._filesystem = self._make()
            return self._filesystem

    def _make(self) -> Any:  # noqa: ANN401
        return fsspec.filesystem(self.scheme, skip_instance_cache=True, **self._options)

    def fetch(self, reference: MediaReference) -> Fetched:
        """One try."""
        try:
            return self._fetch(reference)
        except MediatokError:
            raise
        except Exception as error:
            raise translated(error, reference) from error

    def copy(self, reference: MediaReference, sink: Sink, limits: FetchLimits) -> None:
        """One try, in pieces."""
        try:
            self._copy(reference, Intake(reference, sink, limits))
        except MediatokError:
            raise
        except Exception as error:
            raise translated(error, reference) from error

    def _fetch(self, reference: MediaReference) -> Fetched:
        filesystem = self._made()
        path: str = filesystem._strip_protocol(reference.uri)
        size, head = self._look(filesystem, path, reference, self.limits)
        start, end = reference.byte_range or (0, size)
        content: bytes = filesystem.cat_file(path, start=start, end=min(end, size))
        check_size(reference, len(content), self.limits)
        if reference.version is not None:
            check_version(reference, *_versions(self._info(filesystem, path)))
        return fetched(check_range(reference, content), head.version, head.content_type)

    def _copy(self, reference: MediaReference, intake: Intake) -> None:
        filesystem = self._made()
        path: str = filesystem._strip_protocol(reference.uri)
        _, head = self._look(filesystem, path, reference, intake.limits)
        if not intake.begin(head):
            return
        left = head.size_bytes or 0
        with filesystem.open(path, "rb", block_size=_BLOCK_BYTES) as file:
            file.seek(reference.byte_range[0] if reference.byte_range else 0)
            while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
                intake.write(piece)
                left -= len(piece)
        # It came by many requests: only if it is the same before and after are they of one content.
        if self._look(filesystem, path, reference, intake.limits)[1].version != head.version:
            raise StoreUnavailableError(f"{reference.uri}: was written to while it was read")
        intake.end()

    def _look(
        self,
        filesystem: Any,  # noqa: ANN401
        path: str,
        reference: MediaReference,
        limits: FetchLimits,
    ) -> tuple[int, Head]:
        """The object's size in bytes, and what is known of the part that is meant."""
        info = self._info(filesystem, path)
        if info.get("type") == "directory":
            raise NotFoundError(f"{reference.uri}: is a folder")
        if info.get("size") is None:
            raise FetchFailedError(f"{reference.uri}: the store does not tell its size")
        size = int(info["size"])
        wanted = wanted_bytes(reference, size)
        check_size(reference, wanted, limits)
        version = check_version(reference, *_versions(info))
        certain = any(info.get(name) for name in _VERSION_NAMES)
        return size, Head(version, certain, wanted, info.get("ContentType") or info.get("contentType"))

    def _info(self, filesystem: Any, path: str) -> Mapping[str, Any]:  # noqa: ANN401
        filesystem.invalidate_cache()
        return filesystem.info(path)


class S3Store(ObjectStore):
    """S3 through s3fs.

    One GET: the headers of its answer say etag, version and size of the very bytes that follow, so nothing can
    change in between, and nothing is read if they are not what the message means.
    """

    def _make(self) -> S3FileSystem:
        from s3fs import S3FileSystem

        config: dict[str, Any] = {
            "connect_timeout": self.limits.connect_timeout_s,
            "read_timeout": self.limits.read_timeout_s,
            "retries": {"max_attempts": 0},  # ours is the only budget of tries
            "max_pool_connections": max(10, self.limits.concurrency),
            **self._options.get("config_kwargs", {}),
        }
        options: dict[str, Any] = {**self._options, "config_kwargs": config}
        filesystem = S3FileSystem(skip_instance_cache=True, use_listings_cache=False, **options)
        filesystem.retries = 1
        return filesystem

    def _fetch(self, reference: MediaReference) -> Fetched:
        filesystem, bucket, key = self._place(reference)
        run = cast("Callable[..., tuple[bytes, Head]]", sync)  # annotated as if it gave nothing
        # The loop's one thread serves all fetches: what takes time, such as hashing, is done in this one.
        content, head = run(
            filesystem.loop,
            _whole,
            filesystem,
            bucket,
            key,
            reference,
            self.limits,
            timeout=self.limits.total_timeout_s,
        )
        return fetched(check_range(reference, content), head.version, head.content_type)

    def _copy(self, reference: MediaReference, intake: Intake) -> None:
        filesystem, bucket, key = self._place(reference)
        loop = cast("asyncio.AbstractEventLoop", filesystem.loop)
        run = cast("Callable[..., Any]", sync)

        def waited(call: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
            return run(loop, call, *args, timeout=max(intake.left_s, 0.001))  # 0 would mean for ever

        head, body = waited(_opened, filesystem, bucket, key, reference, intake.limits)
        try:
            if intake.begin(head):
                # Pulled from here, so that disks and hashes never keep the loop waiting.
                while piece := waited(_piece, body):
                    intake.write(piece)
                intake.end()
        finally:
            loop.call_soon_threadsafe(body.close)

    def _place(self, reference: MediaReference) -> tuple[AsyncFileSystem, str, str]:
        bucket, _, key = reference.uri.removeprefix(f"{self.scheme}://").partition("/")
        if not bucket or not key:
            raise ReferenceMalformedError(f"uri: {reference.uri!r} names no bucket and key")
        return cast("AsyncFileSystem", self._made()), bucket, key


async def _opened(
    filesystem: S3FileSystem, bucket: str, key: str, reference: MediaReference, limits: FetchLimits
) -> tuple[Head, Any]:
    """An answer whose headers are what the message means, and its body, unread."""
    part: dict[str, str] = {}
    if reference.byte_range is not None:
        part["Range"] = f"bytes={reference.byte_range[0]}-{reference.byte_range[1] - 1}"
    # s3fs has no public call that gives an answer's headers together with its body.
    call: Any = filesystem._call_s3  # pyright: ignore[reportPrivateUsage]
    answer: dict[str, Any] = await call("get_object", Bucket=bucket, Key=key, **part)
    try:
        size = int(answer["ContentLength"])
        check_size(reference, size, limits)
        version = check_version(reference, answer.get("ETag"), answer.get("VersionId"))
        return Head(version, bool(version), size, answer.get("ContentType")), answer["Body"]
    except BaseException:
        answer["Body"].close()
        raise


async def _whole(
    filesystem: S3FileSystem, bucket: str, key: str, reference: MediaReference, limits: FetchLimits
) -> tuple[bytes, Head]:
    head, body = await _opened(filesystem, bucket, key, reference, limits)
    try:
        pieces: list[bytes] = []
        size = 0
        async for piece in _pieces(body):
            size += len(piece)
            check_size(reference, size, limits)
            pieces.append(piece)
    finally:
        body.close()
    return b"".join(pieces), head


async def _piece(body: Any) -> bytes:  # noqa: ANN401
    """As much as `PIECE_BYTES`, less only at the end: the hop between threads is paid once for it."""
    pieces: list[bytes] = []
    size = 0
    while size < PIECE_BYTES and (piece := await body.read(PIECE_BYTES - size)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


async def _pieces(body: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
    while piece := await body.read(PIECE_BYTES):
        yield piece


def _versions(info: Mapping[str, Any]) -> list[str]:
    """What the various filesystems call an etag, version id or generation; else their time of change."""
    found = [str(info[name]) for name in _VERSION_NAMES if info.get(name)]
    if not found:
        changed = info.get("mtime") or info.get("LastModified") or info.get("created")
        found = [f"{changed}-{info.get('size')}"] if changed else []
    return found


def translated(error: Exception, reference: MediaReference) -> MediatokError:
    """A store's own exception as one of ours. What is not known to be final is transient."""
    text = f"{reference.uri}: {type(error).__name__}: {error}"
    answer: Any = getattr(error.__cause__ or error, "response", None)
    if isinstance(answer, dict):  # botocore's ClientError, which s3fs has turned into an OSError
        found = cast("dict[str, Any]", answer)
        code = str(found.get("Error", {}).get("Code", ""))
        status = int(found.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return _answered(status, code, text, reference)
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return NotFoundError(text)
    if isinstance(error, PermissionError) or type(error).__name__ in {"NoCredentialsError", "ForbiddenError"}:
        return DeniedError(text)
    if type(error).__name__ == "ParamValidationError":
        return ReferenceMalformedError(f"uri: {text}")
    if isinstance(error, ValueError | TypeError | KeyError | NotImplementedError | ImportError):
        return FetchFailedError(text)
    return StoreUnavailableError(text)


def _answered(status: int, code: str, text: str, reference: MediaReference) -> MediatokError:
    if code in _MENDS or status in {408, 409, 429} or status >= 500:
        return StoreUnavailableError(text)
    if status == 404:
        return NotFoundError(text)
    if status in {401, 403}:
        return DeniedError(text)
    if status == 412:
        return SupersededError(text)
    if status == 416:
        return out_of_range(reference)
    return FetchFailedError(text)
