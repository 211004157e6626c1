"""Messages and what they point to, right and wrong, and what each must become: images and texts."""

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
from PIL import Image

from operators.records import EmptyReason, VoidReason
from tests.pipeline.runtime.pretend import KILLER, RAISER


@dataclass(frozen=True)
class Case:
    """A message, and what it must become.

    Attributes:
        becomes: "rows", an `EmptyReason`, a `VoidReason`, or a letter's code.
        says: stands in the letter's message.
        size: of the original, upright, where it is an image with rows.
        windows: how many rows a sound or film has.
    """

    name: str
    value: bytes | None
    becomes: str
    says: str = ""
    size: tuple[int, int] | None = None
    topic: str = "image"
    windows: int = 1


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


def image_and_text_cases(folder: Path) -> Iterator[Case]:
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
        large.truncate(65 << 20)
    yield Case("too large", uri((folder / "large.png").as_uri()), "fetch.too_large", "large.png")
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
