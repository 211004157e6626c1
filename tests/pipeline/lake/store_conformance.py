"""What every store must do. A test class brings the fixture `store`: one lake's root, empty."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.lake.store import CreateAnswer, LakeStore, NoSuchFileError, conditional_put_works


class StoreConformance:
    def test_only_the_first_creation_counts(self, store: LakeStore) -> None:
        assert store.create("_meta/log/000000/000000001.json", b"one") is CreateAnswer.CREATED
        assert store.create("_meta/log/000000/000000001.json", b"two") is CreateAnswer.EXISTS
        assert store.read("_meta/log/000000/000000001.json") == b"one"

    def test_of_many_at_once_one_creates(self, store: LakeStore) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: store.create("a/b", b"%d" % i), range(16)))
        assert store.read("a/b") in {b"%d" % i for i, answer in enumerate(answers) if answer is not CreateAnswer.EXISTS}
        assert answers.count(CreateAnswer.CREATED) <= 1
        assert answers.count(CreateAnswer.EXISTS) >= 14 or CreateAnswer.UNCLEAR in answers

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

    def test_what_is_not_there_is_said_so(self, store: LakeStore, tmp_path: Path) -> None:
        with pytest.raises(NoSuchFileError, match="some/where"):
            store.read("some/where")
        with pytest.raises(NoSuchFileError):
            store.read_range("some/where", 0, 3)
        with pytest.raises(NoSuchFileError):
            store.size("some/where")
        with pytest.raises(NoSuchFileError):
            store.download("some/where", tmp_path / "x")

    def test_what_was_not_there_is_seen_once_it_is(self, store: LakeStore) -> None:
        assert store.list("late/") == []
        with pytest.raises(NoSuchFileError):
            store.read("late/a")
        store.write("late/a", b"x")
        assert store.list("late/") == ["late/a"]
        assert store.read("late/a") == b"x"

    def test_the_probe_passes_and_cleans_up(self, store: LakeStore) -> None:
        assert conditional_put_works(store, "probe")
        assert store.list("_meta/") == []
