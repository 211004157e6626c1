from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from PIL import Image

from operators.decode import ImageLimits, OnDamage
from operators.errors import ConfigError, Disposition
from operators.records import EmptyReason, Failure, MediaReference, Modality, Origin, VoidReason
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy
from pipeline.records import Message
from pipeline.refs import Unrecognised, parse
from pipeline.runtime.contents import InMemory
from pipeline.runtime.prepare import Cut, DecodeSettings, Failed, ItemReport, NotMine, Preparer

PHOTOS = Path(skimage.__file__).parent / "data"


@dataclass(frozen=True)
class Lease:
    reference: MediaReference
    cursor: Any = None
    facts: Any = None


class Shelf:
    """A folder and a web server on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        shelf = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shelf.asked.append(self.path)
                status, headers, body = shelf.pages[self.path]
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def put(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def page(
        self, path: str, status: int = 200, body: bytes = b"", host: str = "public.example", **headers: str
    ) -> str:
        self.pages[path] = (status, headers, body)
        return f"http://{host}:{self.server.server_address[1]}{path}"


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path)
    thread = threading.Thread(target=shelf.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield shelf
    shelf.server.shutdown()
    shelf.server.server_close()


class Public(FetchPolicy):
    """Takes the test's own web server for a public one, and nothing else."""

    def check_address(self, address: str, uri: str) -> None:
        if address != "127.0.0.1":
            FetchPolicy().check_address(address, uri)


def resolver(host: str, port: int) -> list[str]:
    return {"public.example": ["127.0.0.1"], "inner.example": ["10.0.0.1"], "metadata.example": ["169.254.169.254"]}[
        host
    ]


def fetcher(shelf: Shelf) -> Fetcher:
    limits = FetchLimits(max_object_bytes=4_000_000, retry_budget_s=0, connect_timeout_s=2)
    return Fetcher(limits, Public(roots=(str(shelf.folder), str(PHOTOS))), resolver=resolver)


def images(
    shelf: Shelf, views: tuple[str, ...] = ("rgb8:32x48:cover",), concurrency: int | None = None, **settings: Any
) -> Preparer:
    return Preparer(InMemory(fetcher(shelf), concurrency), Modality.IMAGE, views, DecodeSettings(**settings))


def texts(shelf: Shelf, views: tuple[str, ...] = ("utf8:8",)) -> Preparer:
    return Preparer(InMemory(fetcher(shelf)), Modality.TEXT, views)


def lease(uri: str, item: int = 0, **fields: Any) -> Lease:
    return Lease(MediaReference(uri, Origin("t", 0, 0, item), **fields))


