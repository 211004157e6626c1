"""Speech made on the spot with eSpeak NG, which the package `espeakng-loader` of the demo group brings along."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys

import numpy as np
import numpy.typing as npt

from operators.errors import ConfigError
from pipeline.app import demo_espeak

_LONGEST_S = 60.0
"""That one text may take to be spoken; it takes 0.1."""


def spoken(text: str, voice: str = "en-us") -> tuple[int, npt.NDArray[np.float32]]:
    """A text, spoken: the sampling rate in Hz, and samples `[N]` in [-1, 1].

    Equal calls give equal samples, but for variants whose file in espeak-ng-data/voices/!v says `breath` (f2, f3, f5):
    their noise comes out differently now and then.

    Args:
        text: of some sentences.
        voice: eSpeak NG's name of a language, with a variant or without, e.g. "en-us", "en-us+f4", "de", "fr+m2".

    Raises:
        ConfigError: the package is not installed, or has no such voice.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise ConfigError("the demo's speech needs espeakng-loader, which is not installed: see the demo group")
    import espeakng_loader  # pyright: ignore[reportMissingTypeStubs]

    paths = [str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())]
    command = [sys.executable, "-I", demo_espeak.__file__, *paths, voice]
    process = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_LONGEST_S, check=False)  # noqa: S603
    if process.returncode == demo_espeak.NO_SUCH_VOICE:
        raise ConfigError(f"eSpeak NG has no voice {voice!r}")
    if process.returncode or len(process.stdout) < 4:
        said = process.stderr.decode(errors="replace").strip()
        raise ConfigError(f"eSpeak NG does not run here (exit code {process.returncode}): {said}")
    (rate_hz,) = struct.unpack_from("<I", process.stdout)
    samples = np.frombuffer(process.stdout, "<i2", offset=4)
    return int(rate_hz), samples.astype(np.float32) / np.float32(32_768)
