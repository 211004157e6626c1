"""Replacing live files: merged, without duplicates, without what is taken down. Whoever else commits meanwhile wins.

Each step is a commit of its own, so a crash leaves whole steps behind and running again goes on from there. A step
whose inputs somebody else replaced is stale: it is simply not made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.pack.rewrite import (
    Rewritten,
    SampleRows,
    Values,
    has_match,
    merge_shards,
    repeated_rows,
    sample_rows,
)
from operators.pack.shard import NothingLeft
from pipeline.lake.delta import OutcomeFile, Rewrite
from pipeline.lake.lake import Lake
from pipeline.lake.outcomes import read_outcomes
from pipeline.lake.paths import base_of, shard_dt
from pipeline.lake.proposal import Proposal
from pipeline.lake.store import NoSuchFileError
from pipeline.lake.takedown import taken_down_outcomes
from pipeline.records import Predicate, Shard

Repeats = Mapping[str, npt.NDArray[np.bool_]]
"""By path, which rows `[rows]` another row repeats; shards without any are left out."""


@dataclass(slots=True)
class Tally:
    """What rewriting has done so far; files and items.

    Attributes:
        stale: steps that somebody else made needless.
    """

    replaced: int = 0
    added: int = 0
    taken_down: int = 0
    duplicates: int = 0
    stale: int = 0
    version: int = 0


Told = Callable[[Tally], None]

READERS = 4
REWRITES_A_COMMIT = 16


def compact(lake: Lake, product: str, target_bytes: int, repeats: Repeats, told: Told) -> Tally:
    """Merge neighbouring small shards of a product (key), and drop rows that others repeat.

    Args:
        lake: to change.
        product: key.
        target_bytes: the size that shards should have.
        repeats: from `find_repeats`, or nothing.
        told: hears of each step.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    tally = Tally()
    for group in groups(tuple(lake.state.shards[product].values()), target_bytes, repeats):
        try:
            _merge(lake, group, repeats, tally)
        except NoSuchFileError:
            # Somebody replaced it, and vacuum was faster than this.
            if all(lake.refresh().is_live(shard.product, shard.path) for shard in group):
                raise
            tally.stale += 1
        told(tally)
    return tally


def _merge(lake: Lake, group: Sequence[Shard], repeats: Repeats, tally: Tally) -> None:
    with tempfile.TemporaryDirectory(prefix="mediatok-compact-") as folder:
        paths = [_fetched(lake, shard, Path(folder) / f"{number}") for number, shard in enumerate(group)]
        masks = [repeats.get(shard.path) for shard in group]
        made = merge_shards(paths, Path(folder) / "merged", _values(lake), masks)
        _commit(lake, (_rewrite(lake, group, made, Path(folder) / "merged"),), tally)


def groups(shards: Sequence[Shard], target_bytes: int, repeats: Repeats) -> Iterator[tuple[Shard, ...]]:
    """Runs of neighbours of one date that fit into a shard together; those that would stay as they are are left out."""
    group = list[Shard]()
    for shard in (*shards, None):
        same = shard is not None and (not group or shard_dt(group[-1].path) == shard_dt(shard.path))
        if shard is None or not same or sum(each.size_bytes for each in (*group, shard)) > target_bytes:
            if len(group) > 1 or any(each.path in repeats for each in group):
                yield tuple(group)
            group.clear()
        if shard is not None:
            group.append(shard)


def find_repeats(lake: Lake, product: str) -> Repeats:
    """Rows of a product (key) whose `sample_id` a row of a lesser origin has: so whoever looks for them finds the same.

    Reads every live shard; takes some 100 bytes of memory a row.

    Raises:
        ShardCorruptError: a shard is not what was written.
    """
    shards, rows = list(lake.state.shards[product].values()), list[SampleRows]()
    for shard in shards:
        with tempfile.TemporaryDirectory(prefix="mediatok-ids-") as folder:
            rows.append(sample_rows(_fetched(lake, shard, Path(folder) / "shard")))
    masks = zip(shards, repeated_rows(rows), strict=True)
    return {shard.path: mask for shard, mask in masks if mask.any()}


def take_down(lake: Lake, predicates: Sequence[Predicate], told: Told) -> Tally:
    """Commit predicates, then rewrite every older file in which something of the kind is found.

    From the first commit on nothing is added that they name, so the second part ends however busy the lake is. What is
    replaced stays in the store until it is vacuumed.

    Raises:
        StoreUnavailableError: the store does not answer; run again to go on.
    """
    tally = Tally()
    tally.version = lake.commit(Proposal(predicates=tuple(predicates))).version
    newest = max(lake.state.predicates[predicate] for predicate in predicates)
    clean = set[str]()
    while older := _older(lake, newest, clean):
        try:
            for matching in _matching(lake, older, clean):
                _commit(lake, matching, tally)
                told(tally)
        except NoSuchFileError:
            # Somebody replaced it, and vacuum was faster than this: what is live now is looked at anew.
            before = _older(lake, newest, clean)
            lake.refresh()
            if _older(lake, newest, clean) == before:
                raise
    return tally


