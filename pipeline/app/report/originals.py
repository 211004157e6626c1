"""The originals of rows: fetched again by their URI, within the config's policy, if they are still the same bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.clips import Clip
from operators.decode import (
    AudioDecoder,
    AvLimits,
    Cursor,
    FilmSettings,
    ImageLimits,
    OnDamage,
    VideoDecoder,
    decode_image,
)
from operators.errors import MediatokError
from operators.forms import CLOCK_HZ, PcmForm
from operators.records import ContentFacts, MediaReference, Origin
from operators.window import AudioView, ClipView, ImageView, parse_view
from pipeline.app.report.rows import NotShownError, ProductRows
from pipeline.app.storage import storage_options
from pipeline.config import Config
from pipeline.fetch import Fetcher, FetchLimits, FetchPolicy
from pipeline.observe.report.samples import Pixels, Samples

_NOWHERE = Origin("report", 0, 0, 0)
_RETRY_S = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class OriginalFilm:
    """The beginning of a film, as its product's view cuts it.

    Attributes:
        frames: (seconds on the film's clock, `[H, W, 3]`), ascending.
        rate_hz: of the sound; 0 without.
        sound: from the film's start; None without.
    """

    frames: tuple[tuple[float, Pixels], ...] = ()
    rate_hz: int = 0
    sound: Samples | None = None


class Originals:
    """Fetches and decodes. Everything that is in the way is a `NotShownError` with its reason.

    Args:
        config: what may be fetched; None: nothing.
    """

    def __init__(self, config: Config | None) -> None:
        self._fetcher = _fetcher(config) if config else None
        self._max_pixels = config.fetch.max_pixels if config else 0

    def close(self) -> None:
        """Let go of connections."""
        if self._fetcher is not None:
            self._fetcher.close()

    def content(self, rows: ProductRows, row: int) -> tuple[bytes, ContentFacts]:
        """The very bytes that a row was made of.

        Raises:
            NotShownError: they can't be fetched, or are others now.
        """
        if self._fetcher is None:
            raise NotShownError("Nothing was fetched, for no config says what may be: pass one with -c.")
        uri, sha256 = str(rows.value(row, "uri")), str(rows.value(row, "sha256"))
        with _told():
            fetched = self._fetcher.fetch(MediaReference(uri, _NOWHERE))
        if fetched.facts.sha256 != sha256:
            raise NotShownError("What is there now is not what was tokenized: its sha256 is another one.")
        return fetched.content, fetched.facts

    def image(self, rows: ProductRows, row: int) -> Pixels:
        """`[H, W, 3]`: the window that was tokenized.

        Raises:
            NotShownError: as `content`, or it can't be decoded.
        """
        content, _ = self.content(rows, row)
        view = parse_view(rows.spec.view)
        assert isinstance(view, ImageView)
        on_damage = OnDamage.KEEP if rows.value(row, "partial") else OnDamage.REFUSE
        with _told():
            decoded = decode_image(content, ((view.height, view.width),), ImageLimits(self._max_pixels), on_damage)
        return view.windows(decoded)[0][1]

    def sound(self, rows: ProductRows, row: int, seconds: float) -> Samples:
        """`[N]`: at least its first seconds, if there are so many, as the tokenizer took them, mixed to mono.

        Raises:
            NotShownError: as `content`, or it can't be decoded.
        """
        view = parse_view(rows.spec.view)
        assert isinstance(view, AudioView)
        with self._file(rows, row) as (path, facts), _told():
            return _sound(path, facts, view.form, seconds, AvLimits(max_pixels=self._max_pixels))

    def film(self, rows: ProductRows, row: int, seconds: float) -> OriginalFilm:
        """At least its first seconds, if there are so many.

        Raises:
            NotShownError: as `content`, or it can't be decoded.
        """
        view = parse_view(rows.spec.view)
        assert isinstance(view, ClipView)
        with self._file(rows, row) as (path, facts), _told():
            return _film(path, facts, view, seconds, AvLimits(max_pixels=self._max_pixels))

    @contextmanager
    def _file(self, rows: ProductRows, row: int) -> Generator[tuple[Path, ContentFacts]]:
        content, facts = self.content(rows, row)
        with tempfile.TemporaryDirectory(prefix="mediatok-report-") as folder:
            path = Path(folder) / "original"
            path.write_bytes(content)
            yield path, facts


def mono(samples: npt.NDArray[Any]) -> Samples:
    """`[N, C]` or `[N]` -> `[N]`, all channels mixed."""
    mixed = samples if samples.ndim == 1 else samples.mean(axis=1)
    return mixed.astype(np.float32, copy=False)


@contextmanager
def _told() -> Generator[None]:
    """Errors of media and stores as reasons for people."""
    try:
        yield
    except MediatokError as error:
        raise NotShownError(f"{error.code}: {error}") from error


def _sound(path: Path, facts: ContentFacts, form: PcmForm, seconds: float, limits: AvLimits) -> Samples:
    decoder = AudioDecoder((form,), limits, OnDamage.KEEP)
    heard: list[Samples] = []
    cursor: Cursor | None = None
    while True:
        segment = decoder.decode(path, facts, cursor)
        heard.append(mono(segment.decoded.spans[form].samples[form.context :]))
        cursor = segment.cursor
        if cursor is None or sum(map(len, heard)) >= seconds * form.rate_hz:
            return np.concatenate(heard)


def _film(path: Path, facts: ContentFacts, view: ClipView, seconds: float, limits: AvLimits) -> OriginalFilm:
    decoder = VideoDecoder((view.form,), FilmSettings(limits, OnDamage.KEEP))
    clips: list[Clip] = []
    cursor: Cursor | None = None
    while not clips or (cursor is not None and clips[-1].end < seconds * CLOCK_HZ):
        segment = decoder.decode(path, facts, cursor)
        clips += segment.decoded.clips[view.form]
        cursor = segment.cursor
        if cursor is None:
            break
    frames = tuple(
        (at / CLOCK_HZ, frame) for clip in clips for at, frame in zip(clip.sampled.tolist(), clip.frames, strict=True)
    )
    form = view.form.sound
    if form is None or not any(len(clip.sound) for clip in clips):
        return OriginalFilm(frames)
    sound = np.zeros(round(clips[-1].end * form.rate_hz / CLOCK_HZ), np.float32)
    for clip in clips:
        samples = mono(clip.sound[form.context :])
        room = sound[round(clip.start * form.rate_hz / CLOCK_HZ) :][: len(samples)]
        room[:] = samples[: len(room)]
    return OriginalFilm(frames, form.rate_hz, sound)


def _fetcher(config: Config) -> Fetcher:
    fetch = config.fetch
    policy = FetchPolicy(
        schemes=frozenset(fetch.schemes),
        places=tuple(fetch.places),
        roots=tuple(str(root.absolute()) for root in fetch.roots),
        allow_private_addresses=fetch.allow_private_addresses,
    )
    # A report is not worth waiting long for: what does not come is left out, and said so.
    limits = FetchLimits(max_object_bytes=fetch.max_object_bytes, retry_budget_s=min(_RETRY_S, fetch.retry_s))
    return Fetcher(limits, policy, storage_options(config))
