"""`mediatok detokenize`: tokens of one file back to PNG, WAV or text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from operators.errors import ConfigError
from operators.forms import CLOCK_HZ
from operators.pack.schema import schema_facts
from operators.records import Modality, TokenSequence
from operators.spans import TokenSpan
from operators.tokenize import registry
from operators.tokenize.audio_base import AudioTokenizer
from operators.tokenize.base import Tokenizer
from operators.tokenize.video_interleaved import VideoInterleavedTokenizer
from pipeline.app.media_file import parse_options
from pipeline.app.media_out import as_bytes, write_png, write_wav
from pipeline.app.rebuild import rebuilt, stored_identity

_ARROW = b"ARROW1"


def detokenize(tokens: Path, out: Path | None, tokenizer: str | None, options: list[str]) -> int:
    """Write what a file of tokens stands for. Returns the exit code.

    Args:
        tokens: from `mediatok tokenize`, JSON or Arrow.
        out: without a suffix that would be added; None: beside `tokens`.
        tokenizer: that made them, where its weights were not the shipped ones.
        options: of it.

    Raises:
        MediatokError: these are no tokens, or have no inverse.
    """
    facts, windows = _read(tokens)
    made = _tokenizer(tokens, facts, tokenizer, options)
    target = out or tokens.with_name(tokens.name.split(".")[0] + "-reconstructed")
    written = _write(made, windows, target)
    Console().print(f"{len(windows)} windows in {written}", markup=False)
    return 0


def _tokenizer(tokens: Path, facts: Mapping[str, Any], name: str | None, options: list[str]) -> Tokenizer:
    if name:
        return registry.build(name, parse_options(options))
    try:
        return rebuilt(stored_identity(facts))
    except ConfigError as error:
        raise ConfigError(f"{tokens}: {error}; name what made them with --tokenizer and --option") from error


def _write(tokenizer: Tokenizer, windows: Sequence[TokenSequence], target: Path) -> Path:
    match tokenizer.spec.modality:
        case Modality.IMAGE:
            for number, tokens in enumerate(windows):
                name = target.stem if len(windows) == 1 else f"{target.stem}-{number:05d}"
                write_png(target.with_name(f"{name}.png"), tokenizer.decode(tokens))
            return target.with_suffix(".png")
        case Modality.AUDIO:
            assert isinstance(tokenizer, AudioTokenizer)
            whole = TokenSequence(np.concatenate([tokens.values for tokens in windows]))
            write_wav(target.with_suffix(".wav"), tokenizer.decode(whole), tokenizer.rate_hz)
            return target.with_suffix(".wav")
        case Modality.TEXT:
            path = target.with_suffix(".txt")
            path.write_bytes(b"".join(as_bytes(tokenizer.decode(tokens)) for tokens in windows))
            return path
        case Modality.VIDEO:
            assert isinstance(tokenizer, VideoInterleavedTokenizer)
            return _write_film(tokenizer, windows, target)


def _write_film(tokenizer: VideoInterleavedTokenizer, windows: Sequence[TokenSequence], folder: Path) -> Path:
    """Pictures, sound and subtitles in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cues: list[Mapping[str, Any]] = []
    number = 0
    for tokens in windows:
        clip = tokenizer.decode(tokens)
        for frame, at in zip(clip.frames, clip.sampled.tolist(), strict=True):
            write_png(folder / f"{number:05d}-{at / CLOCK_HZ:.3f}s.png", frame)
            number += 1
        cues += [{"start_s": cue.t0 / CLOCK_HZ, "end_s": cue.t1 / CLOCK_HZ, "text": cue.text} for cue in clip.cues]
    sound = tokenizer.decode_sound(windows)
    if tokenizer.sound is not None and len(sound):
        write_wav(folder / "sound.wav", sound, tokenizer.sound.rate_hz)
    if cues:
        (folder / "cues.json").write_text(json.dumps(cues, indent=1, ensure_ascii=False), encoding="utf-8")
    return folder


def _read(path: Path) -> tuple[Mapping[str, Any], list[TokenSequence]]:
    """What the tokens say of themselves, and each window's.

    Raises:
        ConfigError: it is no file of tokens.
    """
    try:
        with path.open("rb") as file:
            arrow = file.read(len(_ARROW)) == _ARROW
        if arrow:
            with pa.OSFile(str(path)) as source:
                table = pa.ipc.open_file(source).read_all()
            facts, rows = schema_facts(table.schema), table.sort_by("window_index").to_pylist()
        else:
            facts = json.loads(path.read_text(encoding="utf-8"))
            rows = facts["windows"]
        return facts, [_sequence(row, str(facts["dtype"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: no file of tokens ({type(error).__name__}: {error})") from error


def _sequence(row: Mapping[str, Any], dtype: str) -> TokenSequence:
    flat = np.asarray(row["codes"] if "codes" in row else row["embedding"], np.dtype(dtype))
    spans = tuple(TokenSpan(**span) for span in row.get("spans") or ())
    return TokenSequence(flat.reshape(tuple(row["shape"])), spans)
