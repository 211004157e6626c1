"""`mediatok dlq …`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli_common import ConfigPath, JsonLines, LakeUri, Options, examples, leave

dlq_app = typer.Typer(help="Look at dead letters, replay them, copy them to Kafka.", no_args_is_help=True)


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


@dlq_app.command(
    "replay",
    epilog=examples(
        "mediatok dlq replay my.yaml --dry-run",
        "mediatok dlq replay my.yaml --code 'fetch.*'",
        "mediatok dlq replay my.yaml --product image-rq --origin kafka:abc/0/17/0",
    ),
)
def dlq_replay(
    config: ConfigPath,
    product: Annotated[str | None, typer.Option("--product", help="Of this product only, by name or key.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="With this code only; may hold wildcards.")] = None,
    origin: Annotated[str | None, typer.Option("--origin", help="This one, as `dlq ls` prints it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be replayed.")] = False,
) -> None:
    """Try open dead letters again, from the lake alone, and end. A live run may go on meanwhile.

    A letter is closed in the commit that adds its rows. What fails again stays open, with its tries added up.

    Where some of a message's letters in a product are chosen, its others there go with them: they close together.

    Letters of an earlier revision go into the present one. After a crash, run it again: it does what is left.

    Exit code 0 even where letters stay open; 1 where a lane had to stop.
    """
    from pipeline.app.replay import run_replay
    from pipeline.config import load_config

    leave(run_replay(load_config(config), str(config), product, code, origin, dry_run=dry_run))


@dlq_app.command(
    "copy",
    epilog=examples(
        "mediatok dlq copy my.yaml --topic media.letters",
        "mediatok dlq copy my.yaml --topic media.letters --once",
    ),
)
def dlq_copy(
    config: ConfigPath,
    topic: Annotated[str, typer.Option("--topic", help="To copy into; of the config's broker.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Of the place that is kept in the lake; without: the topic's.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when everything there is is copied.")] = False,
) -> None:
    """Copy letters from the lake to a Kafka topic as they come, the first time from the first one ever on.

    Each comes at least once, with its message's key, value and headers, and with headers of ours, mediatok.*:
    original.topic, original.partition, original.offset, original.source_id, original.item, error.code, error.stage,
    error.message, uri, product, attempts, at_ms, version.

    A letter that was replayed in vain is copied again. The lake's letters are the truth: nothing reads the copy.

    Goes on until SIGTERM or Ctrl-C. How far it is stands in the lake, so that it can go on from any machine.
    """
    from pipeline.app.letter_copy import run_copy
    from pipeline.config import load_config

    leave(run_copy(load_config(config), topic, name, once=once))
