"""Arrays as data: URIs, so that the page is one file."""

from __future__ import annotations

import base64
import io

import av
import numpy as np
from PIL import Image

from pipeline.observe.report.samples import Codes, Pixels, Samples

LONGEST_SIDE = 320
"""Pixels of a picture; larger ones are reduced."""
QUALITY = 86
_TINT = (88, 101, 222)
"""The page's accent, which both of its colour schemes can bear."""
_FAINTEST = 18
_SHADES = 64


def jpeg_uri(pixels: Pixels, quality: int = QUALITY) -> str:
    """An image as JPEG without chroma subsampling, no side longer than `LONGEST_SIDE`."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=0, optimize=True)
    return _uri("image/jpeg", out.getvalue())


def codes_uri(codes: Codes) -> str:
    """Codes as PNG, a pixel a code: the accent, the more opaque the larger the code; lies on any ground."""
    image = Image.fromarray((codes * _SHADES).astype(np.uint8), "P")
    image.putpalette(_TINT * _SHADES)
    alphas = np.linspace(_FAINTEST, 255, _SHADES).astype(np.uint8)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, transparency=alphas.tobytes())
    return _uri("image/png", out.getvalue())


def flac_uri(samples: Samples, rate_hz: int) -> str:
    """Sound as FLAC, 16 bits: what WAV holds, in about two thirds of the bytes, and every browser plays it."""
    pcm = (np.clip(samples, -1, 1) * 32767).round().astype(np.int16)
    out = io.BytesIO()
    with av.open(out, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate_hz, layout="mono", format="s16")
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return _uri("audio/flac", out.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
