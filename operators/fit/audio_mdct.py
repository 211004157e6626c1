"""Fits weights for the tokenizer `audio-mdct`, and writes them with a card.

`python -m operators.fit.audio_mdct --media DIR... --held-out DIR_OR_FILE...` makes the shipped ones anew; see
`operators.fit.audio_sources` for what the folders hold.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from operators.errors import ConfigError
from operators.fit.audio_card import Quality, SoundFitReport, write_card
from operators.fit.audio_sources import source_of
from operators.fit.mdct_codec import MdctFitSettings, fit_mdct_codec
from operators.fit.residual_quantizer import Progress, quiet
from operators.fit.sound_measures import log_spectral_distance_db, pesq, si_sdr_db, stoi
from operators.fit.sounds import Sound, read_sounds
from operators.models.checkpoints import save_tensors
from operators.models.checksum import sha256_of
from operators.models.mdct import frames_of
from operators.models.mdct_codec import HOP, RATE_HZ, MdctCodec, MdctCodecWeights

SHIPPED = Path(__file__).parents[1] / "tokenize" / "weights" / "audio-mdct.safetensors"
MOST_HELD_OUT = 20
"""Files, where they are drawn from the user's own."""


def fit(
    paths: Sequence[Path],
    out: Path,
    *,
    held_out: Sequence[Path] = (),
    settings: MdctFitSettings | None = None,
    licence: str = "that of the recordings it was fitted on",
    progress: Progress = quiet,
    command: str = "mediatok fit audio-mdct --media DIR --out FILE",
) -> SoundFitReport:
    """Fit on recordings.

    Args:
        paths: of audio files.
        out: the weights, "….safetensors"; the card goes beside it.
        held_out: recordings to measure on; without any, a tenth of `paths` (at least one) where there are four.
        settings: of the fit.
        licence: for the card, of recordings that are not in `SOURCES`.
        progress: told what is being done, and the share done.
        command: for the card.

    Raises:
        ConfigError: no recording can be read, or they have fewer frames than there are codewords.
    """
    settings = settings or MdctFitSettings()
    chosen, measured = _split(paths, held_out, settings.seed)
    progress("reading recordings", 0.0)
    sounds, refused = read_sounds(chosen, RATE_HZ)
    others, also_refused = read_sounds(measured, RATE_HZ)
    if not sounds:
        raise ConfigError(
            f"none of {len(chosen)} files is a recording that can be read: {dict(list(refused.items())[:3])}"
        )
    started = time.perf_counter()
    tensors = fit_mdct_codec(list(sounds.values()), settings, progress).tensors()
    fit_s = time.perf_counter() - started
    progress("measuring", 0.98)
    # As stored: what is measured is what will be used.
    quality = _qualities(MdctCodecWeights.of(tensors), others)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(out, tensors, {"format": "mediatok audio-mdct 1"})
    seconds = sum(map(len, sounds.values())) / RATE_HZ
    report = SoundFitReport(
        out, out.with_suffix(".md"), sha256_of(out), len(sounds), seconds, quality, {**refused, **also_refused}, fit_s
    )
    write_card(report, settings, command, _minutes(sounds), list(others), licence)
    return report


def _minutes(sounds: Mapping[Path, Sound]) -> dict[str, float]:
    """Of each folder, in order of their names."""
    found = dict[str, float]()
    for path, sound in sorted(sounds.items()):
        found[path.parent.name] = found.get(path.parent.name, 0.0) + len(sound) / RATE_HZ / 60
    return found


def _qualities(weights: MdctCodecWeights, sounds: Mapping[Path, Sound]) -> dict[str, tuple[Quality, ...]]:
    """Files of one known source are taken together."""
    named = dict[str, list[Sound]]()
    speech = set[str]()
    for path, sound in sounds.items():
        source = source_of(path)
        name = source.name if source else path.name
        named.setdefault(name, []).append(sound)
        if source and source.speech:
            speech.add(name)
    counts = codebook_counts(weights)
    codecs = [MdctCodec(weights, count) for count in counts]
    return {
        name: tuple(_quality(codec, some, speech=name in speech) for codec in codecs) for name, some in named.items()
    }


def codebook_counts(weights: MdctCodecWeights) -> tuple[int, ...]:
    """Those with which a group of codebooks is whole."""
    counts = [1]
    for group in weights.groups:
        counts.append(counts[-1] + group.books)
    return tuple(counts)


def _quality(codec: MdctCodec, sounds: Sequence[Sound], *, speech: bool) -> Quality:
    pairs = [(sound, reconstructed(codec, sound)) for sound in sounds]
    lengths = [len(sound) for sound in sounds]

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.average(known, weights=lengths)) if len(known) == len(values) else None

    return Quality(
        codec.encoder.count,
        mean([si_sdr_db(*pair) for pair in pairs]) or 0.0,
        mean([log_spectral_distance_db(*pair) for pair in pairs]) or 0.0,
        mean([stoi(*pair, RATE_HZ) for pair in pairs]) if speech else None,
        mean([pesq(*pair, RATE_HZ) for pair in pairs]) if speech else None,
    )


def reconstructed(codec: MdctCodec, sound: Sound) -> Sound:
    """There and back: `[N]` -> `[N]`."""
    padded = torch.nn.functional.pad(torch.from_numpy(np.array(sound)), (HOP, 0))
    return codec.decode(codec.encode(frames_of(padded, HOP))).numpy()[: len(sound)]


def _split(paths: Sequence[Path], held_out: Sequence[Path], seed: int) -> tuple[Sequence[Path], Sequence[Path]]:
    """Which to fit on, which to measure on."""
    drawn = random.Random(seed).sample(sorted(paths), len(paths))  # noqa: S311
    if held_out or len(drawn) < 4:
        return drawn, held_out
    kept = min(max(1, len(drawn) // 10), MOST_HELD_OUT)
    return drawn[kept:], drawn[:kept]


def _files(places: Sequence[Path]) -> list[Path]:
    """Files, and those of folders and below."""
    return [
        file for place in places for file in (sorted(place.rglob("*")) if place.is_dir() else [place]) if file.is_file()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Fit the weights of audio-mdct that mediatok ships.")
    parser.add_argument("--media", type=Path, nargs="+", required=True, help="folders of recordings to fit on")
    parser.add_argument("--held-out", type=Path, nargs="+", default=(), help="folders or files to measure on")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where to, with a card beside it (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (%(default)s)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    report = fit(
        _files(given.media),
        given.out,
        held_out=_files(given.held_out),
        settings=dataclasses.replace(MdctFitSettings(), seed=given.seed),
        progress=_show,
        command="python -m operators.fit.audio_mdct --media DIR... --held-out DIR_OR_FILE...",
    )
    sys.stdout.write(report.card.read_text(encoding="utf-8"))


def _show(what: str, share: float) -> None:
    sys.stderr.write(f"{share:4.0%} {what}\n")


if __name__ == "__main__":
    main()
