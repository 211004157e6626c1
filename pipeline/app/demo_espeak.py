"""A process of its own that speaks one text: `python demo_espeak.py LIBRARY DATA VOICE < text > sound`.

eSpeak NG keeps its state in globals, and the sound of a text depends on what was spoken before; a fresh process always
gives the same. On standard output: the sampling rate in Hz as 4 bytes, then 16-bit samples, both little-endian.

Source: eSpeak NG 1.52, src/include/espeak-ng/speak_lib.h.
"""

from __future__ import annotations

import array
import ctypes
import struct
import sys
from pathlib import Path

NO_SUCH_VOICE = 3
"""Exit code."""

_SYNCHRONOUS, _CHARACTERS, _UTF8 = 2, 1, 1


def speak(library: str, data: str, voice: str, text: bytes) -> tuple[int, array.array[int]] | None:
    """Sampling rate in Hz and samples; None: there is no such voice.

    Args:
        library: path of libespeak-ng.
        data: path of the folder espeak-ng-data.
        voice: e.g. "en-us", or with a variant "en-us+f4".
        text: UTF-8.

    Raises:
        OSError: the library can't be loaded, or finds no data.
    """
    variant = voice.partition("+")[2]
    if variant and not (Path(data) / "voices" / "!v" / variant).is_file():
        return None
    espeak = ctypes.CDLL(library)
    rate_hz = espeak.espeak_Initialize(_SYNCHRONOUS, 0, str(Path(data).parent).encode(), 0)
    if rate_hz <= 0:
        raise OSError(f"eSpeak NG finds no data in {data}")
    if espeak.espeak_SetVoiceByName(voice.encode()):
        return None
    samples = array.array("h")

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def heard(part: int | None, count: int, events: int) -> int:
        del events
        if part and count:
            samples.frombytes(ctypes.string_at(part, count * samples.itemsize))
        return 0

    espeak.espeak_SetSynthCallback(heard)
    espeak.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, _CHARACTERS, 0, _UTF8, None, None)
    espeak.espeak_Synchronize()
    return rate_hz, samples


def main() -> int:
    """Returns the exit code."""
    library, data, voice = sys.argv[1:]
    spoken = speak(library, data, voice, sys.stdin.buffer.read())
    if spoken is None:
        return NO_SUCH_VOICE
    rate_hz, samples = spoken
    if sys.byteorder == "big":
        samples.byteswap()
    sys.stdout.buffer.write(struct.pack("<I", rate_hz) + samples.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
