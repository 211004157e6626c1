"""Everything that can be wrong with a message or what it points to, in one run: each becomes what it must become."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from operators.records import VoidReason
from pipeline.lake.outcomes import read_outcomes
from pipeline.runtime.coordinator import EndReason
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.bad_images import Case, image_and_text_cases
from tests.pipeline.runtime.bad_media import sound_and_film_cases
from tests.pipeline.runtime.running import HERE, Ended, Sent, lanes, run, send

# Two minutes of dying workers. Each kind of damage has its own test beside its decoder or policy, deaths in
# test_run_deaths.py; this is all of them in one run.
pytestmark = [pytest.mark.ray, pytest.mark.soak]

VOIDS = {str(reason) for reason in VoidReason}
KEY, HEADERS = b"key", (("trace", b"\x00\xff"), ("trace", b"2"))
PRODUCTS = {
    "image": "mean",
    "text": "letters",
    "audio": "loudness",
    "audio-kept": "loudness-kept",
    "video": "scenes",
    "video-kept": "scenes-kept",
}
"""By topic."""
LIMITS = {"max_object_bytes": 64 << 20, "max_file_bytes": 2 << 30}


class Trap:
    """An address that nobody must connect to, and a file that nobody must read."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/segment.ts"

    def sprung(self) -> bool:
        try:
            self._listener.accept()
        except BlockingIOError:
            return False
        return True

    @staticmethod
    def watch(file: Path) -> None:
        """Set its time of access so far back that any read shows, whatever the file system's habits."""
        os.utime(file, ns=(0, file.stat().st_mtime_ns))


@dataclass
class Table:
    cases: list[Case]
    trap: Trap
    target: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder, trap = tmp_path_factory.mktemp("media"), Trap()
    cases = [*image_and_text_cases(folder), *sound_and_film_cases(folder, trap.url)]
    # What the lures point at is named by a case of its own, which may read it: they get another file of that content.
    target = folder / "good.mp4"
    bait = folder / "bait.mp4"
    bait.write_bytes(target.read_bytes())
    for lure in folder.glob("file-*"):
        lure.write_text(lure.read_text().replace(str(target), str(bait)))
    trap.watch(bait)
    return Table(cases, trap, bait)


@pytest.fixture(scope="module")
def table(made: Table) -> list[Case]:
    return made.cases


