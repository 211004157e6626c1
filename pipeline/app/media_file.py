"""One file of this machine, cut into windows without Ray, for the commands that look at single files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from operators.decode import Cursor
from operators.errors import ConfigError, NotFoundError
from operators.records import ContentFacts, Modality, WindowMeta
from operators.window import parse_view
from pipeline.fetch.local import file_version
from pipeline.refs.modality import PROBE_BYTES, Unrecognised, of_suffix, probe
from pipeline.runtime.prepare import DecodeSettings, decoder_for

_CONTAINERS = frozenset({Modality.AUDIO, Modality.VIDEO})
"""Either may be taken for the other: names of containers do not tell whether there is a picture."""
DEFAULT_TOKENIZERS = {
    Modality.IMAGE: "image-rq",
    Modality.AUDIO: "audio-mdct",
    Modality.VIDEO: "video-interleaved",
    Modality.TEXT: "text-bpe",
}


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file and what is known of it."""

    path: Path
    modality: Modality
    facts: ContentFacts

    def windows(self, view_key: str) -> Iterator[list[tuple[WindowMeta, Any]]]:
        """Its windows in one view, segment by segment, in order.

        Raises:
            MediaError: it can't be decoded.
            ConfigError: there is no such view, or it is of another modality.
        """
        view = parse_view(view_key)
        if view.modality is not self.modality:
            raise ConfigError(f"{self.path} is {self.modality}, but {view_key} cuts {view.modality}")
        decoder = decoder_for(self.modality, [view], DecodeSettings())
        whole = self.modality in {Modality.IMAGE, Modality.TEXT}
        content = self.path.read_bytes() if whole else self.path
        ranges: list[Cursor | None] = [None]
        while ranges:
            cursor = ranges.pop(0)
            segment = decoder.decode(content, self.facts, cursor)
            ranges = [*([segment.cursor] if segment.cursor is not None else []), *segment.forks, *ranges]
            yield list(view.windows(segment.decoded))


def open_file(path: Path, wanted: Modality | None = None) -> MediaFile:
    """A file, its modality by its name or else its first bytes.

    Args:
        path: of the file.
        wanted: what it is to be taken for: a film for its sound, or what nothing else tells.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: nothing tells its modality, or it is of another one than wanted.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        found = of_suffix(path.name) or probe(file.read(PROBE_BYTES))
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if wanted is not None and (isinstance(found, Unrecognised) or {found, wanted} <= _CONTAINERS):
        found = wanted
    if isinstance(found, Unrecognised):
        raise ConfigError(f"{path}: neither its name nor its first bytes tell what it is; say so with --tokenizer")
    if wanted is not None and wanted is not found:
        raise ConfigError(f"{path} is of {found.value}; what was asked for takes {wanted.value}")
    status = path.stat()
    return MediaFile(path, found, ContentFacts(file_version(status), sha256, status.st_size))


def parse_options(given: list[str]) -> Mapping[str, Any]:
    """["layers=2", "size=[256, 320]"] -> their values, read as YAML.

    Raises:
        ConfigError: one is no `name=value`.
    """
    options: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise ConfigError(f"--option {each!r}: must be name=value, e.g. layers=2")
        try:
            options[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--option {each!r}: the value is no YAML: {error}") from error
    return options
