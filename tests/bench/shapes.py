"""The shapes of the public multimodal benchmarks, on media that are made on the spot with the same statistics.

Eventual-Inc/Daft `benchmarking/ai` and ray-project/ray `release/nightly_tests/multimodal_inference_benchmarks` share
four: transcription of Common Voice 17, classification of ImageNet, detection in the clips of Hollywood2, embedding of
PDFs. Their data and networks are not to be had here; what is kept is how many bytes, pixels and seconds an item has,
what is decoded, to what size, and how much is computed on it. In a network's place stand our own tokenizers:

- transcription (113,800 recordings, FLAC of about 5 s; decode, resample to 16 kHz, Whisper): decode, resample to 24 kHz
  mono, `audio-mdct`;
- classification (803,580 JPEGs, mostly 500×375; decode, resize to 224, ResNet): the same, `image-patches-projected`;
- detection (1,000 AVI clips, MPEG-4 of about 528×224 or 576×320, some 12 s; each frame decoded, resized to 640×640 and
  looked at by YOLO): each frame decoded, resized to 256×256, `image-rq`;
- documents (10,000 PDFs, their text in chunks of 2,048 characters, a small transformer): no PDFs here, so texts as long
  as theirs, the same chunks, `text-bpe`.
"""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from string import ascii_lowercase

from PIL import Image

from operators.records import Modality
from pipeline.app.demo_media import photographs
from tests.bench.loads import Load
from tests.bench.recordings import Wandering
from tests.making.film import write_film
from tests.making.sound import speechlike, write_sound

VOICE_HZ = 48_000
VOICE_MEAN_S = 5.0
"""Common Voice 17, English: 5.0 s on average, few above 10."""
IMAGENET_SIZES = ((500, 375), (500, 375), (500, 375), (375, 500), (500, 333), (333, 500), (400, 300), (640, 480))
"""(width, height), about as often as they are there; the largest originals left out. 110 kB on average."""
IMAGENET_QUALITY = 92
CLIP_SIZES = ((224, 528), (320, 576), (240, 560))
"""(height, width) of Hollywood2's clips."""
CLIP_MEAN_S = 12.0
CLIP_HZ = Fraction(25)
DOCUMENT_MEAN_BYTES = 24_000
"""A PDF has some ten pages, a page some 2,400 characters."""
DIFFERENT = 24
"""Media that are encoded; the others are copies of these. Decoders have no memory of what they saw."""
WORDS = (*ascii_lowercase, *(a + b + c for a in "aeiostr" for b in "bcdlmn" for c in ("", "a", "er", "tion", "ing")))
"""Few short ones that are common, many long ones that are not."""


def _spread(rng: random.Random, mean: float, sigma: float, least: float, most: float) -> float:
    """Log-normal about its mean, cut off."""
    return min(most, max(least, mean * rng.lognormvariate(-sigma * sigma / 2, sigma)))


def make_voices(folder: Path, count: int) -> list[Path]:
    """Recordings as of Common Voice: FLAC, 48 kHz, mono."""
    rng, paths = random.Random(0), list[Path]()
    for number in range(count):
        path = folder / f"{number:06d}.flac"
        if number < DIFFERENT:
            seconds = _spread(rng, VOICE_MEAN_S, 0.35, 1.5, 12.0)
            write_sound(path, speechlike(seconds, VOICE_HZ, 1, seed=number), VOICE_HZ, "flac")
        else:
            path.write_bytes(paths[number % DIFFERENT].read_bytes())
        paths.append(path)
    return paths


def make_objects(folder: Path, count: int) -> list[Path]:
    """JPEGs of the sizes of ImageNet's."""
    rng, paths = random.Random(0), list[Path]()
    photos = [Image.open(each.path).convert("RGB") for each in photographs()]
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number < 8 * DIFFERENT:
            width, height = IMAGENET_SIZES[number % len(IMAGENET_SIZES)]
            photo = photos[number % len(photos)]
            scale = min(photo.width / width, photo.height / height) * rng.uniform(0.6, 1.0)
            left, top = rng.uniform(0, photo.width - scale * width), rng.uniform(0, photo.height - scale * height)
            box = (left, top, left + scale * width, top + scale * height)
            photo.resize((width, height), box=box).save(path, quality=IMAGENET_QUALITY)
        else:
            path.write_bytes(paths[number % (8 * DIFFERENT)].read_bytes())
        paths.append(path)
    return paths


def make_clips(folder: Path, count: int) -> list[Path]:
    """AVI with MPEG-4 and MP3, a keyframe every 12 frames or so."""
    rng, paths = random.Random(0), list[Path]()
    for number in range(count):
        path = folder / f"{number:06d}.avi"
        if number < DIFFERENT // 4:
            seconds, size = _spread(rng, CLIP_MEAN_S, 0.4, 4.0, 30.0), CLIP_SIZES[number % len(CLIP_SIZES)]
            sound = speechlike(seconds, 44_100, 2, seed=number)
            write_film(
                path,
                seconds,
                CLIP_HZ,
                size,
                video_codec="mpeg4",
                gop_s=0.48,
                picture=Wandering(number, size),
                sound=sound,
                sound_rate_hz=44_100,
                audio_codec="libmp3lame",
            )
        else:
            path.write_bytes(paths[number % (DIFFERENT // 4)].read_bytes())
        paths.append(path)
    return paths


def make_documents(folder: Path, count: int) -> list[Path]:
    """Texts as long as the PDFs' are, of words as common as words are."""
    rng, paths = random.Random(0), list[Path]()
    weights = [1 / rank for rank in range(1, len(WORDS) + 1)]
    for number in range(count):
        length = int(_spread(rng, DOCUMENT_MEAN_BYTES, 0.8, 500, 200_000))
        words = rng.choices(WORDS, weights, k=length // 5)
        path = folder / f"{number:06d}.txt"
        path.write_text(" ".join(words)[:length], encoding="utf-8")
        paths.append(path)
    return paths


EVERY_FRAME = {"frames_hz": 25, "audio": None, "text": None}
SHAPES = {
    "transcription": Load(Modality.AUDIO, "audio-mdct", make_voices, "recordings", "recordings of 5 s, FLAC, 48 kHz"),
    "classification": Load(
        Modality.IMAGE, "image-patches-projected", make_objects, "images", "JPEGs of 500×375 to 224×224", {"size": 224}
    ),
    "detection": Load(
        Modality.VIDEO, "video-interleaved", make_clips, "clips", "AVI clips of 12 s, each frame", EVERY_FRAME
    ),
    "documents": Load(Modality.TEXT, "text-bpe", make_documents, "texts", "texts of 24 kB", {"window_bytes": 2048}),
}
"""Amounts are files."""