def _older(lake: Lake, version: int, clean: set[str]) -> list[Shard | OutcomeFile]:
    """Live files whose writers did not know this version, less those that have been looked at."""
    state = lake.state
    shards = (shard for shards in state.shards.values() for shard in shards.values())
    return [
        each for each in (*shards, *state.outcomes.values()) if each.path not in clean and base_of(each.path) < version
    ]


def _matching(lake: Lake, older: Sequence[Shard | OutcomeFile], clean: set[str]) -> Iterator[tuple[Rewrite, ...]]:
    """What the files in which something is found are to be replaced by, some at a time; the others are `clean`."""
    values, predicates = _values(lake), frozenset(lake.state.predicates)

    def matches(file: Shard | OutcomeFile) -> bool:
        if isinstance(file, OutcomeFile):
            return bool(taken_down_outcomes(*read_outcomes(lake.store.read(file.path)), predicates))
        with tempfile.TemporaryDirectory(prefix="mediatok-takedown-") as folder:
            return has_match(_fetched(lake, file, Path(folder) / "shard"), values)

    made = list[Rewrite]()
    with ThreadPoolExecutor(READERS) as pool:
        for file, found in zip(older, pool.map(matches, older), strict=True):
            if not found:
                clean.add(file.path)
            elif lake.state.is_live(file.product, file.path):
                made.append(
                    _without_outcomes(lake, file) if isinstance(file, OutcomeFile) else _without_rows(lake, file)
                )
            if len(made) == REWRITES_A_COMMIT:
                yield tuple(made)
                made.clear()
    if made:
        yield tuple(made)


def _without_rows(lake: Lake, shard: Shard) -> Rewrite:
    with tempfile.TemporaryDirectory(prefix="mediatok-takedown-") as folder:
        path = _fetched(lake, shard, Path(folder) / "shard")
        made = merge_shards([path], Path(folder) / "kept", _values(lake))
        return _rewrite(lake, (shard,), made, Path(folder) / "kept")


def _without_outcomes(lake: Lake, file: OutcomeFile) -> Rewrite:
    letters, empties = read_outcomes(lake.store.read(file.path))
    gone = taken_down_outcomes(letters, empties, lake.state.predicates.keys())
    kept_letters = [letter for letter in letters if letter.origin not in gone]
    kept_empties = [empty for empty in empties if empty.origin not in gone]
    new = (lake.write_outcomes(file.product, kept_letters, kept_empties),) if kept_letters or kept_empties else ()
    # A letter that a replay has closed has another outcome since: it goes, but nothing becomes void by that.
    void = {letter.origin for letter in letters if lake.state.has_open_letter(file.product, file.path, letter.origin)}
    void |= {empty.origin for empty in empties}
    opened = lake.state.open_count(file.product, file.path)
    return Rewrite(file.product, (file.path,), outcomes=new, taken_down=len(gone & void), open_letters=opened)


def _rewrite(lake: Lake, group: Sequence[Shard], made: Rewritten, local: Path) -> Rewrite:
    product, added = group[0].product, tuple[Shard, ...]()
    if not isinstance(made.facts, NothingLeft):
        facts = made.facts
        path = lake.upload_shard(local, product, facts.index, shard_dt(group[0].path))
        added = (Shard(product, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256),)
    removes = tuple(shard.path for shard in group)
    return Rewrite(product, removes, added, (), made.taken_down, made.duplicates)


def _commit(lake: Lake, rewrites: tuple[Rewrite, ...], tally: Tally) -> None:
    done = lake.commit(Proposal(rewrites=rewrites))
    tally.version = done.version
    tally.stale += len(done.stale_rewrites)
    for rewrite in done.delta.rewrites if done.delta else ():
        tally.replaced += len(rewrite.removes)
        tally.added += len(rewrite.shards) + len(rewrite.outcomes)
        tally.taken_down += rewrite.taken_down
        tally.duplicates += rewrite.duplicates


def _fetched(lake: Lake, shard: Shard, local: Path) -> Path:
    lake.store.download(shard.path, local)
    return local


def _values(lake: Lake) -> Values:
    return [(predicate.field.value, predicate.value) for predicate in lake.state.predicates]
