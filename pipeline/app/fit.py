"""`mediatok fit`: train a tokenizer on files of the user's own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from operators.errors import ConfigError
from operators.records import Modality
from pipeline.observe import units
from pipeline.observe.status_table import plain_table
from pipeline.refs.modality import PROBE_BYTES, of_suffix, probe

Show = Callable[[str, float], None]

HELD_OUT_EVERY = 20
"""Paragraphs of texts: one in so many is measured on, not fitted on."""


def fit_tokenizer(tokenizer: str, media: Path, out: Path, seed: int) -> int:
    """Train, show how far it is, write the weights and their card. Returns the exit code.

    Raises:
        ConfigError: no such tokenizer to fit, or nothing to fit it on.
    """
    fits = {"audio-mdct": _fit_sounds, "image-rq": _fit_images, "text-bpe": _fit_texts}
    if tokenizer not in fits:
        raise ConfigError(f"{tokenizer!r} can't be fitted; what can: {', '.join(fits)}")
    fits[tokenizer](media, out, seed)
    return 0


def media_files(media: Path, modality: Modality) -> list[Path]:
    """The files of one modality in a folder and below, by name; hidden ones left out.

    Raises:
        ConfigError: there are none.
    """
    if not media.exists():
        raise ConfigError(f"--media {media}: there is no such folder")
    below = sorted(media.rglob("*")) if media.is_dir() else [media]
    files = [path for path in below if path.is_file() and not _hidden(path.relative_to(media))]
    found = [path for path in files if _modality(path) == modality]
    if not found:
        raise ConfigError(f"--media {media}: none of {units.count(len(files))} files is of modality {modality.value}")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") and part != "." for part in path.parts)


def _modality(path: Path) -> object:
    known = of_suffix(path.name)
    if known is not None:
        return known
    with path.open("rb") as content:
        return probe(content.read(PROBE_BYTES))


def _fit_images(media: Path, out: Path, seed: int) -> None:
    from operators.fit.image_rq import SHIPPED_SETTINGS, fit_images

    settings = dataclasses.replace(SHIPPED_SETTINGS, seed=seed)
    with _progress() as show:
        report = fit_images(media_files(media, Modality.IMAGE), out, settings=settings, progress=show)
    console = Console()
    if report.psnr_db:
        layers = max(len(row) for row in report.psnr_db.values())
        names = [f"{n} layer{'s' * (n > 1)}" for n in range(1, layers + 1)]
        table = plain_table("held out", *names)
        for name, row in report.psnr_db.items():
            table.add_row(Text(units.middle(name, 30)), *(f"{db:.1f} dB" for db in row))
        console.print(table)
        console.print()
    _refused(console, report.refused)
    _done("image-rq", out, report.card, f"{report.fitted_on} photographs in {units.duration(report.fit_s)}")


def _fit_sounds(media: Path, out: Path, seed: int) -> None:
    from operators.fit.audio_mdct import fit
    from operators.fit.mdct_codec import MdctFitSettings

    settings = dataclasses.replace(MdctFitSettings(), seed=seed)
    with _progress() as show:
        report = fit(media_files(media, Modality.AUDIO), out, settings=settings, progress=show)
    console = Console()
    if report.quality:
        counts = [str(quality.codebooks) for quality in next(iter(report.quality.values()))]
        table = plain_table("held out: SI-SDR, dB, by codebooks", *counts)
        for name, row in report.quality.items():
            table.add_row(Text(units.middle(name, 30)), *(f"{quality.si_sdr_db:.1f}" for quality in row))
        console.print(table)
        console.print()
    _refused(console, report.refused)
    sound = units.duration(report.fitted_on_s)
    said = f"{report.fitted_on} recordings, {sound} of sound, in {units.duration(report.fit_s)}"
    _done("audio-mdct", out, report.card, said)


def _fit_texts(media: Path, out: Path, seed: int) -> None:
    from operators.fit.bpe import VOCABULARY, train_bpe
    from operators.models.checksum import sha256_of

    del seed  # merging pairs draws nothing: equal texts give an equal vocabulary
    files = media_files(media, Modality.TEXT)
    with _progress() as show:
        show(f"reading {units.count(len(files))} texts, merging pairs", 0.1)
        bpe = train_bpe((text for n, text in _paragraphs(files) if n % HELD_OUT_EVERY), VOCABULARY)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(bpe.to_str(), encoding="utf-8")
        show("measuring", 0.9)
        held_out = [text for n, text in _paragraphs(files) if n % HELD_OUT_EVERY == 0]
        codes = sum(len(found.ids) for found in bpe.encode_batch(held_out))
        measured_bytes = sum(len(text.encode()) for text in held_out)
    lines = (
        f"# {out.stem}",
        "",
        f"Byte-level BPE of {bpe.get_vocab_size()} tokens, for the tokenizer `text-bpe`.",
        "",
        f"- trained: {datetime.now(tz=UTC).date()} by `mediatok fit text-bpe`",
        f"- from: {len(files)} texts of the user's own; licence: theirs",
        f"- {out.stat().st_size} bytes, sha256 {sha256_of(out)}",
        f"- held-out text (every {HELD_OUT_EVERY}th paragraph): {measured_bytes / max(1, codes):.2f} bytes a token",
    )
    card = out.with_suffix(".md")
    card.write_text("\n".join((*lines, "")), encoding="utf-8")
    _done("text-bpe", out, card, f"{units.count(len(files))} texts, {measured_bytes / max(1, codes):.2f} bytes a token")


def _paragraphs(files: Sequence[Path]) -> Iterator[tuple[int, str]]:
    """Numbered from 0 through all files; bytes that are no UTF-8 become U+FFFD."""
    count = itertools.count()
    for file in files:
        for text in file.read_text(encoding="utf-8", errors="replace").split("\n\n"):
            if text.strip():
                yield next(count), f"{text}\n\n"


def _refused(console: Console, refused: Mapping[Path, str]) -> None:
    for path, reason in refused.items():
        console.print(Text(f"could not be read: {path}: {reason}", style="yellow"), soft_wrap=True)


def _done(tokenizer: str, out: Path, card: Path, said: str) -> None:
    console = Console()
    console.print(Text(f"{out} ({units.size(out.stat().st_size)}): fitted on {said}; see {card}"), soft_wrap=True)
    console.print("In a config:", style="bold")
    console.print(Text(f"  tokenizer: {tokenizer}\n  options: {{weights: {out.absolute()}}}"), soft_wrap=True)


@contextmanager
def _progress() -> Generator[Show]:
    """A bar on a terminal, on standard error; a line a step elsewhere."""
    console = Console(stderr=True)
    bars = Progress(
        BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
        TextColumn("{task.description}"), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bars:
        task = bars.add_task("starting", total=1.0)

        def show(what: str, share: float) -> None:
            bars.update(task, description=what, completed=share)
            if not console.is_terminal:
                console.print(Text(f"{share:4.0%}  {what}"), soft_wrap=True)

        yield show
