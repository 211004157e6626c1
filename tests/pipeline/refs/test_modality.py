from __future__ import annotations

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from operators.records import MediaReference, Modality, Origin
from pipeline.refs import Unrecognised, probe, resolve

ORIGIN = Origin("t", 0, 0, 0)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (MediaReference("/a.txt", ORIGIN, modality=Modality.VIDEO, content_type="image/png"), Modality.VIDEO),
        (MediaReference("/a.txt", ORIGIN, content_type="image/png"), Modality.IMAGE),
        (MediaReference("/a.bin", ORIGIN, content_type="Text/HTML; charset=utf-8"), Modality.TEXT),
        (MediaReference("/a.flac", ORIGIN, content_type="application/octet-stream"), Modality.AUDIO),
        (MediaReference("https://x/a.JPG?size=5.txt", ORIGIN), Modality.IMAGE),
        (MediaReference("s3://b/a?.mp4", ORIGIN), Modality.VIDEO),
        (MediaReference("s3://b.jpg/a", ORIGIN), None),
        (MediaReference("/a", ORIGIN), None),
    ],
)
def test_what_says_it_first_counts(reference: MediaReference, expected: Modality | None) -> None:
    assert resolve(reference, "media", {}).modality is expected


def test_the_topic_counts_before_the_content_type_and_after_the_message() -> None:
    topics = {"media.audio": Modality.AUDIO}
    typed = MediaReference("/a.jpg", ORIGIN, content_type="image/jpeg")
    assert resolve(typed, "media.audio", topics).modality is Modality.AUDIO
    assert resolve(typed, "media.other", topics).modality is Modality.IMAGE
    said = MediaReference("/a.jpg", ORIGIN, modality=Modality.TEXT)
    assert resolve(said, "media.audio", topics).modality is Modality.TEXT


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_images_are_known_by_their_first_bytes(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, kind)
    assert probe(out.getvalue()) is Modality.IMAGE


def test_waves_are_known_by_their_first_bytes() -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0" * 100)
    assert probe(out.getvalue()) is Modality.AUDIO


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"fLaC\0\0\0\x22", Modality.AUDIO),
        (b"ID3\x04\0\0\0\0\0\0", Modality.AUDIO),
        (b"\xff\xfb\x90\x64\0\0\0\0", Modality.AUDIO),
        (b"OggS\0\x02" + b"\0" * 22 + b"\x01\x13OpusHead", Modality.AUDIO),
        (b"OggS\0\x02" + b"\0" * 22 + b"\x01\x2a\x80theora", Modality.VIDEO),
        (b"\0\0\0\x20ftypM4A \0\0\0\0", Modality.AUDIO),
        (b"\0\0\0\x20ftypisom\0\0\x02\0", Modality.VIDEO),
        (b"\0\0\0\x20ftypheic\0\0\0\0", Modality.IMAGE),
        (b"\x1aE\xdf\xa3\x01\0\0\0", Modality.VIDEO),
        (b"RIFF\0\0\0\0AVI LIST", Modality.VIDEO),
        ((b"\x47" + b"\0" * 187) * 3, Modality.VIDEO),
        (b"", Unrecognised.NO_CONTENT),
        (b"\x7fELF\x02\x01\x01\0", Unrecognised.BINARY),
        (bytes(range(128, 256)) * 4, Unrecognised.BINARY),
        ("Grüße an Bärbel".encode("latin-1"), Modality.TEXT),
        ("Grüße".encode("utf-16"), Modality.TEXT),
        (b"BMW builds cars, and this is a text about them.", Modality.TEXT),
        (b"GGGG" * 500, Modality.TEXT),
    ],
)
def test_first_bytes(first: bytes, expected: Modality | Unrecognised) -> None:
    assert probe(first) is expected


@given(st.text(st.characters(blacklist_categories=["C"]), min_size=1).filter(lambda text: not text.startswith("BM")))
def test_every_text_is_a_text(text: str) -> None:
    if not text.startswith(("ID3", "GIF8", "fLaC", "OggS", "RIFF", "II*")):
        assert probe(text.encode()) is Modality.TEXT


@given(st.binary(max_size=300))
def test_probing_raises_for_no_bytes(first: bytes) -> None:
    assert isinstance(probe(first), Modality | Unrecognised)
