"""Images: bytes -> upright RGB.

JPEG goes through libjpeg-turbo (simplejpeg), everything else, and JPEG in CMYK, through Pillow. What comes out:

- EXIF orientation is applied, whatever the format;
- transparent pixels lie on white; palettes, grey, CMYK and YCbCr become RGB; 16-bit keeps its upper 8 bits;
- of an animation, the first frame; of a multi-page TIFF, the first page;
- ICC profiles are ignored: values are taken for sRGB, as nearly all are;
- floating-point images are refused (`decode.failed`), for nothing says which value is white.

Limits are checked on the header, before anything is allocated for pixels.
"""

from __future__ import annotations

import io
import math
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFile, UnidentifiedImageError

from operators.decode.base import Cursor, OnDamage, Segment, only_segment
from operators.decode.container import ends_early, is_known_image
from operators.errors import (
    DecodeFailedError,
    EmptyMediaError,
    MediaLimitError,
    MediatokError,
    MemoryPressureError,
    NotAnImageError,
    TruncatedError,
)
from operators.records import ContentFacts
from operators.resizing import Box

Pixels = npt.NDArray[np.uint8]

# Pillow's own limit is fixed at 179 megapixels and global; ours is checked below, before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

# None that runs a program (EPS) or is no picture. Opening a phone's JPEG may turn it into what Pillow calls "MPO".
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
_ORIENTATION = 0x0112
JPEG_HEADROOM = 1.5
"""How many times as large as a window a reduced scale must be, lest its own low-pass shows. Stands in fingerprints."""
_KEEP_DAMAGED = threading.Lock()  # Pillow's switch for it is global


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may claim to be.

    Attributes:
        max_pixels: width x height.
    """

    max_pixels: int = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An upright image.

    Attributes:
        width, height: of the original in pixels, upright.
        scales: `[h, w, 3]` uint8 each, smallest first: the image as it is, or reduced by 2, 4 or 8 where that is
            still at least half as large again as one of the sizes that were asked for.
        partial: the file ended too early; what is missing is grey or black.
        orientation: that was undone, 1 to 8 as in EXIF.
    """

    width: int
    height: int
    scales: tuple[Pixels, ...]
    partial: bool = False
    orientation: int = 1

    def pixels(self, min_height: int, min_width: int) -> Pixels:
        """`[h, w, 3]`: the smallest scale that is at least half as large again, else the largest there is.

        For a size that was asked for this is the same array whatever else was asked for beside it, so that one
        product's pixels don't depend on another's.
        """
        size = (min_height, min_width)
        return next((scale for scale in self.scales if _reaches(scale.shape[0], scale.shape[1], size)), self.scales[-1])

    def part(self, pixels: Pixels) -> Box:
        """What of a scale the image covers: where its sides are no multiple of the reduction, the last row and column
        stand for less than the others, and taking them for whole would move the picture by up to half a pixel.
        """
        height, width = pixels.shape[:2]
        reduced = {m: (math.ceil(self.height * m / 8), math.ceil(self.width * m / 8)) for m in (8, 4, 2, 1)}
        eighths = next((m for m, shape in reduced.items() if shape == (height, width)), None)
        if eighths is None:
            return 0.0, 0.0, float(width), float(height)  # a file whose pixels are not what its header says
        covered_height, covered_width = self.height * eighths / 8, self.width * eighths / 8
        left = width - covered_width if self.orientation in _MIRRORED else 0.0
        top = height - covered_height if self.orientation in _UPSIDE_DOWN else 0.0
        return left, top, left + covered_width, top + covered_height


def decode_image(
    content: bytes,
    sizes: Sequence[tuple[int, int]] = (),
    limits: ImageLimits | None = None,
    on_damage: OnDamage = OnDamage.REFUSE,
) -> DecodedImage:
    """Bytes -> upright RGB.

    Args:
        content: of the file.
        sizes: (height, width) that will be cut out of it. JPEG is then decoded at 1/2, 1/4 or 1/8 where that is at
            least `JPEG_HEADROOM` times as large: the reduced DCT is a good low-pass, and what is resized from it stays
            within 36 dB of what is resized from the whole, and of photographs within 38 (of printed text, at 1.3 times:
            34; at once the size: 32; at twice: 49). Without sizes, and for other formats, in full.
        limits: on what the header claims.
        on_damage: keep what could be read of a file that ends too early, or refuse it.

    Raises:
        EmptyMediaError: no bytes.
        NotAnImageError: no known image format.
        MediaLimitError: too many pixels.
        TruncatedError: ends too early.
        DecodeFailedError: anything else.
        MemoryPressureError: no memory for it now.
    """
    if not content:
        raise EmptyMediaError("0 bytes")
    try:
        return _decoded(content, sizes, (limits or ImageLimits()).max_pixels, on_damage)
    except MediatokError:
        raise
    except MemoryError as error:
        raise MemoryPressureError(f"no memory to decode {len(content)} bytes") from error
    except Exception as error:
        # Decoders raise whatever their format's parser stumbles over: struct.error, SyntaxError, IndexError, ...
        kind = TruncatedError if ends_early(content, unsure="truncated" in str(error)) else DecodeFailedError
        raise kind(f"{type(error).__name__}: {error}") from error


