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
