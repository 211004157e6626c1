"""What every store must do, on a folder, on an S3 server in this process, and on a real one where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from operators.errors import ConfigError, StoreUnavailableError
from pipeline.lake.open_store import PatientStore, open_store
from pipeline.lake.store import CreateAnswer, LakeStore, NoSuchFileError, conditional_put_works
from pipeline.lake.store_local import LocalStore
from pipeline.lake.store_object import ObjectStore

REAL = os.environ.get("MEDIATOK_TEST_S3_ENDPOINT")


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def bucket(endpoint: str) -> LakeStore:
    key = os.environ.get("AWS_ACCESS_KEY_ID", "test")
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY", "test-secret")
    name = f"lake-{uuid4().hex[:12]}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1"
    )
    client.create_bucket(Bucket=name)
    client_options = {"region_name": "us-east-1"}
    options = {"key": key, "secret": secret, "endpoint_url": endpoint, "client_kwargs": client_options}
    return ObjectStore(f"s3://{name}/some/lake/", options)


@pytest.fixture(
    params=[
        "folder",
        "moto",
        pytest.param("real", marks=[pytest.mark.services, pytest.mark.skipif(not REAL, reason="no real S3 at hand")]),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LakeStore:
    if request.param == "folder":
        return LocalStore(tmp_path / "lake")
    return bucket(REAL or "" if request.param == "real" else request.getfixturevalue("moto_endpoint"))


def test_only_the_first_creation_counts(store: LakeStore) -> None:
    assert store.create("_meta/log/000000/000000001.json", b"one") is CreateAnswer.CREATED
    assert store.create("_meta/log/000000/000000001.json", b"two") is CreateAnswer.EXISTS
    assert store.read("_meta/log/000000/000000001.json") == b"one"


def test_of_many_at_once_one_creates(store: LakeStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: store.create("a/b", b"%d" % i), range(16)))
    assert store.read("a/b") in {b"%d" % i for i, answer in enumerate(answers) if answer is not CreateAnswer.EXISTS}
    assert answers.count(CreateAnswer.CREATED) <= 1
    assert answers.count(CreateAnswer.EXISTS) >= 14 or CreateAnswer.UNCLEAR in answers


def test_files_are_written_replaced_ranged_listed_and_deleted(store: LakeStore, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"0123456789")
    store.write("data/x/part.arrow", local)
    store.write("data/y", b"old")
    store.write("data/y", b"newer")
    assert store.read("data/y") == b"newer"
    assert store.read_range("data/x/part.arrow", 2, 5) == b"234"
    assert store.size("data/x/part.arrow") == 10
    assert store.list("data/") == ["data/x/part.arrow", "data/y"]
    assert store.list("nothing/") == []
    store.download("data/x/part.arrow", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"0123456789"
    store.delete("data/y")
    store.delete("data/y")
    assert store.list("data/") == ["data/x/part.arrow"]


def test_what_is_not_there_is_said_so(store: LakeStore, tmp_path: Path) -> None:
    with pytest.raises(NoSuchFileError, match="some/where"):
        store.read("some/where")
    with pytest.raises(NoSuchFileError):
        store.read_range("some/where", 0, 3)
    with pytest.raises(NoSuchFileError):
        store.size("some/where")
    with pytest.raises(NoSuchFileError):
        store.download("some/where", tmp_path / "x")


def test_what_was_not_there_is_seen_once_it_is(store: LakeStore) -> None:
    assert store.list("late/") == []
    with pytest.raises(NoSuchFileError):
        store.read("late/a")
    store.write("late/a", b"x")
    assert store.list("late/") == ["late/a"]
    assert store.read("late/a") == b"x"


def test_the_probe_passes_and_cleans_up(store: LakeStore) -> None:
    assert conditional_put_works(store, "probe")
    assert store.list("_meta/") == []


class Overwriting(LocalStore):
    """A store that ignores the condition."""

    def create(self, path: str, data: bytes) -> CreateAnswer:
        self.write(path, data)
        return CreateAnswer.CREATED


def test_the_probe_catches_a_store_that_overwrites(tmp_path: Path) -> None:
    assert not conditional_put_works(Overwriting(tmp_path), "probe")


class Flaky(LocalStore):
    """Fails so many times first."""

    failures = 2

    def read(self, path: str) -> bytes:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("503")
        return super().read(path)

    def create(self, path: str, data: bytes) -> CreateAnswer:
        raise StoreUnavailableError("timeout")


def test_passing_trouble_is_waited_out_but_a_create_is_left_unclear(tmp_path: Path) -> None:
    store = PatientStore(Flaky(tmp_path))
    store.write("a", b"x")
    assert store.read("a") == b"x"
    assert store.create("b", b"x") is CreateAnswer.UNCLEAR


def test_an_unreachable_server_is_transient_and_its_puts_are_unclear(tmp_path: Path) -> None:
    quick = {"connect_timeout": 1, "read_timeout": 1, "retries": {"max_attempts": 0}}
    store = ObjectStore(
        "s3://b/lake", {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9", "config_kwargs": quick}
    )
    assert store.create("a", b"x") is CreateAnswer.UNCLEAR
    with pytest.raises(StoreUnavailableError):
        store.read("a")


def test_leftovers_of_a_crash_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".part.arrow.0af3").write_bytes(b"half")
    assert LocalStore(tmp_path).list("data/") == []


@pytest.mark.parametrize(("uri", "options"), [("ftp://x/y", {}), ("/tmp/lake", {"key": "k"})])
def test_other_schemes_and_stray_options_are_refused(uri: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        open_store(uri, options)


def test_a_path_and_a_file_uri_are_the_same_folder(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)).uri == open_store(tmp_path.as_uri()).uri == str(tmp_path)