def _decoded(content: bytes, sizes: Sequence[tuple[int, int]], most: int, on_damage: OnDamage) -> DecodedImage:
    with _opened(content) as image:
        width, height = image.size
        if width * height > most:
            raise MediaLimitError(f"{width}x{height} pixels, where {most} are allowed; not decoded")
        turn = _orientation(image)
        turned = turn >= _FIRST_TURNED
        scales: list[Pixels] | None = None
        partial = False
        if image.format in {"JPEG", "MPO"} and image.mode in {"RGB", "L"}:
            lying = [(size[1], size[0]) if turned else size for size in sizes]
            scales, partial = _jpeg(content, height, width, _scales(height, width, lying), on_damage)
        if scales is None:
            whole, partial = _with_pillow(image, content, on_damage)
            scales = [whole]
    upright = (height, width) if turned else (width, height)
    return DecodedImage(*upright, tuple(_turned(scale, turn) for scale in scales), partial, turn)


def _opened(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError as error:
        if not is_known_image(content):
            raise NotAnImageError(f"begins with {content[:16]!r}, as no known image does") from error
        if ends_early(content):
            raise TruncatedError(f"ends after {len(content)} bytes, within its header") from error
        raise DecodeFailedError(f"its header can't be read; it begins with {content[:16]!r}") from error


def _scales(height: int, width: int, sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Eighths to decode at, ascending: for each size the least of 1, 2, 4, 8 that reaches far enough."""
    return sorted({_scale(height, width, size) for size in sizes}) or [8]


def _scale(height: int, width: int, size: tuple[int, int]) -> int:
    for eighths in (1, 2, 4):
        if _reaches(math.ceil(height * eighths / 8), math.ceil(width * eighths / 8), size):
            return eighths
    return 8


def _reaches(height: int, width: int, size: tuple[int, int]) -> bool:
    return height >= JPEG_HEADROOM * size[0] and width >= JPEG_HEADROOM * size[1]


def _jpeg(
    content: bytes, height: int, width: int, eighths: Sequence[int], on_damage: OnDamage
) -> tuple[list[Pixels] | None, bool]:
    """Each scale, and whether some is missing. None: only libjpeg's stricter face is at fault, Pillow will do."""
    arrays: list[Pixels] = []
    partial = False
    for m in eighths:
        # simplejpeg takes the least scale that reaches these, which is m/8.
        least = (math.ceil(height * m / 8), math.ceil(width * m / 8))
        try:
            arrays.append(simplejpeg.decode_jpeg(content, "RGB", min_height=least[0], min_width=least[1]))
        except ValueError as error:
            # Raised for mere warnings too. Stray bytes between markers harm nothing; anything else means that pixels
            # are missing or wrong.
            if "extraneous bytes" in str(error):
                return None, False
            if on_damage is not OnDamage.KEEP:
                raise TruncatedError(str(error)) if _is_truncation(error) else error from error
            partial = True
            kept = simplejpeg.decode_jpeg(content, "RGB", min_height=least[0], min_width=least[1], strict=False)
            arrays.append(kept)
    return arrays, partial


def _is_truncation(error: ValueError) -> bool:
    return "premature end" in str(error).lower()


def _with_pillow(image: Image.Image, content: bytes, on_damage: OnDamage) -> tuple[Pixels, bool]:
    try:
        image.load()
    except OSError:
        if on_damage is not OnDamage.KEEP or not ends_early(content, unsure=True):
            raise
        with _KEEP_DAMAGED:
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                with _opened(content) as again:
                    again.load()
                    return _rgb(again), True
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
    return _rgb(image), False


def _rgb(image: Image.Image) -> Pixels:
    """Any mode -> `[h, w, 3]` uint8."""
    if image.mode == "F":
        raise DecodeFailedError("a floating-point image: nothing says which value is white")
    if image.mode.startswith("I"):
        # 16-bit grey (as "I", 16 bits within 32).
        grey = (np.clip(np.asarray(image).astype(np.int32), 0, 0xFFFF) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, seen)
    return np.asarray(image.convert("RGB"))


_FIRST_TURNED = 5
"""Orientations from here on swap width and height."""
_UPSIDE_DOWN = frozenset({3, 4, 7, 8})
_MIRRORED = frozenset({2, 3, 6, 7})
"""After that, which turn rows or columns around."""


def _orientation(image: Image.Image) -> int:
    """1 to 8, as in EXIF; 1 where there is none, or none that can be read: the picture itself may be fine."""
    if image.format == "TIFF":
        return 1  # Pillow turns these by itself
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, struct.error):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """EXIF orientation undone (EXIF 2.32, tag 274)."""
    if orientation == 1:
        return pixels
    if orientation >= _FIRST_TURNED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in _UPSIDE_DOWN:
        pixels = pixels[::-1]
    if orientation in _MIRRORED:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@dataclass(frozen=True, slots=True)
class ImageDecoder:
    """`decode_image` as a `Decoder`: one segment.

    Attributes:
        sizes: (height, width) of the views that it feeds.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    limits: ImageLimits = ImageLimits()
    on_damage: OnDamage = OnDamage.REFUSE

    def decode(self, content: bytes, facts: ContentFacts, cursor: Cursor | None) -> Segment[DecodedImage]:
        """The image. See `decode_image` for what it raises."""
        del facts
        only_segment(cursor)
        return Segment(decode_image(content, self.sizes, self.limits, self.on_damage))

    def forget(self, facts: ContentFacts, cursor: Cursor) -> None:
        """Nothing stays open here.

        Raises:
            InvariantError: there never was such a cursor.
        """
        del facts
        only_segment(cursor)
