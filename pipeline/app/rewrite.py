"""`mediatok lake takedown` and `mediatok lake compact`: live files replaced by others."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from operators.errors import ConfigError
from operators.pack.rewrite import has_match
from pipeline.app.storage import open_lake, open_lake_to_commit
from pipeline.lake.lake import Lake
from pipeline.lake.outcomes import read_outcomes
from pipeline.lake.reader import product_key
from pipeline.lake.rewriting import Tally, Told, compact, find_repeats, groups, take_down
from pipeline.lake.takedown import taken_down_outcomes
from pipeline.observe import units
from pipeline.records import Predicate, PredicateField


def take_down_from(
    lake_uri: str,
    uris: Sequence[str],
    subject_keys: Sequence[str],
    licences: Sequence[str],
    config: Path | None,
    *,
    dry_run: bool,
) -> int:
    """Take everything down that has one of these uris, subject keys or licences. Returns the exit code.

    Raises:
        ConfigError: no such lake, or nothing was named.
    """
    named = {PredicateField.URI: uris, PredicateField.SUBJECT_KEY: subject_keys, PredicateField.LICENCE: licences}
    predicates = [Predicate(field, value) for field, values in named.items() for value in values]
    if not predicates:
        raise ConfigError("nothing to take down: name --uri, --subject-key or --licence")
    lake = open_lake(lake_uri, config) if dry_run else open_lake_to_commit(lake_uri, config)
    console = Console()
    if dry_run:
        _print_matches(lake, predicates, console)
        return 0
    with _shown("taken down") as told:
        tally = take_down(lake, predicates, told)
    lake.publish_live()
    console.print(
        f"{units.count(tally.taken_down)} items are void in version {tally.version}: {units.count(tally.replaced)} "
        f"files were replaced by {units.count(tally.added)}; nothing that is named comes in any more",
        markup=False,
    )
    console.print(
        f"The old files lie in the store, and old versions can be read, until\n  mediatok lake vacuum {lake_uri} "
        f"--to {tally.version}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def compact_lake(
    lake_uri: str, product: str | None, target_bytes: int, config: Path | None, *, dedupe: bool, dry_run: bool
) -> int:
    """Merge small shards, and with `dedupe` keep one row a `sample_id`. Returns the exit code.

    Raises:
        ConfigError: no such lake or product.
    """
    lake = open_lake(lake_uri, config) if dry_run else open_lake_to_commit(lake_uri, config)
    keys = list(lake.state.products) if product is None else [product_key(lake.state, product)]
    console = Console()
    for key in keys:
        repeats = find_repeats(lake, key) if dedupe else {}
        before = len(lake.state.shards[key])
        if dry_run:
            planned = list(groups(tuple(lake.state.shards[key].values()), target_bytes, repeats))
            rows = sum(int(mask.sum()) for mask in repeats.values())
            console.print(
                f"{key}: {sum(map(len, planned))} of {before} shards would become {len(planned)}"
                + (f", {units.count(rows)} repeated rows would go" if dedupe else ""),
                markup=False,
            )
            continue
        with _shown(key) as told:
            tally = compact(lake, key, target_bytes, repeats, told)
        after = len(lake.state.shards[key])
        line = f"{key}: {before} shards, {after} now"
        line += f"; {units.count(tally.duplicates)} items were repeated elsewhere" if dedupe else ""
        line += f"; {tally.stale} steps were overtaken by others: run again" if tally.stale else ""
        console.print(line, markup=False)
    if not dry_run:
        lake.publish_live()
    return 0


def _print_matches(lake: Lake, predicates: Sequence[Predicate], console: Console) -> None:
    values, shards, files = [(each.field.value, each.value) for each in predicates], 0, 0
    for path in (path for shards_ in lake.state.shards.values() for path in shards_):
        with tempfile.TemporaryDirectory(prefix="mediatok-takedown-") as folder:
            local = Path(folder) / "shard"
            lake.store.download(path, local)
            shards += has_match(local, values)
    for path in lake.state.outcomes:
        files += bool(taken_down_outcomes(*read_outcomes(lake.store.read(path)), frozenset(predicates)))
    console.print(f"{shards} shards and {files} files of letters would be replaced", markup=False)


@contextmanager
def _shown(what: str) -> Generator[Told]:
    """A line on standard error that counts, where that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=None)

        def told(tally: Tally) -> None:
            text = f"{what}: {tally.replaced} files replaced, {tally.taken_down + tally.duplicates} items gone"
            bars.update(task, description=text)

        yield told