@pytest.fixture(scope="module")
def ended(table: list[Case], tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Ended:
    media = next(tmp_path_factory.getbasetemp().glob("media*"))
    small = {"max": 1, "cpus": 0.25}
    av = {
        topic: {
            "modality": topic.partition("-")[0],
            "topics": [topic],
            "products": {PRODUCTS[topic]: {"tokenizer": f"{HERE}:{kind}"}},
            "workers": small,
            "on_damage": "keep" if topic.endswith("kept") else "refuse",
        }
        for topic, kind in {
            "audio": "Loudness",
            "audio-kept": "Loudness",
            "video": "Scenes",
            "video-kept": "Scenes",
        }.items()
    }
    with EmbeddedBroker() as broker:
        broker.create(list(PRODUCTS))
        send(broker, [Sent(case.topic, case.value, KEY, HEADERS) for case in table])
        return run(
            tmp_path_factory.mktemp("run"),
            broker,
            lanes(
                image={"workers": {"max": 2, "cpus": 0.25}, "limits": {"prepare_batch": 16}},
                text={"workers": small},
                **av,
            ),
            fetch={
                "roots": [str(media)],
                "places": ["s3://allowed/*", "http://*", "https://*"],
                "retry_s": 0.0,
                **LIMITS,
            },
        )


def offsets(table: list[Case]) -> Iterator[tuple[Case, int]]:
    counts = Counter[str]()
    for case in table:
        yield case, counts[case.topic]
        counts[case.topic] += 1


def product_of(case: Case) -> str:
    return PRODUCTS[case.topic]


def test_the_run_goes_on_to_its_end(ended: Ended) -> None:
    assert ended.reason is EndReason.IDLE
    assert not ended.built.coordinator.errors()


def test_each_has_exactly_the_outcome_of_the_table(ended: Ended, table: list[Case]) -> None:
    wanted, found = {}, {}
    rows = {product: set(ended.rows(product)["offset"].to_pylist()) for product in PRODUCTS.values()}
    letters = {product: ended.letters(product) for product in rows}
    empties = _empties(ended)
    for case, offset in offsets(table):
        product = product_of(case)
        wanted[case.name] = case.becomes if case.becomes not in VOIDS else "neither"
        outcomes = ["rows"] * (offset in rows[product])
        outcomes += [letters[product][offset].failure.code] if offset in letters[product] else []
        outcomes += [empties[product, offset]] if (product, offset) in empties else []
        found[case.name] = " and ".join(outcomes) or "neither"
    assert found == wanted


def test_voids_are_counted_by_reason(ended: Ended, table: list[Case]) -> None:
    wanted = {case.becomes: 1 for case in table if case.becomes in VOIDS}
    counted: dict[str, int] = {}
    for delta in ended.built.desk.added:
        for count in delta.voids:
            counted[count.reason] = counted.get(count.reason, 0) + count.items
    assert counted == wanted


def test_letters_hold_all_that_a_person_needs(ended: Ended, table: list[Case]) -> None:
    for case, offset in offsets(table):
        if "." not in case.becomes:
            continue
        letter = ended.letters(product_of(case))[offset]
        assert letter.failure.stage == case.becomes.partition(".")[0], case.name
        assert case.says in letter.failure.message, case.name
        assert (letter.key, letter.value, letter.headers) == (KEY, case.value, HEADERS), case.name
        assert letter.topic == case.topic
        assert letter.attempts >= 1
        if case.becomes not in {"reference.malformed", "reference.unclaimed", "worker.killed"}:
            assert "Traceback" in letter.failure.stack, case.name


def test_a_killer_had_three_tries(ended: Ended, table: list[Case]) -> None:
    for case, offset in offsets(table):
        if case.becomes == "worker.killed":
            assert ended.letters("mean")[offset].attempts == 3


def test_images_lie_upright_in_their_rows(ended: Ended, table: list[Case]) -> None:
    rows = ended.rows("mean").select(["offset", "width", "height"]).to_pylist()
    sizes = {row["offset"]: (row["width"], row["height"]) for row in rows}
    assert sizes == {offset: case.size for case, offset in offsets(table) if case.size is not None}


def test_sound_and_film_have_all_their_windows(ended: Ended, table: list[Case]) -> None:
    wanted, found = {}, {}
    for case, offset in offsets(table):
        if case.becomes == "rows" and case.topic.partition("-")[0] in {"audio", "video"}:
            rows = ended.rows(product_of(case)).select(["offset", "window_index", "window_count"]).to_pylist()
            mine = sorted(row["window_index"] for row in rows if row["offset"] == offset)
            wanted[case.name] = [case.windows, case.windows]
            found[case.name] = [len(mine), next(r["window_count"] for r in rows if r["offset"] == offset)]
            assert mine == list(range(len(mine)))
    assert found == wanted


def test_what_was_kept_of_damaged_files_is_marked_where_it_ends(ended: Ended, table: list[Case]) -> None:
    for case, offset in offsets(table):
        if case.becomes == "rows":
            rows = ended.rows(product_of(case)).select(["offset", "window_index", "partial"]).to_pylist()
            mine = sorted((row["window_index"], row["partial"]) for row in rows if row["offset"] == offset)
            assert mine[-1][1] is ("kept" in case.name), case.name
            assert not any(partial for _, partial in mine[:-1])


def test_nothing_was_read_or_connected_to_by_playlists(ended: Ended, made: Table) -> None:
    assert not made.trap.sprung()
    assert made.target.stat().st_atime_ns == 0
    made.target.read_bytes()
    assert made.target.stat().st_atime_ns > 0  # the check itself: a read does show
    with socket.create_connection(("127.0.0.1", int(made.trap.url.split(":")[2].split("/")[0]))):
        assert made.trap.sprung()


def test_bytes_that_are_no_utf8_are_kept(ended: Ended, table: list[Case]) -> None:
    offset = next(offset for case, offset in offsets(table) if case.name == "invalid UTF-8")
    rows = ended.rows("letters").to_pylist()
    codes = next(row["codes"] for row in rows if row["offset"] == offset)
    assert bytes(codes) == b"caf\xe9 \xff\xfe"


def test_items_are_rows_and_empties_and_letters_and_voids(ended: Ended, table: list[Case]) -> None:
    report = ended.verified()
    for tally in report.products:
        lane = next(lane for lane in ended.built.coordinator.lanes if tally.product in lane.plan.keys)
        sent = sum(case.topic == lane.plan.config.topics[0] for case in table)
        assert lane.items[tally.product] == tally.items == sent
        assert tally.items == tally.items_with_rows + tally.empties + tally.letters + tally.voids


def _empties(ended: Ended) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    for delta in ended.built.desk.added:
        for file in delta.outcomes:
            _, empties = read_outcomes(ended.built.lake.store.read(file.path))
            for empty in empties:
                found[empty.product.rpartition("-")[0], empty.origin.offset] = empty.reason
    return found
