from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from operators.errors import (
    DeniedError,
    FetchFailedError,
    NotFoundError,
    ReferenceMalformedError,
    ReferenceRefusedError,
    StoreUnavailableError,
    SupersededError,
    TooLargeError,
)
from operators.records import MediaReference, Origin
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy
from pipeline.fetch.objects import translated

POLICY = FetchPolicy(schemes=frozenset({"s3", "file", "memory"}), places=("s3://media/*", "s3://gone/*", "memory://*"))


def reference(uri: str, **fields: Any) -> MediaReference:
    return MediaReference(uri, Origin("t", 0, 0, 0), **fields)


@pytest.fixture
def fetcher(endpoint: str) -> Fetcher:
    options = {"key": "a", "secret": "b", "endpoint_url": endpoint}
    return Fetcher(FetchLimits(max_object_bytes=1000, retry_budget_s=0), POLICY, {"s3": options})


def test_s3_content_comes_with_its_facts(s3: Any, fetcher: Fetcher) -> None:
    etag = s3.put_object(Bucket="media", Key="a b+ü?.jpg", Body=b"pixels", ContentType="image/jpeg")["ETag"]
    found = fetcher.fetch(reference("s3://media/a b+ü?.jpg", version=etag.strip('"')))
    assert (found.content, found.content_type) == (b"pixels", "image/jpeg")
    assert found.facts.version == hashlib.md5(b"pixels").hexdigest()
    assert found.facts.sha256 == hashlib.sha256(b"pixels").hexdigest()


def test_an_object_overwritten_since_is_superseded(s3: Any, fetcher: Fetcher) -> None:
    etag = s3.put_object(Bucket="media", Key="changed", Body=b"one")["ETag"]
    s3.put_object(Bucket="media", Key="changed", Body=b"two")
    with pytest.raises(SupersededError):
        fetcher.fetch(reference("s3://media/changed", version=etag))
    assert fetcher.fetch(reference("s3://media/changed")).content == b"two"


def test_s3_byte_ranges(s3: Any, fetcher: Fetcher) -> None:
    s3.put_object(Bucket="media", Key="long", Body=bytes(range(256)) * 10)
    assert fetcher.fetch(reference("s3://media/long", byte_range=(5, 9))).content == bytes(range(5, 9))
    for beyond in ((2000, 3000), (2559, 2600)):
        with pytest.raises((ReferenceMalformedError, TooLargeError)):
            fetcher.fetch(reference("s3://media/long", byte_range=beyond))


def test_s3_objects_over_the_limit_are_not_read(s3: Any, fetcher: Fetcher) -> None:
    s3.put_object(Bucket="media", Key="big", Body=b"x" * 1001)
    with pytest.raises(TooLargeError, match="1001 bytes"):
        fetcher.fetch(reference("s3://media/big"))


def test_what_s3_does_not_have_is_not_found(s3: Any, fetcher: Fetcher) -> None:
    for uri in ("s3://media/nothing", "s3://gone/nothing"):
        with pytest.raises(NotFoundError):
            fetcher.fetch(reference(uri))


def test_buckets_off_the_list_are_refused(fetcher: Fetcher) -> None:
    with pytest.raises(ReferenceRefusedError):
        fetcher.fetch(reference("s3://secrets/key"))


def test_an_s3_address_needs_a_key(fetcher: Fetcher) -> None:
    with pytest.raises(ReferenceMalformedError):
        fetcher.fetch(reference("s3://media/"))


