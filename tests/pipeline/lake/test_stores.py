"""A folder and an S3 server in this process as stores; a real S3 is in tests/integration/test_lake_store.py."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from operators.errors import ConfigError, StoreUnavailableError
from pipeline.lake.open_store import PatientStore, open_store
from pipeline.lake.store import CreateAnswer, LakeStore, conditional_put_works
from pipeline.lake.store_local import LocalStore
from pipeline.lake.store_s3 import S3Store
from tests.pipeline.lake.store_conformance import StoreConformance


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class TestFolder(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LakeStore:
        return LocalStore(tmp_path / "lake")


class TestS3Server(StoreConformance):
    @pytest.fixture
    def store(self, moto_endpoint: str) -> LakeStore:
        credentials = {"key": "test", "secret": "test-secret"}
        name = f"lake-{uuid4().hex[:12]}"
        client = boto3.client(
            "s3",
            endpoint_url=moto_endpoint,
            aws_access_key_id=credentials["key"],
            aws_secret_access_key=credentials["secret"],
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=name)
        options = {**credentials, "endpoint_url": moto_endpoint, "client_kwargs": {"region_name": "us-east-1"}}
        return S3Store(f"s3://{name}/some/lake/", options)


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
    store = S3Store(
        "s3://b/lake", {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9", "config_kwargs": quick}
    )
    assert store.create("a", b"x") is CreateAnswer.UNCLEAR
    with pytest.raises(StoreUnavailableError):
        store.read("a")


def test_leftovers_of_a_crash_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".part.arrow.0af3").write_bytes(b"half")
    assert LocalStore(tmp_path).list("data/") == []


def test_a_write_whose_process_is_killed_leaves_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "source")
    write = (
        "import sys; from pathlib import Path; from pipeline.lake.store_local import LocalStore\n"
        "LocalStore(Path(sys.argv[1])).write('data/large', Path(sys.argv[2]))"
    )
    writer = subprocess.Popen([sys.executable, "-c", write, str(tmp_path / "lake"), str(tmp_path / "source")])
    with (tmp_path / "source").open("wb") as source:
        source.write(b"x" * (4 << 20))  # more than a pipe and its reader's buffer hold: some is in the file by now
        writer.kill()
        writer.wait()
        with contextlib.suppress(BrokenPipeError):
            source.flush()
    assert list((tmp_path / "lake" / "data").iterdir()) != []
    assert LocalStore(tmp_path / "lake").list("data/") == []


@pytest.mark.parametrize(("uri", "options"), [("ftp://x/y", {}), ("/tmp/lake", {"key": "k"})])
def test_other_schemes_and_stray_options_are_refused(uri: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        open_store(uri, options)


def test_a_path_and_a_file_uri_are_the_same_folder(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)).uri == open_store(tmp_path.as_uri()).uri == str(tmp_path)
