"""Recordings to fit audio tokenizers on: read, resampled, varied."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import av.error
import numpy as np
import numpy.typing as npt
import soxr

Sound = npt.NDArray[np.float32]
"""`[N]` float32 in [-1, 1], one channel."""
LONGEST_S = 600
"""No more of one file is read."""


def read_sound(path: Path, rate_hz: int) -> Sound:
    """A file's first audio track, its channels averaged.

    Raises:
        OSError: it can't be opened, or is no sound that can be read (`av.error.FFmpegError` is one of these).
        ValueError: it holds no sound.
    """
    parts = list[Sound]()
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise ValueError(f"{path}: no audio track")
        stream = container.streams.audio[0]
        source_hz = stream.rate
        mix = av.AudioResampler(format="fltp", layout="mono", rate=source_hz)
        read = 0
        for frame in container.decode(stream):
            for mixed in mix.resample(frame):
                parts.append(mixed.to_ndarray()[0])
                read += len(parts[-1])
            if read >= LONGEST_S * source_hz:
                break
    if not read:
        raise ValueError(f"{path}: no samples")
    return soxr.resample(np.concatenate(parts), source_hz, rate_hz, quality="VHQ").astype(np.float32, copy=False)


def read_sounds(paths: Iterable[Path], rate_hz: int) -> tuple[dict[Path, Sound], dict[Path, str]]:
    """Those that can be read, and for the others the reason why not."""
    sounds, refused = dict[Path, Sound](), dict[Path, str]()
    for path in paths:
        try:
            sounds[path] = read_sound(path, rate_hz)
        except (OSError, ValueError, av.error.FFmpegError) as error:
            refused[path] = str(error)
    return sounds, refused


def varied(sound: Sound, rng: np.random.Generator) -> Sound:
    """Its peak brought to -13..+1 dB of full scale; every other time slower or faster by up to 15 %, pitch and all."""
    peak = max(float(np.abs(sound).max(initial=0.0)), 1e-3)
    louder = sound * np.float32(10 ** (rng.uniform(-13.0, 1.0) / 20) / peak)
    if rng.random() < 0.5:
        louder = soxr.resample(louder, 1.0, rng.uniform(0.85, 1.15))
    return louder.clip(-1.0, 1.0).astype(np.float32, copy=False)
