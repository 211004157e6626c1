"""`mediatok lake …`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli_common import AsJson, JsonLines, LakeUri, Options, examples, leave

lake_app = typer.Typer(help="Look into a lake: products, log, verification, card.", no_args_is_help=True)


@lake_app.command("ls", epilog=examples("mediatok lake ls out/lake", "mediatok lake ls s3://tokens/photos -c my.yaml"))
def lake_ls(lake: LakeUri, config: Options = None, as_json: AsJson = False) -> None:
    """Products with their rows, tokens, shards and open dead letters."""
    from pipeline.app.inspect import lake_list

    leave(lake_list(lake, config, as_json=as_json))


@lake_app.command("log", epilog=examples("mediatok lake log out/lake -n 5"))
def lake_log(
    lake: LakeUri,
    config: Options = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="So many versions.")] = 20,
    as_json: JsonLines = False,
) -> None:
    """The newest versions: what each one added."""
    from pipeline.app.inspect import lake_history

    leave(lake_history(lake, config, last, as_json=as_json))


@lake_app.command("verify", epilog=examples("mediatok lake verify s3://tokens/photos -c my.yaml"))
def lake_verify(lake: LakeUri, config: Options = None, as_json: AsJson = False) -> None:
    """Check hashes, counts, coverage and uniqueness of every row.

    Reads every live shard. Exit code 1 if anything is wrong.
    """
    from pipeline.app.inspect import verify

    leave(verify(lake, config, as_json=as_json))


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
