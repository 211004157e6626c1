"""Files and URIs -> our messages, one each, with the modality that tells their topic."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from operators.errors import ConfigError
from operators.records import Modality
from pipeline.refs.modality import PROBE_BYTES, Unrecognised, of_suffix, probe

CAPTION_BYTES: Final = 16 << 10
"""A text beside an image that is longer is no caption."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish.

    Attributes:
        modality: tells its topic.
        uri: of what it names; its key too, so that one object's messages stay in order.
        value: our JSON message.
    """

    modality: Modality
    uri: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A file that nobody would know what to do with, and why."""

    uri: str
    reason: Unrecognised


def media_messages(places: Iterable[str]) -> Iterator[Outgoing | Unclaimed]:
    """One message a file.

    A folder gives all files below it, by name, but hidden ones (`.name`). A text beside a file of the same name
    (`x.txt`, `x.jpg`) is that file's `caption`, and a text of its own as well. Of what is not on this machine only the
    suffix is looked at.

    Raises:
        ConfigError: there is no such file or folder, or it may not be read.
    """
    for place in places:
        if "://" in place and not place.startswith("file://"):
            modality = of_suffix(place)
            if modality is None:
                yield Unclaimed(place, Unrecognised.NO_CONTENT)
            else:
                yield Outgoing(modality, place, _json({"uri": place, "modality": modality.value}))
            continue
        try:
            for file in _files(_path(place)):
                yield _message(file)
        except OSError as error:
            raise ConfigError(f"{error.filename or place}: {error.strerror or error}") from error


def _path(place: str) -> Path:
    if place.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        place = unquote(urlsplit(place).path)
    return Path(place).expanduser().absolute()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if not entry.name.startswith("."):
            yield from _files(entry)


def _message(file: Path) -> Outgoing | Unclaimed:
    uri, size_bytes = file.as_uri(), file.stat().st_size
    modality = of_suffix(file.name) or _probed(file)
    if isinstance(modality, Unrecognised):
        return Unclaimed(uri, modality)
    message: dict[str, Any] = {"uri": uri, "modality": modality.value, "size_bytes": size_bytes}
    caption = "" if modality is Modality.TEXT else _caption(file.with_suffix(".txt"))
    if caption:
        message["attributes"] = {"caption": caption}
    return Outgoing(modality, uri, _json(message))


def _probed(file: Path) -> Modality | Unrecognised:
    with file.open("rb") as content:
        return probe(content.read(PROBE_BYTES))


def _caption(beside: Path) -> str:
    if not beside.is_file() or beside.stat().st_size > CAPTION_BYTES:
        return ""
    return beside.read_text(encoding="utf-8", errors="replace").strip()


def _json(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
