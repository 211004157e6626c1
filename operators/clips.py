"""Clips: what a film shows, sounds like and says during some seconds, on the film's own clock; and batches of them.

A `WindowBatch` of clips has their frames as its data; beside them, each by clip, lie

- `shown` `[F, 2]` and `sampled` `[F]` int64, and `sound` `[N, C]` float32, as in `Clip`;
- `cues` `[N]` uint8: a JSON array of [t0, t1, text, language] for each clip;
- `bounds` `[B, 2]` int64: start and end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.forms import ClipForm
from operators.records import WindowBatch


@dataclass(frozen=True, slots=True)
class Cue:
    """A subtitle.

    Attributes:
        t0, t1: half-open, in ticks of `operators.forms.CLOCK_HZ`.
        text: plain, without markup; its lines are kept.
        language: as the container states it, e.g. "eng"; None where it does not.
    """

    t0: int
    t1: int
    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A window of a film. All times in ticks of `operators.forms.CLOCK_HZ` since t = 0.

    Attributes:
        start, end: half-open.
        frames: `[F, H, W, 3]` uint8, sRGB, upright: what was on screen at each of F sampling times.
        shown: `[F, 2]` int64: since when that frame had been on screen (its own timestamp; it may lie before the clip),
            and the time of the next sample, up to which it stands for the film.
        sampled: `[F]` int64: the sampling times.
        sound: `[context + n, C]` float32: n samples from `start` on, and what the tokenizer must hear before them.
            `[0, C]` where the film has no sound here.
        cues: subtitles that come up within the clip, in order.
    """

    start: int
    end: int
    frames: npt.NDArray[np.uint8]
    shown: npt.NDArray[np.int64]
    sampled: npt.NDArray[np.int64]
    sound: npt.NDArray[np.float32]
    cues: tuple[Cue, ...] = ()


def clip_batch(view: str, form: ClipForm, clips: Sequence[Clip]) -> WindowBatch:
    """B clips of one form as one batch; see the module."""
    channels = form.sound.channels if form.sound else 1
    cues = [_packed(clip.cues) for clip in clips]
    bounds = [np.asarray([[clip.start, clip.end]], np.int64) for clip in clips]
    frames = _side(view, [clip.frames for clip in clips], np.zeros((0, form.height, form.width, 3), np.uint8))
    sides = {
        "shown": _side("shown", [clip.shown for clip in clips], np.zeros((0, 2), np.int64)),
        "sampled": _side("sampled", [clip.sampled for clip in clips], np.zeros(0, np.int64)),
        "sound": _side("sound", [clip.sound for clip in clips], np.zeros((0, channels), np.float32)),
        "cues": _side("cues", cues, np.zeros(0, np.uint8)),
        "bounds": _side("bounds", bounds, np.zeros((0, 2), np.int64)),
    }
    return WindowBatch(view, frames.data, frames.lengths, sides)


def clips_of(batch: WindowBatch) -> list[Clip]:
    """The way back; frames and sound share the batch's memory."""
    return [_clip(batch.rows(index, index + 1)) for index in range(len(batch))]


def _clip(one: WindowBatch) -> Clip:
    start, end = one.sides["bounds"].data[0].tolist()
    cues = tuple(Cue(*cue) for cue in json.loads(one.sides["cues"].data.tobytes()))
    shown, sampled, sound = (one.sides[name].data for name in ("shown", "sampled", "sound"))
    return Clip(start, end, one.data, shown, sampled, sound, cues)


def _side(name: str, arrays: Sequence[npt.NDArray[Any]], none: npt.NDArray[Any]) -> WindowBatch:
    data = np.concatenate(arrays) if arrays else none
    return WindowBatch(name, data, np.asarray([len(array) for array in arrays], np.int64))


def _packed(cues: Sequence[Cue]) -> npt.NDArray[np.uint8]:
    texts = json.dumps([[cue.t0, cue.t1, cue.text, cue.language] for cue in cues], ensure_ascii=False)
    return np.frombuffer(texts.encode("utf-8", "replace"), np.uint8)
