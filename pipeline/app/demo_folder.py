"""The sound and film that `make run` publishes: made on the spot into a folder."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import soxr
from av.audio.stream import AudioStream

from operators.records import Modality
from pipeline.app.demo_film import BITEXACT, encoded_sound, make_film
from pipeline.app.demo_media import photographs
from pipeline.app.demo_speech import spoken


@dataclass(frozen=True, slots=True)
class _Speech:
    """A sentence, and the file that it goes into; its ending says which codec and container."""

    file: str
    voice: str
    text: str


@dataclass(frozen=True, slots=True)
class _Film:
    """Names of photographs, shown while the voice speaks their captions."""

    file: str
    voice: str
    photographs: tuple[str, ...]


# Aesop's fable, in the words that phoneticians use to show how a language sounds.
_SPEECHES = (
    _Speech(
        "speech-en-1.wav",
        "en-us",
        "The North Wind and the Sun were disputing which was the stronger, when a traveler came along wrapped in a "
        "warm cloak.",
    ),
    _Speech(
        "speech-en-2.flac",
        "en-us+f4",
        "They agreed that the one who first succeeded in making the traveler take his cloak off should be considered "
        "stronger than the other.",
    ),
    _Speech(
        "speech-en-3.mp3",
        "en-gb-x-rp",
        "Then the North Wind blew as hard as he could, but the more he blew, the more closely did the traveller fold "
        "his cloak around him.",
    ),
    _Speech(
        "speech-de.opus",
        "de",
        "Einst stritten sich Nordwind und Sonne, wer von ihnen beiden wohl der Stärkere wäre, als ein Wanderer, der "
        "in einen warmen Mantel gehüllt war, des Weges daherkam.",
    ),
    _Speech(
        "speech-fr.m4a",
        "fr+linda",
        "La bise et le soleil se disputaient, chacun assurant qu'il était le plus fort.",
    ),
    _Speech("speech-es.mp3", "es+m3", "El viento norte y el sol porfiaban sobre cuál de ellos era el más fuerte."),
    _Speech(
        "speech-it.flac",
        "it+f4",
        "Si bisticciavano un giorno il vento di tramontana e il sole, l'uno pretendendo d'esser più forte dell'altro.",
    ),
    _Speech("speech-sv.opus", "sv", "Nordanvinden och solen tvistade en gång om vem av dem som var starkast."),
)
_FILMS = (
    _Film("film-1.mp4", "en-us", ("rocket.jpg", "astronaut.png", "moon.png", "hubble_deep_field.jpg", "camera.png")),
    _Film(
        "film-2.mp4",
        "en-gb-x-rp+f4",
        ("coffee.png", "chelsea.png", "flower.jpg", "china.jpg", "motorcycle_left.png"),
    ),
)
_CODECS = {
    ".wav": ("pcm_s16le", "wav"),
    ".flac": ("flac", "flac"),
    ".mp3": ("libmp3lame", "mp3"),
    ".opus": ("libopus", "ogg"),
    ".m4a": ("aac", "ipod"),
}
"""Codec and container by a file's ending, as FFmpeg calls them."""
_OPUS_HZ = 24_000
"""Opus knows few sampling rates."""


@dataclass(frozen=True, slots=True)
class MadeMedium:
    """A file that was made.

    Attributes:
        path: of the file.
        modality: audio or video.
        caption: what is spoken in it.
    """

    path: Path
    modality: Modality
    caption: str


def demo_media(folder: Path) -> tuple[MadeMedium, ...]:
    """Speech in several languages and containers, and two films; what is in the folder already is left as it is.

    Raises:
        ConfigError: a package of the demo group is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: list[MadeMedium] = []
    for speech in _SPEECHES:
        path = folder / speech.file
        if not path.exists():
            with _whole(path) as begun:
                _write_speech(begun, *_CODECS[path.suffix], speech)
        made.append(MadeMedium(path, Modality.AUDIO, speech.text))
    shown = {photograph.path.name: photograph for photograph in photographs()}
    for film in _FILMS:
        path = folder / film.file
        captions = [shown[name].caption for name in film.photographs]
        if not path.exists():
            with _whole(path) as begun:
                make_film(begun, [shown[name].path for name in film.photographs], captions, voice=film.voice)
        made.append(MadeMedium(path, Modality.VIDEO, " ".join(captions)))
    return tuple(made)


@contextmanager
def _whole(path: Path) -> Generator[Path]:
    """Another name to write to, so that nobody finds half a file under this one."""
    begun = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield begun
        begun.replace(path)
    finally:
        begun.unlink(missing_ok=True)


def _write_speech(path: Path, codec: str, container: str, speech: _Speech) -> None:
    rate_hz, samples = spoken(speech.text, speech.voice)
    if codec == "libopus":
        samples = soxr.resample(samples, rate_hz, _OPUS_HZ)
        rate_hz = _OPUS_HZ
    with av.open(path, "w", format=container, container_options={"fflags": "+bitexact"}) as out:
        stream = out.add_stream(codec, rate=rate_hz, options=BITEXACT, layout="mono")
        assert isinstance(stream, AudioStream)
        out.mux(list(encoded_sound(stream, samples, rate_hz)))
