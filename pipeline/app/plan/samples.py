"""References to measure with: a folder's files, else the demo's own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from operators.records import MediaReference, Modality, Origin
from pipeline.app.demo_folder import demo_media
from pipeline.app.demo_media import photographs
from pipeline.records import Message
from pipeline.refs import parse
from pipeline.source.media_files import Outgoing, media_messages

MOST = 256
"""Samples of a modality: more tell nothing new within the time that a plan takes."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Of one modality.

    Attributes:
        roots: folders that must be allowed to be read.
        own: they are the caller's, not the demo's.
    """

    references: tuple[MediaReference, ...]
    roots: tuple[Path, ...]
    own: bool


def samples_of(modality: Modality, media: Path | None, made: Path) -> Samples:
    """Up to `MOST` references of a modality.

    Args:
        media: a file or folder of the user's; None, or without anything of the modality: the demo's are taken.
        made: a folder for the demo's sound and films, which are made on the spot.

    Raises:
        ConfigError: the media can't be read, or the demo's packages are not installed.
    """
    if media is not None:
        found = (each for each in media_messages([str(media)]) if isinstance(each, Outgoing))
        references = _references(each for each in found if each.modality is modality)
        if references:
            root = media.expanduser().absolute()
            return Samples(references, (root if root.is_dir() else root.parent,), own=True)
    roots = (made.absolute(), *sorted({photograph.path.parent for photograph in photographs()}))
    return Samples(_references(_demo(modality, made)), roots, own=False)


def _demo(modality: Modality, made: Path) -> Iterator[Outgoing]:
    if modality in {Modality.IMAGE, Modality.TEXT}:
        for photograph in photographs():
            uri = photograph.path.as_uri()
            value = {"uri": uri, "modality": modality.value}
            value |= {"text": photograph.caption} if modality is Modality.TEXT else {}
            yield Outgoing(modality, uri, json.dumps(value).encode())
        return
    for medium in demo_media(made):
        if medium.modality is modality:
            uri = medium.path.absolute().as_uri()
            yield Outgoing(modality, uri, json.dumps({"uri": uri, "modality": modality.value}).encode())


def _references(messages: Iterable[Outgoing]) -> tuple[MediaReference, ...]:
    """As a run would read them from a topic."""
    read: list[MediaReference] = []
    for number, each in enumerate(itertools.islice(messages, MOST)):
        message = Message(Origin("plan", 0, number, 0), "plan", None, each.value)
        read += [item for item in parse(message).items if isinstance(item, MediaReference)]
    return tuple(read)