def png(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_photographs_become_rows_of_a_batch_a_view() -> None:
    views = ("rgb8:32x32:cover", "rgb8:64x96:stretch")
    names = ["astronaut.png", "rocket.jpg", "coffee.png"]
    contents = InMemory(Fetcher(policy=FetchPolicy(roots=(str(PHOTOS),))))
    preparer = Preparer(contents, Modality.IMAGE, views)
    reports, batches = preparer.prepare([lease(str(PHOTOS / name)) for name in names])
    assert [report.ended for report in reports] == [None, None, None]
    assert set(batches) == set(views)
    assert batches[views[0]].data.shape == (3, 32, 32, 3)
    assert batches[views[1]].data.shape == (3, 64, 96, 3)
    assert [report.cuts[views[0]].row for report in reports] == [0, 1, 2]
    [meta] = reports[1].cuts[views[1]].windows
    assert (meta.start, meta.end, meta.width, meta.height, meta.partial) == (0, 1, 640, 427, False)
    assert reports[1].facts is not None
    assert reports[1].facts.size_bytes == (PHOTOS / "rocket.jpg").stat().st_size
    assert reports[1].cursor is None


def test_a_views_windows_do_not_depend_on_the_views_beside_it() -> None:
    key = "rgb8:100x100:cover"
    made = Fetcher(policy=FetchPolicy(roots=(str(PHOTOS),)))
    leases = [lease(str(PHOTOS / name)) for name in ("retina.jpg", "rocket.jpg", "coffee.png")]
    alone = Preparer(InMemory(made), Modality.IMAGE, [key]).prepare(leases)[1][key]
    beside = Preparer(InMemory(made), Modality.IMAGE, ["rgb8:900x900:cover", key, "rgb8:16x16:cover"]).prepare(leases)[
        1
    ][key]
    assert np.array_equal(alone.data, beside.data)


def test_threads_change_nothing(shelf: Shelf) -> None:
    leases = [lease(shelf.put(f"{n}.png", png(Image.new("RGB", (9, 9), (n, n, n))))) for n in range(20)]
    one = images(shelf, concurrency=1).prepare(leases)
    many = images(shelf, concurrency=8).prepare(leases)
    assert one[0] == many[0]
    assert np.array_equal(one[1]["rgb8:32x48:cover"].data, many[1]["rgb8:32x48:cover"].data)
    assert many[1]["rgb8:32x48:cover"].data[:, 0, 0, 0].tolist() == list(range(20))


def test_texts_become_chunks(shelf: Shelf) -> None:
    reports, batches = texts(shelf).prepare([lease("c:1", inline=b"0123456789"), lease("c:2", inline=b"ab")])
    assert [cut.row for report in reports for cut in report.cuts.values()] == [0, 2]
    assert [(meta.start, meta.end) for meta in reports[0].cuts["utf8:8"].windows] == [(0, 8), (8, 10)]
    assert batches["utf8:8"].data.tobytes() == b"0123456789ab"
    assert batches["utf8:8"].lengths.tolist() == [8, 2, 2]


def test_what_is_another_lanes_is_said_so(shelf: Shelf) -> None:
    picture, text = png(Image.new("RGB", (4, 4))), b"plain text"
    leases = [lease(shelf.put("a", picture)), lease(shelf.put("b", text)), lease(shelf.put("c", b"\x00\x01\x02"))]
    first, second, third = images(shelf).prepare(leases)[0]
    assert first.ended is None
    assert second.ended == NotMine(Modality.TEXT)
    assert second.facts is not None
    assert third.ended == NotMine(Unrecognised.BINARY)
    assert texts(shelf).prepare(leases)[0][0].ended == NotMine(Modality.IMAGE)


def test_trouble_of_a_store_is_transient(shelf: Shelf) -> None:
    [report], batches = images(shelf).prepare([lease(shelf.page("/a", 503))])
    assert isinstance(report.ended, Failed)
    assert report.ended.disposition is Disposition.RETRY
    assert report.ended.failure.code == "store.unavailable"
    assert len(batches["rgb8:32x48:cover"]) == 0


@pytest.mark.parametrize(
    ("modality", "views"),
    [
        (Modality.IMAGE, []),
        (Modality.IMAGE, ["utf8:100"]),
        (Modality.TEXT, ["rgb8:8x8:cover"]),
        (Modality.IMAGE, ["rgb8"]),
    ],
)
def test_views_must_fit_the_lane(modality: Modality, views: list[str]) -> None:
    with pytest.raises(ConfigError):
        Preparer(InMemory(Fetcher()), modality, views)


def bomb() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def overwritten(shelf: Shelf) -> Lease:
    uri = shelf.put("overwritten.png", png(Image.new("RGB", (4, 4))))
    [before], _ = images(shelf).prepare([lease(uri)])
    assert before.facts is not None
    shelf.put("overwritten.png", png(Image.new("RGB", (5, 5))))
    return lease(uri, version=before.facts.version)


LETTERS: dict[str, tuple[str, Callable[[Shelf], Lease]]] = {
    "object missing": ("fetch.not_found", lambda shelf: lease(str(shelf.folder / "missing.jpg"))),
    "page missing": ("fetch.not_found", lambda shelf: lease(shelf.page("/missing", 404))),
    "access denied": ("fetch.denied", lambda shelf: lease(shelf.page("/denied", 403))),
    "scheme not allowed": ("reference.refused", lambda shelf: lease("ftp://public.example/a.jpg")),
    "folder not allowed": ("reference.refused", lambda shelf: lease("/etc/hostname")),
    "private address": ("reference.refused", lambda shelf: lease("http://192.168.0.1/a.jpg")),
    "private name": ("reference.refused", lambda shelf: lease("http://inner.example/a.jpg")),
    "link-local name": ("reference.refused", lambda shelf: lease("http://metadata.example/latest/meta-data")),
    "redirect to a private address": (
        "reference.refused",
        lambda shelf: lease(shelf.page("/moved", 302, Location="http://inner.example/a.jpg")),
    ),
    "redirect to a link-local address": (
        "reference.refused",
        lambda shelf: lease(shelf.page("/metadata", 302, Location="http://169.254.169.254/latest")),
    ),
    "zero bytes": ("decode.empty", lambda shelf: lease(shelf.put("empty.jpg", b""), modality=Modality.IMAGE)),
    "zero bytes of no known kind": ("decode.empty", lambda shelf: lease(shelf.put("empty", b""))),
    "text named .jpg": (
        "decode.not_an_image",
        lambda shelf: lease(shelf.put("text.jpg", b"This is a text."), modality=Modality.IMAGE),
    ),
    "JPEG cut in half": (
        "decode.truncated",
        lambda shelf: lease(shelf.put("half.jpg", (PHOTOS / "rocket.jpg").read_bytes()[:56_000])),
    ),
    "header claims 50,000 x 50,000": ("decode.limit", lambda shelf: lease(shelf.put("bomb.png", bomb()))),
    "object of 1 GB": (
        "fetch.too_large",
        lambda shelf: lease(shelf.page("/huge", body=b"x", **{"Content-Length": str(1 << 30)})),
    ),
    "overwritten since the message": ("fetch.superseded", overwritten),
    "range beyond the object": (
        "reference.malformed",
        lambda shelf: lease(shelf.put("short.png", b"12"), byte_range=(0, 9)),
    ),
}


@pytest.mark.parametrize("name", LETTERS)
def test_bad_input_becomes_a_letter_and_its_neighbours_rows(shelf: Shelf, name: str) -> None:
    code, make = LETTERS[name]
    good = lease(shelf.put("good.png", png(Image.new("RGB", (8, 8), (1, 2, 3)))))
    before, bad, after = images(shelf).prepare([good, make(shelf), good])[0]
    assert isinstance(bad.ended, Failed)
    assert (bad.ended.failure.code, bad.ended.disposition) == (code, Disposition.LETTER)
    assert bad.ended.failure.stage == code.partition(".")[0]
    assert "Error" in bad.ended.failure.stack
    assert bad.cuts == {}
    assert [before.cuts["rgb8:32x48:cover"].row, after.cuts["rgb8:32x48:cover"].row] == [0, 1]


def half_a_jpeg() -> bytes:
    return (PHOTOS / "rocket.jpg").read_bytes()[:56_000]


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(Image.new("RGB", (30, 20)), "JPEG", exif=exif)


def animated() -> bytes:
    frames = [Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))]
    return png(frames[0], "GIF", save_all=True, append_images=frames[1:])


