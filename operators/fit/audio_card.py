"""What a fit of `audio-mdct` gave, and the card that says so."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from operators.fit.audio_sources import SOURCES, Source, source_of
from operators.fit.mdct_codec import MdctFitSettings
from operators.models.mdct_codec import HOP, RATE_HZ

PICKED = (
    "Groups, whitening and the share of noise were picked out of some twenty tries by these held-out ones. None of "
    "them was fitted on, but some have relatives that were: other samples of Sonic Pi, the sound font's drums and one "
    "of the seven instruments heard, other paragraphs of the same book."
)


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over some recordings, weighed by their lengths.

    Attributes:
        codebooks: of how many.
        si_sdr_db, log_spectral_distance_db: see `operators.fit.sound_measures`.
        stoi, pesq: of speech; None for other sound, or without the package that measures it.
    """

    codebooks: int
    si_sdr_db: float
    log_spectral_distance_db: float
    stoi: float | None
    pesq: float | None


@dataclass(frozen=True, slots=True)
class SoundFitReport:
    """What a fit gave.

    Attributes:
        weights: the file written.
        card: the file that describes it.
        sha256: of the weights.
        fitted_on: how many recordings.
        fitted_on_s: their length in all.
        quality: of held-out recordings, by their source or name, at several numbers of codebooks.
        refused: files that could not be read, and why.
        fit_s: of the fit itself, without reading and measuring.
    """

    weights: Path
    card: Path
    sha256: str
    fitted_on: int
    fitted_on_s: float
    quality: Mapping[str, tuple[Quality, ...]]
    refused: Mapping[Path, str]
    fit_s: float


def write_card(
    report: SoundFitReport,
    settings: MdctFitSettings,
    command: str,
    minutes: Mapping[str, float],
    held_out: Sequence[Path],
    licence: str,
) -> None:
    """Write `report.card`.

    Args:
        report: what to describe.
        settings: of the fit.
        command: that made it.
        minutes: of sound by folder.
        held_out: the files measured on.
        licence: of recordings that are not in `SOURCES`.
    """
    books = 1 + sum(group.books for group in settings.groups)
    lines = [
        f"# {report.weights.stem}",
        "",
        f"Weights of the tokenizer `audio-mdct`: MDCT frames of {2 * HOP} samples at {RATE_HZ // 1000} kHz, "
        f"{RATE_HZ // HOP} a second; {books} codebooks of {settings.codebook_size} in order, and an inverse that is a "
        "small network:",
        "",
        "| codebooks | of what |",
        "|---|---|",
        "| 1 | envelope, 0–12000 Hz |",
        *_group_rows(settings),
        "",
        f"- fitted: {datetime.datetime.now(tz=datetime.UTC).date()}, in {report.fit_s:.0f} s, by `{command}`",
        f"- from: {report.fitted_on} recordings, {report.fitted_on_s / 60:.0f} minutes "
        "(each at a loudness drawn by chance, every other one slower or faster by up to 15 %)",
        f"- settings: {dataclasses.asdict(settings)}",
        f"- {report.weights.stat().st_size} bytes, sha256 {report.sha256}",
    ]
    if report.quality:
        lines += ["", "## On recordings that it was not fitted on", "", *_quality_lines(report, settings)]
    lines += ["", "## From what", ""]
    known = {name: SOURCES[name] for name in minutes if name in SOURCES}
    if known:
        lines += ["| recordings | terms | minutes |", "|---|---|---|"]
        lines += [f"| {source.name} | {source.terms} | {minutes[name]:.1f} |" for name, source in known.items()]
    if len(known) < len(minutes):
        others = sum(length for name, length in minutes.items() if name not in known)
        lines += [f"{others:.1f} minutes of the user's own; licence: {licence}."]
    sources = dict.fromkeys(source for source in map(source_of, held_out) if source)
    if sources:
        lines += ["", "Held out:", "", "| recordings | terms |", "|---|---|", *map(_terms_row, sources), "", PICKED]
    report.card.write_text("\n".join((*lines, "")), encoding="utf-8")


def _group_rows(settings: MdctFitSettings) -> list[str]:
    rows, at = list[str](), 1
    step_hz = RATE_HZ / HOP / 2
    for group in settings.groups:
        named = f"{at + 1}–{at + group.books}" if group.books > 1 else f"{at + 1}"
        rows.append(f"| {named} | shape, {group.low * step_hz:.0f}–{group.high * step_hz:.0f} Hz |")
        at += group.books
    return rows


def _quality_lines(report: SoundFitReport, settings: MdctFitSettings) -> list[str]:
    bits = (settings.codebook_size - 1).bit_length()
    lines = [
        "SI-SDR: scale-invariant signal-to-distortion ratio. LSD: log-spectral distance, 1024-sample frames, the lower "
        "the better. STOI: by pystoi, at 24 kHz. PESQ: by the package pesq, wide band, both signals resampled to "
        "16 kHz. The last two are measures of speech.",
        "",
        "| recordings | codebooks | kbit/s | SI-SDR dB | LSD dB | STOI | PESQ |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in report.quality.items():
        for row in rows:
            kbps = row.codebooks * bits * RATE_HZ / HOP / 1000
            lines.append(
                f"| {name} | {row.codebooks} | {kbps:.2f} | {row.si_sdr_db:.1f} | {row.log_spectral_distance_db:.1f} | "
                f"{_or_dash(row.stoi, 3)} | {_or_dash(row.pesq, 2)} |"
            )
    return lines


def _or_dash(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _terms_row(source: Source) -> str:
    return f"| {source.name} | {source.terms} |"
