"""Windows written as files that people can open: PNG, WAV, plain text."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """`[H, W, 3]` uint8."""
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, "PNG")


def write_wav(path: Path, samples: npt.NDArray[np.float32], rate_hz: int) -> None:
    """`[N, C]` float32 as 16 bits; what is beyond full scale is clipped."""
    whole = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(whole.tobytes())


def as_bytes(window: npt.NDArray[Any]) -> bytes:
    """`[N]` uint8 of a text."""
    return window.astype(np.uint8).tobytes()
