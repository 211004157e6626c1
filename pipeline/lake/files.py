"""Data, outcome and live files: what commits name, and what readers open. Usable without the lake's state."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from operators.pack.shard import NothingLeft, filter_shard
from pipeline.lake.card import card
from pipeline.lake.codec import canonical_json
from pipeline.lake.delta import OutcomeFile
from pipeline.lake.history import read_if_there
from pipeline.lake.outcomes import outcome_bytes
from pipeline.lake.parts import outcome_file
from pipeline.lake.paths import README, index_path, live_path, outcomes_path, shard_dt, shard_path
from pipeline.lake.proposal import ShardFiltered
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore
from pipeline.records import Empty, Letter, Predicate, Shard, Span

LIVE_FORMAT = 1


def upload_shard(store: LakeStore, local: Path, product: str, index: bytes, *, dt: str, base: int, unique: str) -> str:
    """Bring a shard and its sidecar into the lake, where nobody sees them until a commit names them.

    Args:
        store: of the lake.
        local: the shard on local disk.
        product: key.
        index: the sidecar's bytes.
        dt: UTC date on which it was closed, YYYY-MM-DD.
        base: the version that the writer knows.
        unique: a fresh uuid.

    Returns:
        Its path below the lake's root.
    """
    path = shard_path(product, dt, base, unique)
    store.write(index_path(path), index)
    store.write(path, local)
    return path


def upload_filtered(
    store: LakeStore,
    shard: Shard,
    drop: Sequence[Span],
    *,
    base: int,
    unique: str,
    predicates: Sequence[Predicate] = (),
) -> ShardFiltered:
    """Bring in a copy of a shard that lacks the rows of some messages, and what predicates take down.

    The shard itself comes back where nothing had to go, None where no row is left.

    Raises:
        ShardCorruptError: the shard is not what was written.
    """
    with tempfile.TemporaryDirectory(prefix="mediatok-filter-") as folder:
        source, target = Path(folder) / "source.arrow", Path(folder) / "target.arrow"
        store.download(shard.path, source)
        dropped = [(span.log.source_id, span.log.partition, span.ranges) for span in drop]
        filtered = filter_shard(source, target, dropped, [(each.field.value, each.value) for each in predicates])
        taken_down, facts = filtered.matching, filtered.facts
        if isinstance(facts, NothingLeft):
            return ShardFiltered(None, taken_down)
        if facts.rows == shard.rows:
            return ShardFiltered(shard)
        dt = shard_dt(shard.path)
        path = upload_shard(store, target, shard.product, facts.index, dt=dt, base=base, unique=unique)
    new = Shard(shard.product, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256)
    return ShardFiltered(new, taken_down)


def write_outcomes(
    store: LakeStore, product: str, letters: Sequence[Letter], empties: Sequence[Empty], *, base: int, unique: str
) -> OutcomeFile:
    """Write the letters and empties of one product (key) to a new file."""
    path = outcomes_path(base, unique)
    store.write(path, outcome_bytes(letters, empties))
    return outcome_file(product, path, letters, empties)


def publish(store: LakeStore, state: LakeState) -> None:
    """Write each product's live list and the card, unless a later version's are there."""
    for product in state.products:
        if published_version(store, product) <= state.version:
            store.write(live_path(product), live_bytes(state, product))
    store.write(README, card(state))


def live_bytes(state: LakeState, product: str) -> bytes:
    """A product's live list: the files of one committed version, as paths below the lake's root."""
    counters = state.counters[product]
    return canonical_json(
        {
            "format": LIVE_FORMAT,
            "product": product,
            "version": state.version,
            "rows": counters.rows,
            "tokens": counters.tokens,
            "files": list(state.shards[product]),
        }
    )


def published_version(store: LakeStore, product: str) -> int:
    """The version of which a product's live list is; 0 where there is none."""
    body = read_if_there(store, live_path(product))
    return 0 if body is None else int(cast("dict[str, Any]", json.loads(body))["version"])
