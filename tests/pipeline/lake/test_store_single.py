"""One writer at a time, on a store that creates what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from operators.errors import ConfigError, StoreUnavailableError, StoreUnsafeError
from pipeline.lake.open_store import open_to_commit
from pipeline.lake.store import CreateAnswer, LakeStore
from pipeline.lake.store_local import LocalStore
from pipeline.lake.store_single import SingleWriterStore
from tests.pipeline.lake.store_conformance import StoreConformance


class Overwriting(LocalStore):
    """A store that ignores the condition, and now and then does not answer."""

    silent = False
    lands = True

    def create(self, path: str, data: bytes) -> CreateAnswer:
        self.write(path, data)
        return CreateAnswer.CREATED

    def write(self, path: str, data: bytes | Path) -> None:
        if self.lands:
            super().write(path, data)
        if self.silent:
            raise StoreUnavailableError("no answer")


class TestSingleWriter(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LakeStore:
        return SingleWriterStore(Overwriting(tmp_path / "lake"), tmp_path / "lock")


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    first = SingleWriterStore(LocalStore(tmp_path / "lake"), tmp_path / "locks" / "lake")
    with pytest.raises(ConfigError, match=r"process \d+ holds"):
        SingleWriterStore(LocalStore(tmp_path / "lake"), tmp_path / "locks" / "lake")
    first.close()
    SingleWriterStore(LocalStore(tmp_path / "lake"), tmp_path / "locks" / "lake")


def test_a_writer_that_is_killed_lets_go(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from pipeline.lake.open_store import open_to_commit\n"
        "store = open_to_commit(sys.argv[1], None, Path(sys.argv[2])); print('held', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", hold, str(tmp_path / "lake"), str(tmp_path / "lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=str(holder.pid)):
            open_to_commit(str(tmp_path / "lake"), None, tmp_path / "lock")
        holder.kill()
    open_to_commit(str(tmp_path / "lake"), None, tmp_path / "lock")


def test_a_lock_that_cant_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"commit.single_writer_lock: .*file/lock"):
        SingleWriterStore(LocalStore(tmp_path / "lake"), tmp_path / "file" / "lock")


def test_after_a_put_without_an_answer_only_the_same_bytes_may_follow(tmp_path: Path) -> None:
    inner = Overwriting(tmp_path / "lake")
    store = SingleWriterStore(inner, tmp_path / "lock")
    inner.silent, inner.lands = True, False
    assert store.create("a", b"mine") is CreateAnswer.UNCLEAR
    inner.silent, inner.lands = False, True
    with pytest.raises(StoreUnsafeError, match="may still land"):
        store.create("a", b"other")
    assert store.create("a", b"mine") is CreateAnswer.CREATED
    assert store.create("a", b"other") is CreateAnswer.EXISTS
    assert store.read("a") == b"mine"


def test_a_put_that_landed_unheard_is_there(tmp_path: Path) -> None:
    inner = Overwriting(tmp_path / "lake")
    store = SingleWriterStore(inner, tmp_path / "lock")
    inner.silent = True
    assert store.create("a", b"mine") is CreateAnswer.UNCLEAR
    inner.silent = False
    assert store.create("a", b"mine") is CreateAnswer.EXISTS
    assert store.read("a") == b"mine"
