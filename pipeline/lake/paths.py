"""What every file below the lake's root is called."""

from __future__ import annotations

import re

from operators.errors import InvariantError

README = "README.md"
LAST = "_meta/last"
CHECKPOINTS = "_meta/checkpoints/"
DATA = "data/"
INDEX = "_meta/index/"
LETTERS = "_meta/letters/"
LIVE = "_meta/live/"

_BASE = re.compile(r"(?:^|/)(?:part-)?(\d+)-[^/]*$")
_CHECKPOINT = re.compile(r"^_meta/checkpoints/(\d+)\.zip$")


def version_path(version: int) -> str:
    """Of a log version; a thousand to a folder."""
    return f"_meta/log/{version // 1000:06d}/{version:09d}.json"


def checkpoint_path(version: int) -> str:
    """Of the checkpoint of versions 1..`version`."""
    return f"{CHECKPOINTS}{version:09d}.zip"


def checkpoint_version(path: str) -> int | None:
    """Back from `checkpoint_path`; None for any other file."""
    found = _CHECKPOINT.match(path)
    return int(found.group(1)) if found else None


def shard_path(product: str, dt: str, base: int, unique: str) -> str:
    """Of a data file.

    Args:
        product: key.
        dt: UTC date on which it was closed, YYYY-MM-DD.
        base: the version that its writer knew.
        unique: a uuid.
    """
    return f"{DATA}product={product}/dt={dt}/part-{base}-{unique}.arrow"


def index_path(shard: str) -> str:
    """Of a shard's sidecar."""
    return f"{INDEX}{shard.rpartition('/')[2].removesuffix('.arrow')}.idx"


def shard_dt(shard: str) -> str:
    """The date in a shard's path."""
    return shard.split("/")[-2].removeprefix("dt=")


def outcomes_path(base: int, unique: str) -> str:
    """Of a file of letters and empties."""
    return f"{LETTERS}{base}-{unique}.jsonl"


def live_path(product: str) -> str:
    """Of a product's list of live files."""
    return f"{LIVE}{product}.json"


def base_of(path: str) -> int:
    """The version that the writer of a shard or an outcomes file knew: it stands in the name.

    Raises:
        InvariantError: no name of ours.
    """
    found = _BASE.search(path)
    if found is None:
        raise InvariantError(f"{path!r} does not say which version its writer knew (…-<base>-<uuid>…)")
    return int(found.group(1))
