"""`mediatok lake vacuum`: give up old versions, and delete what only they name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from operators.errors import ConfigError
from pipeline.app.inspect import print_json
from pipeline.app.storage import open_lake, open_lake_to_commit
from pipeline.lake.lake import Lake
from pipeline.lake.travel import Moment, resolve, version_at
from pipeline.lake.vacuum import Deleted, FileKind, Plan, delete, plan_vacuum, set_floor
from pipeline.observe import units
from pipeline.observe.status_table import plain_table

_FOREIGN_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays readable; one of these.

    Attributes:
        from_version: this version and all after it.
        since: the state of then and all after it.
        versions: the newest so many.
    """

    from_version: int | None = None
    since: datetime | None = None
    versions: int | None = None


def vacuum_lake(lake_uri: str, config: Path | None, keep: Keep, *, dry_run: bool, as_json: bool = False) -> int:
    """Raise the floor, then delete. Returns the exit code.

    Raises:
        ConfigError: there is no lake or no such version, or not one thing to keep is given.
    """
    lake = open_lake(lake_uri, config) if dry_run else open_lake_to_commit(lake_uri, config)
    floor = max(_floor(lake, keep), lake.state.min_base)
    if not dry_run:
        set_floor(lake, floor)
        floor = lake.state.min_base
    plan, gone = plan_vacuum(lake.store, floor), list[Deleted]()
    console = Console(stderr=as_json)
    if dry_run:
        gone = [Deleted(file, lake.store.size(file.path)) for file in plan.doomed]
    elif plan.doomed:
        columns = (TextColumn("deleting"), MofNCompleteColumn(), TextColumn("files"))
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=len(plan.doomed))

            def deleted(each: Deleted) -> None:
                gone.append(each)
                progress.advance(task)

            delete(lake.store, plan, deleted)
    if as_json:
        _print_json(lake, plan, gone, dry_run=dry_run)
    else:
        _print(console, plan, gone, dry_run=dry_run)
    return 0


def _floor(lake: Lake, keep: Keep) -> int:
    given = [each for each in (keep.from_version, keep.since, keep.versions) if each is not None]
    if len(given) != 1:
        raise ConfigError("say what stays readable: one of --to VERSION, --keep-days N and --keep-versions N")
    if keep.versions is not None:
        return max(1, lake.state.version - keep.versions + 1)
    if keep.from_version is not None:
        return resolve(lake.store, lake.state, Moment(version=keep.from_version))
    assert keep.since is not None
    return max(1, version_at(lake.store, lake.state.version, keep.since))


def _print(console: Console, plan: Plan, gone: list[Deleted], *, dry_run: bool) -> None:
    if gone:
        table = plain_table("files", "count", "size")
        for kind, (count, size_bytes) in _by_kind(gone).items():
            table.add_row(kind.value, units.count(count), units.size(size_bytes))
        console.print(table)
        console.print()
    what = "would be deleted" if dry_run else "deleted"
    size_bytes = sum(each.size_bytes for each in gone)
    console.print(f"{units.count(len(gone))} files {what}, {units.size(size_bytes)}")
    then = "could be read then" if dry_run else "can be read"
    console.print(f"versions from {units.count(plan.floor)} on {then}", highlight=False)
    if plan.in_flight:
        console.print(f"{units.count(plan.in_flight)} files that no version names may be in flight, and stay")
    for path in plan.foreign[:_FOREIGN_SHOWN]:
        console.print(f"not ours, stays: {path}", markup=False, soft_wrap=True)
    if len(plan.foreign) > _FOREIGN_SHOWN:
        console.print(f"and {units.count(len(plan.foreign) - _FOREIGN_SHOWN)} more that are not ours")


def _print_json(lake: Lake, plan: Plan, gone: list[Deleted], *, dry_run: bool) -> None:
    print_json(
        {
            "lake": lake.uri,
            "dry_run": dry_run,
            "floor": plan.floor,
            "deleted": {
                kind.value: {"files": count, "size_bytes": size_bytes}
                for kind, (count, size_bytes) in _by_kind(gone).items()
            },
            "in_flight": plan.in_flight,
            "foreign": list(plan.foreign),
        }
    )


def _by_kind(gone: list[Deleted]) -> dict[FileKind, tuple[int, int]]:
    counts, sizes = Counter[FileKind](), Counter[FileKind]()
    for each in gone:
        counts[each.file.kind] += 1
        sizes[each.file.kind] += each.size_bytes
    return {kind: (counts[kind], sizes[kind]) for kind in FileKind if counts[kind]}
