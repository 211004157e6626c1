"""`mediatok lake …`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from pipeline.cli_common import AsJson, ConfigPath, JsonLines, LakeUri, Options, examples, leave

lake_app = typer.Typer(
    help="Look into a lake and look after it: products, log, verification, vacuum, takedown, card.",
    no_args_is_help=True,
)


@lake_app.command(
    "ls",
    epilog=examples(
        "mediatok lake ls out/lake",
        "mediatok lake ls s3://tokens/photos -c my.yaml --version 120",
        "mediatok lake ls out/lake --at 2026-11-24T10:00:00",
    ),
)
def lake_ls(
    lake: LakeUri,
    config: Options = None,
    version: Annotated[int | None, typer.Option("--version", help="As of this version of the log.")] = None,
    at: Annotated[
        datetime | None, typer.Option("--at", help="As of this time, UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Products with their rows, tokens, shards and open dead letters.

    Older versions can be read until vacuum raises the floor above them.
    """
    from pipeline.app.inspect import lake_list

    leave(lake_list(lake, config, version=version, at=at, as_json=as_json))


@lake_app.command(
    "log",
    epilog=examples("mediatok lake log out/lake -n 5", "mediatok lake log out/lake --product image-rq --from 100"),
)
def lake_log(
    lake: LakeUri,
    config: Options = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="So many versions.")] = 20,
    first: Annotated[
        int | None, typer.Option("--from", min=1, help="Begin with this version; without: the newest are shown.")
    ] = None,
    product: Annotated[
        str | None, typer.Option("--product", help="Only what concerns this product, by name or key.")
    ] = None,
    as_json: JsonLines = False,
) -> None:
    """The newest versions: what each one added, replaced and took down, and who committed it."""
    from pipeline.app.lake_log import lake_history

    leave(lake_history(lake, config, last, first=first, product=product, as_json=as_json))


@lake_app.command("verify", epilog=examples("mediatok lake verify s3://tokens/photos -c my.yaml"))
def lake_verify(lake: LakeUri, config: Options = None, as_json: AsJson = False) -> None:
    """Check hashes, counts, coverage and uniqueness of every row.

    Reads every live shard. Exit code 1 if anything is wrong.
    """
    from pipeline.app.inspect import verify

    leave(verify(lake, config, as_json=as_json))


@lake_app.command(
    "vacuum",
    epilog=examples(
        "mediatok lake vacuum s3://tokens/photos -c my.yaml --keep-days 7 --dry-run",
        "mediatok lake vacuum out/lake --keep-versions 100",
        "mediatok lake vacuum out/lake --to 4711",
    ),
)
def lake_vacuum(
    lake: LakeUri,
    config: Options = None,
    to: Annotated[int | None, typer.Option("--to", min=1, help="Keep this version and all after it.")] = None,
    keep_days: Annotated[
        float | None, typer.Option("--keep-days", min=0, help="Keep the state of so many days ago and all after it.")
    ] = None,
    keep_versions: Annotated[
        int | None, typer.Option("--keep-versions", min=1, help="Keep the newest so many versions.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give up old versions, and delete the files that only they name.

    Safe beside running coordinators. Files that a run has finished but not yet committed stay, unless they are older
    than what is kept: such a run makes them anew, so keep more than the longest commit takes.
    """
    from pipeline.app.vacuum import Keep, vacuum_lake

    since = None if keep_days is None else datetime.now(UTC) - timedelta(days=keep_days)
    leave(vacuum_lake(lake, config, Keep(to, since, keep_versions), dry_run=dry_run, as_json=as_json))


@lake_app.command("card", epilog=examples("mediatok lake card out/lake"))
def lake_card(lake: LakeUri, config: Options = None) -> None:
    """Write and print the dataset card, and write the live lists.

    The card (README.md) has a Hugging Face config for each product, and says how to open them.
    """
    from pipeline.app.inspect import write_card

    leave(write_card(lake, config))


@lake_app.command(
    "takedown",
    epilog=examples(
        "mediatok lake takedown s3://tokens/photos --subject-key user-4711 -c my.yaml",
        "mediatok lake takedown out/lake --uri file:///photos/a.jpg --dry-run",
    ),
)
def lake_takedown(
    lake: LakeUri,
    uri: Annotated[list[str] | None, typer.Option("--uri", help="Of objects; as often as needed.")] = None,
    subject_key: Annotated[list[str] | None, typer.Option("--subject-key", help="Of whom; as often as needed.")] = None,
    licence: Annotated[list[str] | None, typer.Option("--licence", help="That was withdrawn.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replaced.")] = False,
    config: Options = None,
) -> None:
    """Take rows and letters out, for good: nothing that is named comes in again, whoever has it in hand.

    Runs may go on meanwhile. Run it again after an interruption. The bytes are gone after `mediatok lake vacuum`.
    """
    from pipeline.app.rewrite import take_down_from

    leave(take_down_from(lake, uri or [], subject_key or [], licence or [], config, dry_run=dry_run))


@lake_app.command(
    "compact",
    epilog=examples("mediatok lake compact out/lake", "mediatok lake compact out/lake --product image-rq --dedupe"),
)
def lake_compact(
    lake: LakeUri,
    product: Annotated[str | None, typer.Option("--product", help="This one only, by name or key.")] = None,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Keep one row a sample_id: the first.")] = False,
    target_mib: Annotated[int, typer.Option("--target-mib", min=1, help="Size that shards should have.")] = 192,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be merged.")] = False,
    config: Options = None,
) -> None:
    """Merge small shards into large ones; with --dedupe, drop what was announced twice.

    Runs may go on meanwhile; what others replace first is left to the next time.
    """
    from pipeline.app.rewrite import compact_lake

    leave(compact_lake(lake, product, target_mib << 20, config, dedupe=dedupe, dry_run=dry_run))


@lake_app.command(
    "retokenize",
    epilog=examples(
        "mediatok lake retokenize my.yaml image-rq",
        "mediatok lake retokenize my.yaml image-rq --from image-rq-1a2b3c4d",
    ),
)
def lake_retokenize(
    config: ConfigPath,
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Its name or key, as in the config.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="KEY", help="Of this predecessor only; without: of all.")
    ] = None,
) -> None:
    """Make what earlier revisions of a product have rows of anew in the present one, in its original origins; then end.

    The rows say what to fetch: uri, version, attributes. What has changed since becomes a letter (fetch.superseded).

    What came inline, or meant a part of an object, stays as it is, and is counted. Open letters stay: `dlq replay`.

    Nothing is dropped. After a crash, run it again: it does what is left; `lake ls` tells how far it is.
    """
    from pipeline.app.retokenize import run_retokenize
    from pipeline.config import load_config

    leave(run_retokenize(load_config(config), str(config), product, source))
