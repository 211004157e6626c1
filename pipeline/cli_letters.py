"""`mediatok dlq …`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli_common import JsonLines, LakeUri, Options, examples, leave

dlq_app = typer.Typer(help="Look at dead letters.", no_args_is_help=True)


@dlq_app.command(
    "ls", epilog=examples("mediatok dlq ls out/lake", "mediatok dlq ls out/lake --product image-rq --code 'fetch.*'")
)
def dlq_ls(
    lake: LakeUri,
    config: Options = None,
    product: Annotated[str | None, typer.Option("--product", help="Of this product only, by name or key.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="With this code only, e.g. decode.truncated.")] = None,
    as_json: JsonLines = False,
) -> None:
    """Open dead letters: origin, code, uri, message."""
    from pipeline.app.letters import list_letters

    leave(list_letters(lake, config, product, code, as_json=as_json))


@dlq_app.command("show", epilog=examples("mediatok dlq show out/lake kafka:abc/0/17/0"))
def dlq_show(
    lake: LakeUri,
    origin: Annotated[str, typer.Argument(help="source_id/partition/offset/item, as `dlq ls` prints it.")],
    config: Options = None,
    as_json: JsonLines = False,
) -> None:
    """One dead letter whole: stage, reason, stack, key, value and headers."""
    from pipeline.app.letters import show_letter

    leave(show_letter(lake, origin, config, as_json=as_json))
