"""Everything that can be wrong with a message or what it points to, in one run: each becomes what it must become."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from operators.records import EmptyReason, VoidReason
from pipeline.lake.outcomes import read_outcomes
from pipeline.runtime.coordinator import EndReason
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.pretend import KILLER, RAISER
from tests.pipeline.runtime.running import Ended, Sent, lanes, run, send

pytestmark = pytest.mark.ray

VOIDS = {str(reason) for reason in VoidReason}
KEY, HEADERS = b"key", (("trace", b"\x00\xff"), ("trace", b"2"))


@dataclass(frozen=True)
class Case:
    """A message, and what it must become.

    Attributes:
        becomes: "rows", an `EmptyReason`, a `VoidReason`, or a letter's code.
        says: stands in the letter's message.
        size: of the original, upright, where it has rows.
    """

    name: str
    value: bytes | None
    becomes: str
    says: str = ""
    size: tuple[int, int] | None = None
    topic: str = "image"


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 20), **save: Any) -> bytes:
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **save})
    return buffer.getvalue()


def plain(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(format="JPEG", exif=exif)


def deep() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 40), 40_000, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def animated() -> bytes:
    frames = [Image.new("RGB", (40, 20), (shade, 0, 0)) for shade in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def huge_png() -> bytes:
    """Claims 50,000 × 50,000 pixels; holds a hundred zero bytes of them."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def record(event: str, key: str = "a.png") -> bytes:
    s3 = {"bucket": {"name": "forbidden"}, "object": {"key": key, "size": 3, "eTag": "e"}}
    return json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": event, "s3": s3}]}).encode()


def cases(folder: Path) -> Iterator[Case]:
    def file(name: str, content: bytes, **fields: Any) -> bytes:
        (folder / name).write_bytes(content)
        return json.dumps({"uri": (folder / name).as_uri(), **fields}).encode()

    def uri(text: str) -> bytes:
        return json.dumps({"uri": text}).encode()

    photo = picture(size=(200, 100), format="JPEG", quality=90)
    yield Case("good before", file("good1.png", picture()), "rows", size=(40, 20))
    yield Case("not JSON", b'{"uri": ', "reference.malformed")
    yield Case("no uri", b'{"modality": "image"}', "reference.malformed", "uri")
    yield Case("wrong type", b'{"uri": "a", "size_bytes": "many"}', "reference.malformed", "size_bytes")
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}
    yield Case("test event", json.dumps(test_event).encode(), VoidReason.TEST_EVENT)
    yield Case("removal", record("ObjectRemoved:Delete"), VoidReason.REMOVAL)
    yield Case("tombstone", None, VoidReason.TOMBSTONE)
    yield Case("missing", uri((folder / "none.png").as_uri()), "fetch.not_found", "none.png")
    yield Case("outside the roots", uri("file:///etc/hostname"), "reference.refused", "/etc/hostname")
    yield Case("refused scheme", uri("ftp://example.com/a.png"), "reference.refused", "ftp")
    yield Case("refused bucket", record("ObjectCreated:Put"), "reference.refused", "s3://forbidden")
    yield Case("loopback", uri("http://127.0.0.1:9/a.png"), "reference.refused", "127.0.0.1")
    yield Case("link-local", uri("http://169.254.169.254/latest/meta-data"), "reference.refused", "169.254.169.254")
    yield Case("zero bytes", file("zero.png", b""), "decode.empty")
    yield Case("text named .jpg", file("text.jpg", b"This is no photograph."), "decode.not_an_image")
    yield Case("cut in half", file("half.jpg", photo[: len(photo) // 2]), "decode.truncated")
    yield Case("50,000 x 50,000", file("huge.png", huge_png()), "decode.limit", "50000")
    with (folder / "large.png").open("wb") as large:
        large.truncate(1 << 30)
    yield Case("1 GB", uri((folder / "large.png").as_uri()), "fetch.too_large", "large.png")
    yield Case("EXIF-rotated", file("exif.jpg", rotated()), "rows", size=(20, 40))
    yield Case("CMYK", file("cmyk.jpg", picture("CMYK", format="JPEG")), "rows", size=(40, 20))
    yield Case("16 bits", file("deep.png", deep()), "rows", size=(40, 20))
    yield Case("palette", file("palette.png", picture("P")), "rows", size=(40, 20))
    yield Case("alpha", file("alpha.png", picture("RGBA")), "rows", size=(40, 20))
    yield Case("grey", file("grey.png", picture("L")), "rows", size=(40, 20))
    yield Case("animated", file("moving.gif", animated()), "rows", size=(40, 20))
    yield Case("1 x 1", file("dot.png", picture(size=(1, 1))), "rows", size=(1, 1))
    yield Case("overwritten", file("new.png", picture(), version="1-2"), "fetch.superseded", "1-2")
    yield Case("kills its worker", file("killer.png", plain(KILLER)), "worker.killed")
    yield Case("neighbour of the killer", file("good2.png", picture()), "rows", size=(40, 20))
    yield Case("another killer", file("killer2.png", plain(KILLER)), "worker.killed")
    yield Case("operator raises", file("raiser.png", plain(RAISER)), "tokenize.failed", "can't be divided")
    yield Case("good after", file("good3.png", picture()), "rows", size=(40, 20))
    yield Case("a text on the images' topic", b'{"uri": "a", "text": "Good day"}', "reference.unclaimed")
    yield Case("good text", b'{"uri": "t", "text": "Good day"}', "rows", topic="text")
    yield Case("invalid UTF-8", file("latin.txt", b"caf\xe9 \xff\xfe"), "rows", topic="text")
    yield Case("empty text", b'{"uri": "e", "text": ""}', EmptyReason.NO_TOKENS, topic="text")
    yield Case("empty file", file("empty.txt", b""), EmptyReason.NO_TOKENS, topic="text")
    yield Case("text that kills", json.dumps({"uri": "k", "text": "x"}).encode(), "rows", topic="text")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return list(cases(tmp_path_factory.mktemp("media")))


@pytest.fixture(scope="module")
def ended(table: list[Case], tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Ended:
    media = next(tmp_path_factory.getbasetemp().glob("media*"))
    with EmbeddedBroker() as broker:
        broker.create(["image", "text"])
        send(broker, [Sent(case.topic, case.value, KEY, HEADERS) for case in table])
        return run(
            tmp_path_factory.mktemp("run"),
            broker,
            lanes(
                image={"workers": {"max": 2, "cpus": 0.5}, "limits": {"prepare_batch": 16}},
                text={"workers": {"max": 1, "cpus": 0.5}},
            ),
            fetch={"roots": [str(media)], "places": ["s3://allowed/*", "http://*", "https://*"], "retry_s": 0.0},
        )


def offsets(table: list[Case]) -> Iterator[tuple[Case, int]]:
    counts = {"image": 0, "text": 0}
    for case in table:
        yield case, counts[case.topic]
        counts[case.topic] += 1


def product_of(case: Case) -> str:
    return {"image": "mean", "text": "letters"}[case.topic]


def test_the_run_goes_on_to_its_end(ended: Ended) -> None:
    assert ended.reason is EndReason.IDLE
    assert not ended.built.coordinator.errors()


def test_each_has_exactly_the_outcome_of_the_table(ended: Ended, table: list[Case]) -> None:
    wanted, found = {}, {}
    rows = {product: set(ended.rows(product)["offset"].to_pylist()) for product in ("mean", "letters")}
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
