from __future__ import annotations

import io
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from operators.decode import DecodedImage, ImageDecoder, ImageLimits, OnDamage, decode_image
from operators.errors import (
    DecodeFailedError,
    EmptyMediaError,
    InvariantError,
    MediaError,
    MediaLimitError,
    NotAnImageError,
    TruncatedError,
)
from operators.fit.image_rq import psnr_db
from operators.records import ContentFacts
from operators.resizing import Fit, resized
from pipeline.app.demo_media import Photograph, photographs
from tests.making.photograph import jpeg_of

PHOTOS = Path(skimage.__file__).parent / "data"
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def halves(width: int = 64, height: int = 32) -> Image.Image:
    """Its left half is red, its right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def whole(decoded: DecodedImage) -> np.ndarray:
    return decoded.scales[-1]


def near(pixel: np.ndarray, colour: tuple[int, int, int], by: int = 12) -> bool:
    return bool(np.all(np.abs(pixel.astype(int) - colour) <= by))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_every_format_becomes_rgb(kind: str) -> None:
    decoded = decode_image(encoded(halves(), kind))
    pixels = whole(decoded)
    assert (decoded.width, decoded.height, decoded.partial) == (64, 32, False)
    assert pixels.shape == (32, 64, 3)
    assert pixels.dtype == np.uint8
    assert near(pixels[16, 8], RED)
    assert near(pixels[16, 56], BLUE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (64, 32), WHITE)
    upright.paste(RED, (0, 0, 16, 16))  # upper left
    upright.paste(BLUE, (48, 0, 64, 16))  # upper right
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encoded(stored, kind, exif=exif), sizes=[(16, 32)])
    assert (decoded.width, decoded.height) == (64, 32)
    pixels = decoded.pixels(16, 32)
    height, width = pixels.shape[:2]
    assert width == 2 * height
    assert near(pixels[height // 8, width // 16], RED, 40)
    assert near(pixels[height // 8, width - 1 - width // 16], BLUE, 40)
    assert near(pixels[height - 2, width // 2], WHITE, 40)


def test_cmyk_becomes_rgb() -> None:
    assert near(whole(decode_image(encoded(halves().convert("CMYK"), "JPEG", quality=95)))[16, 8], RED, 30)


def test_sixteen_bit_grey_keeps_its_upper_byte() -> None:
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    pixels = whole(decode_image(encoded(Image.fromarray(ramp), "PNG")))
    assert np.array_equal(pixels[:, :, 0].reshape(-1), np.arange(256))
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 2])


def test_palettes_become_colours() -> None:
    pixels = whole(decode_image(encoded(halves().convert("P", palette=Image.Palette.ADAPTIVE), "PNG")))
    assert near(pixels[16, 8], RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (4, 0, 8, 8))
    pixels = whole(decode_image(encoded(image.convert(mode), "PNG")))
    assert near(pixels[4, 1], WHITE)
    assert near(pixels[4, 6], (0, 0, 0))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    pixels = whole(decode_image(encoded(Image.new("L", (9, 9), 77), kind)))
    assert pixels.shape == (9, 9, 3)
    assert near(pixels[4, 4], (77, 77, 77), 2)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert near(whole(decode_image(content))[4, 4], RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_one_pixel_is_an_image(kind: str) -> None:
    decoded = decode_image(encoded(Image.new("RGB", (1, 1), RED), kind), sizes=[(256, 256)])
    assert whole(decoded).shape == (1, 1, 3)


def test_a_floating_point_image_is_refused() -> None:
    with pytest.raises(DecodeFailedError, match="which value is white"):
        decode_image(encoded(Image.new("F", (4, 4), 0.5), "TIFF"))


def test_no_bytes_are_no_image() -> None:
    with pytest.raises(EmptyMediaError):
        decode_image(b"")


@pytest.mark.parametrize("content", [b"This is a text, whatever its name.", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 100])
def test_what_is_no_image_is_not_called_a_broken_one(content: bytes) -> None:
    with pytest.raises(NotAnImageError):
        decode_image(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_half_a_file_is_truncated(kind: str) -> None:
    content = encoded(Image.open(PHOTOS / "coffee.png").convert("RGB"), kind)
    with pytest.raises(TruncatedError):
        decode_image(content[: len(content) // 2])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_half_a_file_can_be_kept_and_is_marked_partial(kind: str) -> None:
    content = encoded(halves(400, 400), kind, **({"quality": 95} if kind == "JPEG" else {}))
    if kind in {"JPEG", "BMP"}:
        noisy = Image.fromarray(np.random.default_rng(1).integers(0, 255, (400, 400, 3), np.uint8))
        content = encoded(noisy, kind)
    decoded = decode_image(content[: len(content) * 2 // 3], on_damage=OnDamage.KEEP)
    assert decoded.partial
    assert whole(decoded).shape == (400, 400, 3)
    assert not decode_image(content, on_damage=OnDamage.KEEP).partial


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_header_without_its_image_is_truncated_or_failed_but_never_no_image(kind: str) -> None:
    with pytest.raises((TruncatedError, DecodeFailedError)):
        decode_image(encoded(halves(), kind)[:24])


def test_stray_bytes_between_markers_harm_nothing() -> None:
    content = (PHOTOS / "rocket.jpg").read_bytes()
    table = content.index(b"\xff\xdb")
    decoded = decode_image(content[:table] + b"\0\0\0" + content[table:])
    assert not decoded.partial


def test_a_header_that_claims_too_much_is_refused_without_memory() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MediaLimitError, match="50000x50000"):
        decode_image(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_the_limit_on_pixels_is_the_callers() -> None:
    content = encoded(halves(64, 32), "PNG")
    assert decode_image(content, limits=ImageLimits(64 * 32)).width == 64
    with pytest.raises(MediaLimitError):
        decode_image(content, limits=ImageLimits(64 * 32 - 1))


def test_a_size_gets_the_same_pixels_whatever_is_asked_for_beside_it() -> None:
    content = (PHOTOS / "retina.jpg").read_bytes()
    alone = decode_image(content, [(128, 128)]).pixels(128, 128)
    beside = decode_image(content, [(300, 300), (128, 128), (710, 20)])
    assert alone.shape == (353, 353, 3)
    assert np.array_equal(alone, beside.pixels(128, 128))
    assert beside.pixels(300, 300).shape == (706, 706, 3)
    assert beside.pixels(710, 20).shape == (1411, 1411, 3)
    assert len(beside.scales) == 3


@pytest.mark.parametrize("photo", photographs(), ids=lambda photo: photo.path.stem)
@pytest.mark.parametrize("side", [192, 193, 384, 385, 768, 769, 772])
def test_a_reduced_scale_shows_what_the_whole_would_have(photo: Photograph, side: int) -> None:
    content = jpeg_of(photo.path, side)
    size = (64, 64)
    decoded = decode_image(content, [size])
    reduced = decoded.pixels(*size)
    assert reduced.shape[0] < 100
    window = resized(reduced, *size, part=decoded.part(reduced))
    assert psnr_db(window, resized(whole(decode_image(content)), *size)) > 36


@pytest.mark.parametrize("orientation", range(1, 9))
def test_however_it_was_turned_a_reduced_scale_lies_where_the_whole_does(orientation: int) -> None:
    photo = Image.open(io.BytesIO(jpeg_of(PHOTOS / "astronaut.png", 801))).crop((0, 0, 801, 769))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo, "JPEG", quality=90, exif=exif)
    decoded = decode_image(content, [(64, 64)])
    reduced = decoded.pixels(64, 64)
    assert min(reduced.shape[:2]) == 97
    window = resized(reduced, 64, 64, Fit.STRETCH, decoded.part(reduced))
    assert psnr_db(window, resized(whole(decode_image(content)), 64, 64, Fit.STRETCH)) > 36


def test_pixels_of_another_size_than_the_header_says_count_as_a_whole() -> None:
    decoded = DecodedImage(100, 80, (np.zeros((30, 50, 3), np.uint8),))
    assert decoded.part(decoded.scales[0]) == (0.0, 0.0, 50.0, 30.0)


def test_without_sizes_a_jpeg_is_decoded_in_full() -> None:
    assert whole(decode_image((PHOTOS / "retina.jpg").read_bytes())).shape == (1411, 1411, 3)


def test_an_unreadable_exif_block_spoils_nothing() -> None:
    content = encoded(halves(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    assert whole(decode_image(content)).shape == (32, 64, 3)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_raise_nothing_but_media_errors(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]))
    content = bytearray(encoded(halves(), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_image(bytes(content), limits=ImageLimits(1_000_000))
    except MediaError:
        return
    assert whole(decoded).shape == (decoded.height, decoded.width, 3)


def test_an_image_is_one_segment() -> None:
    facts = ContentFacts("v", "0" * 64, 1)
    segment = ImageDecoder(((16, 16),)).decode(encoded(halves(), "PNG"), facts, None)
    assert segment.cursor is None
    assert segment.decoded.width == 64
    with pytest.raises(InvariantError):
        ImageDecoder().decode(b"", facts, {"at": 1})