def test_a_store_that_is_not_there_is_transient() -> None:
    options = {"key": "a", "secret": "b", "endpoint_url": "http://127.0.0.1:9"}
    limits = FetchLimits(retry_budget_s=0, connect_timeout_s=1.0)
    with pytest.raises(StoreUnavailableError):
        Fetcher(limits, POLICY, {"s3": options}).fetch(reference("s3://media/a"))


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", DeniedError),
        (403, "SignatureDoesNotMatch", DeniedError),
        (403, "RequestTimeTooSkewed", StoreUnavailableError),
        (400, "ExpiredToken", StoreUnavailableError),
        (400, "InvalidRequest", FetchFailedError),
        (301, "PermanentRedirect", FetchFailedError),
        (404, "NoSuchKey", NotFoundError),
        (412, "PreconditionFailed", SupersededError),
        (416, "InvalidRange", ReferenceMalformedError),
        (429, "TooManyRequests", StoreUnavailableError),
        (500, "InternalError", StoreUnavailableError),
        (503, "SlowDown", StoreUnavailableError),
    ],
)
def test_answers_of_s3_become_errors(status: int, code: str, expected: type[Exception]) -> None:
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    answer: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = translate_boto_error(ClientError(answer, "GetObject"))
    assert type(translated(error, reference("s3://media/a"))) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError("x"), NotFoundError),
        (PermissionError("x"), DeniedError),
        (TimeoutError("x"), StoreUnavailableError),
        (ConnectionResetError("x"), StoreUnavailableError),
        (OSError(5, "x"), StoreUnavailableError),
        (NotImplementedError("x"), FetchFailedError),
    ],
)
def test_python_errors_of_a_store_become_ours(error: Exception, expected: type[Exception]) -> None:
    assert type(translated(error, reference("gs://media/a"))) is expected


def test_any_fsspec_scheme_on_the_list_works(fetcher: Fetcher) -> None:
    fsspec.filesystem("memory").pipe_file("/shelf/a.txt", b"0123456789")
    found = fetcher.fetch(reference("memory://shelf/a.txt"))
    assert found.content == b"0123456789"
    assert found.facts.version
    same = reference("memory://shelf/a.txt", version=found.facts.version, byte_range=(2, 4))
    assert fetcher.fetch(same).content == b"23"
    with pytest.raises(SupersededError):
        fetcher.fetch(reference("memory://shelf/a.txt", version="another"))
    with pytest.raises(NotFoundError):
        fetcher.fetch(reference("memory://shelf/nothing"))
    with pytest.raises(NotFoundError):
        fetcher.fetch(reference("memory://shelf"))
    fsspec.filesystem("memory").pipe_file("/shelf/big", b"x" * 1001)
    with pytest.raises(TooLargeError):
        fetcher.fetch(reference("memory://shelf/big"))


@pytest.fixture
def local(tmp_path: Path) -> Fetcher:
    return Fetcher(FetchLimits(max_object_bytes=1000, retry_budget_s=0), FetchPolicy(roots=(str(tmp_path),)))


def test_files_have_a_version_of_time_and_size(tmp_path: Path, local: Fetcher) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"0123456789")
    version = local.fetch(reference(str(path))).facts.version
    assert version.endswith("-a")
    assert local.fetch(reference(path.as_uri(), version=version, byte_range=(2, 4))).content == b"23"
    path.write_bytes(b"9876543210")
    os.utime(path, ns=(1, 1))
    with pytest.raises(SupersededError):
        local.fetch(reference(str(path), version=version))


def test_what_is_no_file_is_not_read(tmp_path: Path, local: Fetcher) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    for name, error in {
        "pipe": ReferenceRefusedError,
        "folder": NotFoundError,
        "nothing": NotFoundError,
        "huge": TooLargeError,
    }.items():
        with pytest.raises(error):
            local.fetch(reference(str(tmp_path / name)))


def test_a_file_without_leave_is_denied(tmp_path: Path, local: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a").write_bytes(b"a")
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(DeniedError):
        local.fetch(reference(str(tmp_path / "a")))


def test_inline_content_needs_no_store() -> None:
    fetcher = Fetcher(FetchLimits(max_object_bytes=5), FetchPolicy(schemes=frozenset()))
    found = fetcher.fetch(reference("caption:1", inline=b"abc", content_type="text/plain"))
    assert (found.content, found.facts.size_bytes, found.content_type) == (b"abc", 3, "text/plain")
    assert fetcher.fetch(reference("caption:1", inline=b"abc", byte_range=(1, 2))).content == b"b"
    with pytest.raises(TooLargeError):
        fetcher.fetch(reference("caption:1", inline=b"abcdef"))
