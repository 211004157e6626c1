"""What every store must do. A test class brings the fixture `store`: one lake's root, empty."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.lake.store import CreateAnswer, LakeStore, NoSuchFileError, conditional_put_works

VERSION = "_meta/log/000000/000000001.json"
ODD_NAMES = (
    "data/product=image-rq-0a1b2c3d/dt=2026-01-31/part-7-00ff.arrow",
    "a b/c d",
    "percent%20and%",
    "plus+and&ampersand",
    "question?mark#hash",
    "ü/日本/🎞",
    "quotes'\"(x)[y]{z}*!~;:@,$",
)


class StoreConformance:
    large_bytes = (34 << 20) + 4711  # more than the store's client sends in one request

    # --- creating

    def test_only_the_first_creation_counts(self, store: LakeStore) -> None:
        assert store.create(VERSION, b"one") is CreateAnswer.CREATED
        assert store.create(VERSION, b"two") is CreateAnswer.EXISTS
        assert store.read(VERSION) == b"one"

    def test_the_same_bytes_are_refused_too(self, store: LakeStore) -> None:
        assert store.create("a", b"same") is CreateAnswer.CREATED
        assert store.create("a", b"same") is CreateAnswer.EXISTS

    def test_what_was_written_is_not_created_again(self, store: LakeStore) -> None:
        store.write("a", b"written")
        assert store.create("a", b"created") is CreateAnswer.EXISTS
        assert store.read("a") == b"written"

    def test_what_was_deleted_can_be_created_again(self, store: LakeStore) -> None:
        store.create("a", b"one")
        store.delete("a")
        assert store.create("a", b"two") is CreateAnswer.CREATED
        assert store.read("a") == b"two"

    def test_an_empty_file_is_a_file(self, store: LakeStore) -> None:
        assert store.create("empty", b"") is CreateAnswer.CREATED
        assert store.create("empty", b"x") is CreateAnswer.EXISTS
        assert store.read("empty") == b""
        assert store.size("empty") == 0

    @pytest.mark.parametrize("turn", range(3))
    def test_of_sixteen_at_once_exactly_one_creates(self, store: LakeStore, turn: int) -> None:
        start = threading.Barrier(16)

        def create(number: int) -> CreateAnswer:
            start.wait()
            return store.create(f"a/{turn}", b"%d" % number)

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(create, range(16)))
        winner = int(store.read(f"a/{turn}"))
        assert answers.count(CreateAnswer.CREATED) == 1
        assert answers[winner] is CreateAnswer.CREATED
        # 409 for two at once is S3's right; whoever hears it reads back.
        assert answers.count(CreateAnswer.EXISTS) + answers.count(CreateAnswer.UNCLEAR) == 15

    def test_the_probe_passes_and_cleans_up(self, store: LakeStore) -> None:
        assert conditional_put_works(store, "probe")
        assert store.list("_meta/") == []

    # --- reading what was written

    def test_files_are_written_replaced_ranged_listed_and_deleted(self, store: LakeStore, tmp_path: Path) -> None:
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

    @pytest.mark.parametrize(
        ("start", "end", "found"), [(0, 10, b"0123456789"), (9, 10, b"9"), (4, 4, b""), (7, 99, b"789"), (10, 12, b"")]
    )
    def test_a_range_ends_with_the_file(self, store: LakeStore, start: int, end: int, found: bytes) -> None:
        store.write("a", b"0123456789")
        assert store.read_range("a", start, end) == found

    def test_what_is_not_there_is_said_so(self, store: LakeStore, tmp_path: Path) -> None:
        with pytest.raises(NoSuchFileError, match="some/where"):
            store.read("some/where")
        with pytest.raises(NoSuchFileError):
            store.read_range("some/where", 0, 3)
        with pytest.raises(NoSuchFileError):
            store.size("some/where")
        with pytest.raises(NoSuchFileError):
            store.download("some/where", tmp_path / "x")
        with pytest.raises(NoSuchFileError):
            store.write("some/where", tmp_path / "no such local file")

    def test_what_was_not_there_is_seen_once_it_is(self, store: LakeStore) -> None:
        assert store.list("late/") == []
        with pytest.raises(NoSuchFileError):
            store.read("late/a")
        store.write("late/a", b"x")
        assert store.list("late/") == ["late/a"]
        assert store.read("late/a") == b"x"
        store.delete("late/a")
        assert store.list("late/") == []
        with pytest.raises(NoSuchFileError):
            store.read("late/a")

    def test_each_reader_sees_the_last_write(self, store: LakeStore) -> None:
        for number in range(8):
            store.write("last", b"%d" % number)
            assert store.read("last") == b"%d" % number
            assert store.size("last") == 1

    def test_a_folder_lists_its_own_files_only(self, store: LakeStore) -> None:
        for name in ("log/1", "log/2/3", "logs/4"):
            store.write(name, b"x")
        assert store.list("log/") == ["log/1", "log/2/3"]

    def test_a_long_list_is_whole(self, store: LakeStore) -> None:
        names = [f"many/{number:04d}" for number in range(60)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.write(name, b"x"), names))
        assert store.list("many/") == names

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_a_name_is_taken_as_it_is(self, store: LakeStore, name: str, tmp_path: Path) -> None:
        content = name.encode()
        assert store.create(name, content) is CreateAnswer.CREATED
        assert store.create(name, b"") is CreateAnswer.EXISTS
        assert store.read(name) == content
        assert store.read_range(name, 1, 3) == content[1:3]
        assert store.size(name) == len(content)
        store.download(name, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content
        folder = f"{name.partition('/')[0]}/" if "/" in name else ""
        assert store.list(folder) == [name]
        store.delete(name)
        assert store.list(folder) == []

    def test_bytes_that_look_like_a_clients_own_are_kept(self, store: LakeStore, tmp_path: Path) -> None:
        content = b"x\r\n--==0==--\n\n--==0==\nContent-Type: text/plain\n\n0\r\n\r\n"
        (tmp_path / "local").write_bytes(content)
        store.write("bytes", content)
        store.write("file", tmp_path / "local")
        assert store.create("new", content) is CreateAnswer.CREATED
        assert store.read("bytes") == store.read("file") == store.read("new") == content

    # --- large files

    def test_a_large_file_is_never_half_there(self, store: LakeStore, large: Path, tmp_path: Path) -> None:
        done, seen = threading.Event(), list[int]()

        def watch() -> None:
            while not done.is_set():
                seen.extend(store.size(path) for path in store.list("data/"))

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(watch)
            try:
                store.write("data/large", large)
            finally:
                done.set()
            watching.result()
        assert set(seen) <= {self.large_bytes}
        assert store.size("data/large") == self.large_bytes
        store.download("data/large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == large.read_bytes()
        assert store.read_range("data/large", self.large_bytes - 5, self.large_bytes) == large.read_bytes()[-5:]

    def test_while_a_large_file_is_replaced_the_old_one_is_read(self, store: LakeStore, large: Path) -> None:
        old, new = b"old", large.read_bytes()
        store.write("data/large", old)
        done, seen = threading.Event(), list[bytes]()

        def watch() -> None:
            while not done.is_set():
                seen.append(store.read_range("data/large", 0, 3))

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(watch)
            try:
                store.write("data/large", large)
            finally:
                done.set()
            watching.result()
        assert set(seen) <= {old, new[:3]}
        assert store.read_range("data/large", 0, 3) == new[:3]

    @pytest.fixture
    def large(self, tmp_path: Path) -> Path:
        path = tmp_path / "large"
        path.write_bytes(bytes(range(256)) * (self.large_bytes // 256) + b"!" * (self.large_bytes % 256))
        return path
