from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import ConfigError, StoreUnavailableError
from operators.records import MediaReference, Origin
from pipeline.fetch.local import file_version
from pipeline.source.inventory import canonical, list_rows
from pipeline.source.listing import Frozen, freeze, read_part, read_rows
from pipeline.source.listing_rows import Row


class CrashError(Exception):
    pass


class Store:
    """Files in memory. Crashes at call `crash_at`, before or after its effect; loses the answers of some creates."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.calls = 0
        self.crash_at = -1
        self.crash_after = False
        self.unclear: Callable[[int], bool] = lambda _: False
        self.before: Callable[[str], None] = lambda _: None

    def _call(self, effect: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls == self.crash_at and not self.crash_after:
            raise CrashError
        answer = effect()
        if self.calls == self.crash_at:
            raise CrashError
        return answer

    def create(self, path: str, data: bytes) -> str:
        def effect() -> str:
            self.before(path)
            if path in self.files:
                return "exists"
            self.files[path] = data
            return "unclear" if self.unclear(self.calls) else "created"

        return self._call(effect)

    def read(self, path: str) -> bytes:
        return self._call(lambda: self.files[path])

    def list(self, prefix: str) -> list[str]:
        return self._call(lambda: sorted(path for path in self.files if path.startswith(prefix)))


def inventory_of(names: list[str] | dict[str, str]) -> Callable[..., Iterator[Row]]:
    stamps = names if isinstance(names, dict) else dict.fromkeys(names, "v1")

    def listed(*_: Any) -> Iterator[Row]:
        yield from (Row({"uri": name, "version": stamp}, stamp) for name, stamp in stamps.items())

    return listed


def frozen_rows(store: Store, listings: tuple[Frozen, ...]) -> list[tuple[str, str]]:
    return [(row.message["uri"], row.stamp) for listing in listings for row in read_rows(store, listing)]


NAMES = [f"s3://b/{number:02d}" for number in range(10)]


def run(store: Store, names: list[str] | dict[str, str], part_rows: int = 3) -> tuple[Frozen, ...]:
    return freeze(["s3://b"], store, {}, part_rows=part_rows, inventory=inventory_of(names))


def test_rows_are_sorted_and_cut_into_parts() -> None:
    store = Store()
    (listing,) = run(store, NAMES[::-1] + NAMES[:3])
    assert listing.part_rows == (3, 3, 3, 1)
    assert frozen_rows(store, (listing,)) == [(name, "v1") for name in NAMES]
    assert [listing.find(row) for row in (0, 2, 3, 9)] == [(0, 0), (0, 2), (1, 0), (3, 0)]


def test_the_same_listing_is_the_same_to_the_byte() -> None:
    stores = [Store(), Store()]
    run(stores[0], NAMES)
    run(stores[1], NAMES[::-1])
    assert stores[0].files == stores[1].files


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_listing_that_crashed_at_any_call_is_resumed_where_it_stopped(after: bool) -> None:
    whole = Store()
    run(whole, NAMES)
    for crash_at in range(1, whole.calls + 1):
        store = Store()
        store.crash_at, store.crash_after = crash_at, after
        with pytest.raises(CrashError):
            run(store, NAMES)
        before = dict(store.files)
        listings = run(store, NAMES)
        assert frozen_rows(store, listings) == [(name, "v1") for name in NAMES]
        assert before.items() <= store.files.items(), "what was frozen stays as it is"
        assert store.files == whole.files


@settings(max_examples=60, deadline=None)
@given(
    first=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["v1", "v2"]), min_size=1),
    second=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["v1", "v2"]), min_size=1),
    crash_at=st.integers(1, 40),
    after=st.booleans(),
    part_rows=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_whatever_changes_between_crash_and_resumption_each_object_is_frozen_once(
    first: dict[str, str], second: dict[str, str], crash_at: int, after: bool, part_rows: tuple[int, int]
) -> None:
    store = Store()
    store.crash_at, store.crash_after = crash_at, after
    with contextlib.suppress(CrashError):
        run(store, first, part_rows[0])
    store.crash_at = -1
    run(store, second, part_rows[1])
    found = frozen_rows(store, run(store, second, part_rows[1]))
    assert len(set(found)) == len(found)
    assert set(second.items()) <= set(found) <= set(first.items()) | set(second.items())


def test_a_finished_listing_run_again_holds_only_what_is_new_or_changed() -> None:
    store = Store()
    (first,) = run(store, dict.fromkeys(NAMES[:5], "v1"))
    assert run(store, dict.fromkeys(NAMES[:5], "v1")) == (first,), "nothing new: nothing written"
    later = dict.fromkeys(NAMES[:6], "v1") | {NAMES[2]: "v2"}
    again = run(store, later)
    assert again[0] == first
    assert frozen_rows(store, again[1:]) == [(NAMES[2], "v2"), (NAMES[5], "v1")]
    assert [listing.source_id.rpartition("-")[2] for listing in again] == ["1", "2"]


def test_other_uris_are_another_listing() -> None:
    store = Store()
    (one,) = run(store, NAMES)
    (other,) = freeze(["s3://b/", "s3://c"], store, {}, inventory=inventory_of(NAMES))
    (same,) = freeze(["s3://b/"], store, {}, inventory=inventory_of(NAMES))
    assert one.source_id == same.source_id != other.source_id
    assert one.source_id.partition("-")[0] == "listing"
    assert other.rows == len(NAMES)


def test_an_unclear_answer_is_settled_by_looking() -> None:
    store = Store()
    store.unclear = lambda _: True
    assert frozen_rows(store, run(store, NAMES)) == [(name, "v1") for name in NAMES]


def test_a_store_that_never_takes_it_is_unavailable() -> None:
    class Deaf(Store):
        def create(self, path: str, data: bytes) -> str:
            return "unclear"

    with pytest.raises(StoreUnavailableError, match=r"listing\.json"):
        run(Deaf(), NAMES)


def test_two_that_freeze_at_once_agree() -> None:
    for step in range(5):
        store = Store()
        others: list[tuple[Frozen, ...]] = []

        def interrupt(path: str, store: Store = store, step: int = step, others: list[Any] = others) -> None:
            if not others and len(store.files) == step:
                others.append(())
                others[0] = run(store, [*NAMES, "s3://b/zz"], 2)

        store.before = interrupt
        mine = run(store, NAMES)
        assert mine == others[0]
        found = frozen_rows(store, mine)
        assert len(found) == len(set(found))
        assert {(name, "v1") for name in NAMES} <= set(found)


def test_an_empty_inventory_is_no_listing() -> None:
    store = Store()
    assert run(store, []) == ()
    assert store.files == {}


def folder(path: Path) -> Path:
    for name in ("b/2.jpg", "a.txt", "b/1.jpg", "c d/ü.png", ".hidden"):
        file = path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(name.encode())
    return path


def test_a_folder_is_listed_with_versions_that_a_fetch_finds_too(tmp_path: Path) -> None:
    found = {row.message["uri"]: row for row in list_rows([str(folder(tmp_path))], {})}
    names = ("a.txt", "b/1.jpg", "b/2.jpg", "c d/ü.png")
    assert set(found) == {(tmp_path / name).as_uri() for name in names}
    for name in names:
        row = found[(tmp_path / name).as_uri()]
        assert row.message["version"] == row.stamp == file_version((tmp_path / name).stat())
        assert row.message["size_bytes"] == len(name.encode())


def test_globs_and_single_files_are_listed(tmp_path: Path) -> None:
    folder(tmp_path)
    uris = [str(tmp_path / "**" / "*.jpg"), (tmp_path / "c d" / "ü.png").as_uri()]
    assert sorted(Path(row.message["uri"]).name for row in list_rows(uris, {})) == ["%C3%BC.png", "1.jpg", "2.jpg"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].jpg").write_bytes(b"x")
    (row,) = list_rows([str(tmp_path / "a[1].jpg")], {})
    assert row.message["uri"] == (tmp_path / "a[1].jpg").as_uri()


def test_any_filesystem_of_fsspec_can_be_listed() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/listing-test/1.jpg": b"1", "/listing-test/sub/2.jpg": b"22"})
    found = list(list_rows(["memory://listing-test"], {}))
    assert sorted(row.message["uri"] for row in found) == [
        "memory:///listing-test/1.jpg",
        "memory:///listing-test/sub/2.jpg",
    ]
    assert all(row.stamp for row in found)
    memory.rm("/listing-test", recursive=True)


def test_objects_on_s3_are_listed_with_their_etags(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        s3.create_bucket(Bucket="listed-media")
        keys = ["in/a b.jpg", "in/sub/ü%20.jpg", "other/x.jpg", "in/folder/"]
        etags = {
            key: s3.put_object(Bucket="listed-media", Key=key, Body=key.encode())["ETag"].strip('"') for key in keys
        }
        storage = {"s3": {"endpoint_url": endpoint, "client_kwargs": {"region_name": "us-east-1"}}}
        found = {row.message["uri"]: row for row in list_rows(["s3://listed-media/in/"], storage)}
        assert {uri: row.message["version"] for uri, row in found.items()} == {
            f"s3://listed-media/{key}": etags[key] for key in keys[:2]
        }
        assert len(list(list_rows(["s3://listed-media/**/*.jpg"], storage))) == 3
        with pytest.raises(ConfigError):
            list(list_rows(["s3://no-such-bucket/x"], storage))
    finally:
        server.stop()


def test_an_http_address_is_itself_unless_it_is_a_manifest(tmp_path: Path) -> None:
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    (tmp_path / "list.jsonl").write_text('{"uri": "1.jpg"}\n')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        at = f"http://127.0.0.1:{server.server_port}"
        found = [row.message["uri"] for row in list_rows([f"{at}/list.jsonl", f"{at}/any.jpg"], {})]
        assert found == [f"{at}/1.jpg", f"{at}/any.jpg"]
        with pytest.raises(ConfigError, match="there is nothing"):
            list(list_rows([f"{at}/none.csv"], {}))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("uri", ["/no/such/folder", "file:///no/such.csv", "/no/*.jpg", "nosuchscheme://x/y"])
def test_what_is_not_there_is_said_so(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"there is nothing|can't be listed"):
        list(list_rows([uri], {}))


def test_a_uri_has_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert canonical("s3://b/p/") == "s3://b/p"
    assert canonical("x y") == canonical(str(tmp_path / "x y")) == (tmp_path / "x y").as_uri()
    assert canonical("*.jpg") == f"file://{tmp_path}/*.jpg"


def test_frozen_messages_are_references(tmp_path: Path) -> None:
    from pipeline.records import Message
    from pipeline.refs.parse import parse

    store = Store()
    (listing,) = freeze([str(folder(tmp_path))], store, {})
    for offset, row in enumerate(read_part(store, listing.source_id, 0)):
        message = Message(Origin(listing.source_id, 0, offset, 0), listing.source_id, None, row.value)
        (item,) = parse(message).items
        assert isinstance(item, MediaReference)
        assert item.uri == row.message["uri"]
