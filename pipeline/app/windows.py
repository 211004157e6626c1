"""`mediatok windows`: what a tokenizer sees of a file, as files: PNG, WAV, text, and their times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from operators.clips import Clip
from operators.forms import CLOCK_HZ
from operators.records import Modality, WindowMeta
from operators.tokenize import registry
from operators.window import AudioView, ClipView, View, parse_view
from pipeline.app.media_file import DEFAULT_TOKENIZERS, open_file, parse_options
from pipeline.app.media_out import as_bytes, write_png, write_wav


def write_windows(file: Path, out: Path, tokenizer: str | None, view: str | None, options: list[str]) -> int:
    """Write a file's windows and `windows.json`. Returns the exit code.

    Raises:
        MediatokError: the file can't be decoded, or there is no such tokenizer or view.
    """
    key = view
    if key is None and tokenizer is not None:
        key = registry.build(tokenizer, parse_options(options)).spec.view
    media = open_file(file, parse_view(key).modality if key else None)
    if key is None:
        key = registry.build(DEFAULT_TOKENIZERS[media.modality], parse_options(options)).spec.view
    out.mkdir(parents=True, exist_ok=True)
    cut, entries = parse_view(key), list[Mapping[str, Any]]()
    for windows in media.windows(key):
        for meta, window in windows:
            number = len(entries)
            entries.append({**_times(meta), **_write(cut, out, number, meta, window)})
    listing = {"file": str(file), "view": key, "windows": entries}
    (out / "windows.json").write_text(json.dumps(listing, indent=1, ensure_ascii=False), encoding="utf-8")
    Console().print(f"{len(entries)} windows of {key} in {out}, their times in {out / 'windows.json'}", markup=False)
    return 0


def _times(meta: WindowMeta) -> dict[str, Any]:
    times: dict[str, Any] = {"start": meta.start, "end": meta.end}
    if meta.rate_num:
        seconds = meta.rate_den / meta.rate_num
        times |= {"rate": [meta.rate_num, meta.rate_den], "start_s": meta.start * seconds, "end_s": meta.end * seconds}
        times |= {"raw_start_s": meta.raw_start * seconds}
    return times | ({"partial": True} if meta.partial else {})


def _write(view: View[Any], out: Path, number: int, meta: WindowMeta, window: Any) -> dict[str, Any]:  # noqa: ANN401
    """One window's files; says which."""
    name = f"{number:05d}"
    if isinstance(view, ClipView):
        return _write_clip(view, out, name, window)
    if isinstance(view, AudioView):
        # Without what was only there for the codec to have heard before.
        write_wav(out / f"{name}.wav", window[view.form.context :], view.form.rate_hz)
        return {"file": f"{name}.wav", "context": view.form.context}
    if view.modality is Modality.IMAGE:
        write_png(out / f"{name}.png", window)
        return {"file": f"{name}.png", "original": [meta.width, meta.height]}
    (out / f"{name}.txt").write_bytes(as_bytes(window))
    return {"file": f"{name}.txt"}


def _write_clip(view: ClipView, out: Path, name: str, clip: Clip) -> dict[str, Any]:
    found: dict[str, Any] = {"frames": [], "cues": []}
    for index, frame in enumerate(clip.frames):
        write_png(out / f"{name}-{index:04d}.png", frame)
        sampled, (shown, until) = int(clip.sampled[index]), clip.shown[index].tolist()
        found["frames"].append(
            {
                "file": f"{name}-{index:04d}.png",
                "sampled_s": sampled / CLOCK_HZ,
                "shown_s": shown / CLOCK_HZ,
                "until_s": until / CLOCK_HZ,
            }
        )
    if view.form.sound is not None and len(clip.sound):
        write_wav(out / f"{name}.wav", clip.sound[view.form.sound.context :], view.form.sound.rate_hz)
        found["sound"] = f"{name}.wav"
    for cue in clip.cues:
        found["cues"].append(
            {"start_s": cue.t0 / CLOCK_HZ, "end_s": cue.t1 / CLOCK_HZ, "text": cue.text, "language": cue.language}
        )
    return found