ROWS: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "EXIF-rotated": (turned, (20, 30)),
    "CMYK": (lambda: png(Image.new("CMYK", (8, 9)), "JPEG"), (8, 9)),
    "16-bit": (lambda: png(Image.fromarray(np.full((9, 8), 40_000, np.uint16))), (8, 9)),
    "palette": (lambda: png(Image.new("P", (8, 9))), (8, 9)),
    "alpha": (lambda: png(Image.new("RGBA", (8, 9))), (8, 9)),
    "grey": (lambda: png(Image.new("L", (8, 9))), (8, 9)),
    "animated GIF": (animated, (8, 8)),
    "1x1": (lambda: png(Image.new("RGB", (1, 1))), (1, 1)),
}


@pytest.mark.parametrize("name", ROWS)
def test_odd_images_become_rows(shelf: Shelf, name: str) -> None:
    make, size = ROWS[name]
    [report], batches = images(shelf).prepare([lease(shelf.put("odd", make()))])
    assert report.ended is None
    [meta] = report.cuts["rgb8:32x48:cover"].windows
    assert (meta.width, meta.height) == size
    assert batches["rgb8:32x48:cover"].data.shape == (1, 32, 48, 3)


def test_damage_is_kept_on_demand_and_marked(shelf: Shelf) -> None:
    [report], _ = images(shelf, on_damage=OnDamage.KEEP).prepare([lease(shelf.put("half.jpg", half_a_jpeg()))])
    [meta] = report.cuts["rgb8:32x48:cover"].windows
    assert meta.partial


def test_the_lanes_limit_on_pixels_holds(shelf: Shelf) -> None:
    small = images(shelf, image=ImageLimits(max_pixels=63))
    [report], _ = small.prepare([lease(shelf.put("a.png", png(Image.new("RGB", (8, 8)))))])
    assert isinstance(report.ended, Failed)
    assert report.ended.failure.code == "decode.limit"


def test_text_that_is_not_valid_utf8_is_kept(shelf: Shelf) -> None:
    latin = "Grüße".encode("latin-1")
    _, batches = texts(shelf).prepare([lease(shelf.put("latin.txt", latin), modality=Modality.TEXT)])
    assert batches["utf8:8"].data.tobytes() == latin


def test_an_empty_text_has_no_tokens(shelf: Shelf) -> None:
    [report], _ = texts(shelf).prepare([lease("caption:1", inline=b"", modality=Modality.TEXT)])
    assert report.ended is EmptyReason.NO_TOKENS
    assert report.facts is not None
    assert report.facts.size_bytes == 0


def test_binary_in_the_text_lane_is_a_letter(shelf: Shelf) -> None:
    [report], _ = texts(shelf).prepare([lease(shelf.put("a.txt", b"\0\1\2\3" * 9), modality=Modality.TEXT)])
    assert isinstance(report.ended, Failed)
    assert report.ended.failure.code == "decode.not_text"


MESSAGES: dict[str, tuple[bytes | None, str | VoidReason]] = {
    "not JSON": (b"\x89PNG", "message"),
    "required field missing": (b'{"modality": "image"}', "uri"),
    "wrong type": (b'{"uri": "/a.jpg", "size_bytes": "big"}', "size_bytes"),
    "S3 test event": (b'{"Service": "Amazon S3", "Event": "s3:TestEvent"}', VoidReason.TEST_EVENT),
    "S3 removal": (
        b'{"Records": [{"eventName": "s3:ObjectRemoved:Delete", "s3": {}}]}',
        VoidReason.REMOVAL,
    ),
    "tombstone": (None, VoidReason.TOMBSTONE),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_bad_messages_never_reach_a_lane(name: str) -> None:
    value, expected = MESSAGES[name]
    [item] = parse(Message(Origin("t", 0, 0, 0), "media", None, value)).items
    if isinstance(expected, VoidReason):
        assert item is expected
    else:
        assert isinstance(item, Failure)
        assert item.code == "reference.malformed"
        assert item.message.startswith(f"{expected}:")


def test_reports_compare_by_value() -> None:
    assert ItemReport(cuts={"v": Cut(0, ())}) == ItemReport(cuts={"v": Cut(0, ())})
