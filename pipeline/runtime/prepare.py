"""References in, windows out: fetch, probe, decode and cut for one lane. A plain class; an actor holds one.

Nothing that one item does disturbs another: an item that fails is a `Failed` in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.decode import (
    AudioDecoder,
    AvLimits,
    Cursor,
    Decoder,
    FilmSettings,
    ImageDecoder,
    ImageLimits,
    OnDamage,
    TextDecoder,
    VideoDecoder,
)
from operators.errors import ConfigError, Disposition, EmptyMediaError, MediatokError, ReferenceRefusedError
from operators.records import ContentFacts, EmptyReason, Failure, MediaReference, Modality, WindowBatch, WindowMeta
from operators.window import AudioView, ClipView, ImageView, View, parse_view
from pipeline.refs import PROBE_BYTES, Unrecognised, probe
from pipeline.runtime.contents import Content, Contents, Work


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """How a lane decodes.

    Attributes:
        image: limits of images; `av`: of sound and films.
        on_damage: what to do with files that end too early.
        threads: that a video decoder may use.
    """

    image: ImageLimits = field(default_factory=ImageLimits)
    av: AvLimits = field(default_factory=AvLimits)
    on_damage: OnDamage = OnDamage.REFUSE
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an item has no windows.

    Attributes:
        failure: for its letter.
        disposition: RETRY: the trouble outlasted the fetcher's budget but may pass; LETTER: it will not; STOP: the
            run must end.
    """

    failure: Failure
    disposition: Disposition


@dataclass(frozen=True, slots=True)
class NotMine:
    """The first bytes say that this lane can't have it.

    Attributes:
        modality: what they show; `Unrecognised.BINARY` where it is nothing that any lane could take.
    """

    modality: Modality | Unrecognised


@dataclass(frozen=True, slots=True)
class Cut:
    """An item's windows in one view.

    Attributes:
        row: of the first window in the view's batch; window i is row `row + i`.
        windows: ascending by start.
    """

    row: int
    windows: tuple[WindowMeta, ...]


@dataclass(frozen=True, slots=True)
class ItemReport:
    """What became of one lease.

    Attributes:
        facts: of its content; None where nothing was fetched.
        cuts: by view; one for each view of the lane, unless it `ended`.
        cursor: where the next lease goes on; None: this was all of its range.
        forks: where further ranges begin.
        ended: why there are no windows.
    """

    facts: ContentFacts | None = None
    cuts: Mapping[str, Cut] = field(default_factory=dict[str, Cut])
    cursor: Cursor | None = None
    forks: tuple[Cursor, ...] = ()
    ended: Failed | EmptyReason | NotMine | None = None


class Preparer:
    """Prepares the windows of one lane's products. One decode feeds all views."""

    def __init__(
        self, contents: Contents, modality: Modality, views: Sequence[str], settings: DecodeSettings | None = None
    ) -> None:
        """Set up.

        Args:
            contents: gives them: in memory for images and texts, on disk for sound and films.
            modality: the lane's.
            views: keys of the views that the lane's tokenizers take.
            settings: limits and the like.

        Raises:
            ConfigError: a view is unknown, or not of this modality.
        """
        self.modality = modality
        self._contents = contents
        self._views: dict[str, View[Any]] = {key: parse_view(key) for key in views}
        if not self._views:
            raise ConfigError(f"the {modality.value} lane has no views")
        for key, view in self._views.items():
            if view.modality is not modality:
                raise ConfigError(f"view {key!r} is of {view.modality.value}, the lane of {modality.value}")
        self._decoder = decoder_for(modality, list(self._views.values()), settings or DecodeSettings())

    def prepare(self, leases: Sequence[Work]) -> tuple[list[ItemReport], dict[str, WindowBatch]]:
        """A report a lease, in order, and a batch a view.

        Later items are fetched while earlier ones are decoded.
        """
        arrays: dict[str, list[Any]] = {key: [] for key in self._views}
        contents = self._contents.each(leases)
        reports = [self._item(lease, content, arrays) for lease, content in zip(leases, contents, strict=True)]
        return reports, {key: view.stack(arrays[key]) for key, view in self._views.items()}

    def forget(self, facts: ContentFacts, cursor: Cursor) -> None:
        """Nobody will ask for the segment at `cursor`: close what is open for it."""
        self._decoder.forget(facts, cursor)

    def _item(self, lease: Work, content: Content | MediatokError, arrays: Mapping[str, list[Any]]) -> ItemReport:
        if isinstance(content, MediatokError):
            return ItemReport(ended=_failed(content, lease.reference))
        try:
            if lease.reference.time_range_s is not None:
                # Better a letter than the tokens of something else under this name.
                raise ReferenceRefusedError("time_range_s: parts of recordings and films are not cut out yet")
            other = self._elsewhere(lease, content)
            if other is not None:
                return ItemReport(content.facts, ended=NotMine(other))
            segment = self._decoder.decode(content.body, content.facts, lease.cursor)
            cut = {key: view.windows(segment.decoded) for key, view in self._views.items()}
        except MediatokError as error:
            return ItemReport(content.facts, ended=_failed(error, lease.reference))
        if segment.cursor is None and lease.cursor is None and not segment.forks and not any(cut.values()):
            return ItemReport(content.facts, ended=EmptyReason.NO_TOKENS)
        cuts: dict[str, Cut] = {}
        for key, windows in cut.items():
            cuts[key] = Cut(len(arrays[key]), tuple(meta for meta, _ in windows))
            arrays[key].extend(array for _, array in windows)
        return ItemReport(content.facts, cuts, segment.cursor, segment.forks)

    def _elsewhere(self, lease: Work, content: Content) -> Modality | Unrecognised | None:
        """What an item is that is not this lane's."""
        modality = lease.reference.modality
        if modality is None and lease.cursor is None:
            found = probe(content.first(PROBE_BYTES))
            if found is Unrecognised.NO_CONTENT:
                raise EmptyMediaError("0 bytes, and nothing else says what it is")
            modality = found
        return None if modality in {None, self.modality} else modality


def decoder_for(modality: Modality, views: Sequence[View[Any]], settings: DecodeSettings) -> Decoder[Any, Any]:
    """The decoder that feeds views of one modality."""
    if modality is Modality.IMAGE:
        sizes = tuple((view.height, view.width) for view in views if isinstance(view, ImageView))
        return ImageDecoder(sizes, settings.image, settings.on_damage)
    if modality is Modality.TEXT:
        return TextDecoder()
    if modality is Modality.AUDIO:
        forms = tuple(view.form for view in views if isinstance(view, AudioView))
        return AudioDecoder(forms, settings.av, settings.on_damage)
    clips = tuple(view.form for view in views if isinstance(view, ClipView))
    return VideoDecoder(clips, FilmSettings(settings.av, settings.on_damage, settings.threads))


def _failed(error: MediatokError, reference: MediaReference) -> Failed:
    failure = error.failure()
    if reference.uri not in failure.message:
        failure = Failure(failure.code, failure.stage, f"{reference.uri}: {failure.message}", failure.stack)
    return Failed(failure, error.disposition)
