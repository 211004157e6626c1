"""The first call of a tokenizer, made before its worker counts as ready.

It loads kernels, fills the allocators' pools and starts thread pools: seconds on a GPU, which the first batch of a run
would pay otherwise, and by which the autoscaler would judge the worker.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from operators.clips import Clip, clip_batch
from operators.errors import Disposition, MediatokError
from operators.forms import CLOCK_HZ, ClipForm
from operators.records import WindowBatch
from operators.tokenize.base import Tokenizer
from operators.window import AudioView, ClipView, ImageView, parse_view

MOST_S = 10.0
"""A whole batch is tried only where one window shows that it will take no longer."""
BLANK_TEXT = np.frombuffer(b"A text to warm up with. ", np.uint8)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What the first calls showed.

    Attributes:
        took_s: both together.
        window_tokens_bytes: tokens of a blank window; None where it does not suit the tokenizer.
        unsuited: what the tokenizer raised on it; "" where nothing.
    """

    took_s: float
    window_tokens_bytes: int | None
    unsuited: str = ""


def warm_up(tokenizer: Tokenizer, windows: int) -> WarmUp:
    """Tokenize blank windows: one, then a batch of `windows`.

    What the tokenizer raises on windows without content is told and no more: real ones may suit it.

    Raises:
        MediatokError: one that stops the run.
    """
    started_s = time.perf_counter()
    window_bytes: int | None = None
    unsuited = ""
    try:
        window_bytes = tokenizer.tokenize(blank_windows(tokenizer.spec.view, 1)).size_bytes
        one_s = time.perf_counter() - started_s
        # The first call carries what is loaded once; the estimate errs on the side of a shorter start.
        if windows > 1 and one_s * windows <= MOST_S:
            tokenizer.tokenize(blank_windows(tokenizer.spec.view, windows))
    except Exception as error:
        if isinstance(error, MediatokError) and error.disposition is Disposition.STOP:
            raise
        unsuited = f"{type(error).__name__}: {error}"
    return WarmUp(time.perf_counter() - started_s, window_bytes, unsuited)


def blank_windows(view_key: str, count: int) -> WindowBatch:
    """Black pictures, silence, a short text, or clips of them: windows of the size that the view cuts.

    Raises:
        ConfigError: there is no such view.
    """
    view = parse_view(view_key)
    match view:
        case ImageView(height=height, width=width):
            return view.stack([np.zeros((height, width, 3), np.uint8)] * count)
        case AudioView(form=form):
            return view.stack([np.zeros((form.context + form.window, form.channels), np.float32)] * count)
        case ClipView(form=form):
            return clip_batch(view_key, form, [_blank_clip(form)] * count)
        case _:
            return view.stack([BLANK_TEXT] * count)


def _blank_clip(form: ClipForm) -> Clip:
    pictures = int(form.clip_s * form.frames_hz)
    sampled = np.asarray([int(number * CLOCK_HZ / form.frames_hz) for number in range(pictures)], np.int64)
    until = np.append(sampled[1:], form.clip_s * CLOCK_HZ)[: len(sampled)]
    samples = (form.sound.context + form.sound.window, form.sound.channels) if form.sound else (0, 1)
    return Clip(
        start=0,
        end=form.clip_s * CLOCK_HZ,
        frames=np.zeros((pictures, form.height, form.width, 3), np.uint8),
        shown=np.stack([sampled, until], axis=1),
        sampled=sampled,
        sound=np.zeros(samples, np.float32),
    )
