"""The command line. Parses, calls `pipeline.app`, turns errors into one clear message and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from operators.errors import MediatokError

app = typer.Typer(
    name="mediatok",
    help="Tokenize images, audio, video and text from Kafka into an exactly-once Arrow lake, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
lake_app = typer.Typer(help="Look into a lake.", no_args_is_help=True)
dlq_app = typer.Typer(help="Look at dead letters.", no_args_is_help=True)
simulate_app = typer.Typer(help="Run the production core under a virtual clock, with faults.", no_args_is_help=True)
app.add_typer(lake_app, name="lake")
app.add_typer(dlq_app, name="dlq")
app.add_typer(simulate_app, name="simulate")

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.")]
LakeUri = Annotated[str, typer.Argument(metavar="LAKE", help="A folder or s3://bucket/prefix.")]
Options = Annotated[
    Path | None, typer.Option("--config", "-c", help="Take the store's options (endpoint, secrets) from this config.")
]
StateDir = Annotated[Path, typer.Option("--state", help="The run's state folder, as in its config.")]


@app.command()
def run(
    config: ConfigPath,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when everything there is is committed.")
    ] = False,
) -> None:
    """Tokenize continuously. SIGTERM or Ctrl-C drains, commits and leaves.

    Examples:
      mediatok run infra/mediatok.example.yaml

      mediatok run my.yaml --until-idle
    """
    from pipeline.app.run import run_config
    from pipeline.config import load_config

    _exit(run_config(load_config(config), until_idle=until_idle))


@app.command()
def check(config: ConfigPath) -> None:
    """Look before a run: config, broker and topics, store and conditional puts, pools against the cluster.

    Example:
      mediatok check my.yaml
    """
    from pipeline.app.check import check_config
    from pipeline.config import load_config

    _exit(check_config(load_config(config)))


@app.command()
def backfill(
    uris: Annotated[
        list[str], typer.Argument(metavar="URI...", help="Prefixes, globs or manifests (parquet, jsonl, csv).")
    ],
    lake: Annotated[str, typer.Option("--lake", help="Where the tokens go.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Lanes, limits and storage options; without: the defaults.")
    ] = None,
) -> None:
    """Tokenize everything under some URIs. Run it again to resume, or to add what is new.

    Examples:
      mediatok backfill s3://photos/2026/ --lake s3://tokens/photos -c my.yaml

      mediatok backfill 'photos/**/*.jpg' --lake out/lake

      mediatok backfill manifest.parquet --lake out/lake
    """
    from pipeline.app.backfill import run_backfill

    _exit(run_backfill(uris, lake, config))


@app.command()
def publish(
    media: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    bootstrap: Annotated[str, typer.Option("--bootstrap", "-b", help="The broker's address.")],
    topic: Annotated[str, typer.Option("--topic", help="{modality} stands for image, audio, video or text.")] = (
        "media.{modality}"
    ),
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take Kafka's properties from this config.")
    ] = None,
) -> None:
    """Publish references to local files, one message a file.

    Examples:
      mediatok publish photos/ --bootstrap localhost:9092

      mediatok publish a.jpg b.txt -b broker:9093 -c my.yaml --topic media.{modality}
    """
    from pipeline.app.publish import publish_paths

    _exit(publish_paths(media, bootstrap, topic, config))


@app.command()
def demo(
    media: Annotated[
        Path | None, typer.Option("--media", help="A folder of your own instead of the shipped photographs.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where lake and state go.")] = Path("out"),
) -> None:
    """What `make run` shows: embedded broker, local Ray, photographs and captions into a lake on this disk.

    Examples:
      mediatok demo

      mediatok demo --media ~/Pictures
    """
    from pipeline.app.demo import run_demo

    _exit(run_demo(media, out))


@app.command()
def status(
    state: StateDir = Path("out/state"),
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """What a running mediatok does and what it waits for.

    Examples:
      mediatok status

      mediatok status --state /var/lib/mediatok --json
    """
    from pipeline.app.inspect import show_status

    _exit(show_status(state, as_json=as_json))


@app.command()
def fit(
    tokenizer: Annotated[str, typer.Argument(help="image-rq or text-bpe.")],
    media: Annotated[Path, typer.Option("--media", help="A folder of training files.")],
    out: Annotated[Path, typer.Option("--out", help="The weights; a card is written beside them.")],
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds and files give equal weights.")] = 0,
) -> None:
    """Train a tokenizer on your own files.

    Example:
      mediatok fit image-rq --media photos/ --out my-rq.safetensors
    """
    from pipeline.app.fit import fit_tokenizer

    _exit(fit_tokenizer(tokenizer, media, out, seed))


@lake_app.command("ls")
def lake_ls(lake: LakeUri, config: Options = None) -> None:
    """Products with their rows, tokens, shards and letters.

    Example:
      mediatok lake ls out/lake
    """
    from pipeline.app.inspect import lake_list

    _exit(lake_list(lake, config))


@lake_app.command("log")
def lake_log(
    lake: LakeUri,
    config: Options = None,
    last: Annotated[int, typer.Option("--last", "-n", help="So many versions.")] = 20,
) -> None:
    """The newest versions: what each one added.

    Example:
      mediatok lake log out/lake -n 5
    """
    from pipeline.app.inspect import lake_history

    _exit(lake_history(lake, config, last))


@lake_app.command("verify")
def lake_verify(lake: LakeUri, config: Options = None) -> None:
    """Check hashes, counts, coverage and uniqueness of every row. Exit code 1 if anything is wrong.

    Example:
      mediatok lake verify s3://tokens/photos -c my.yaml
    """
    from pipeline.app.inspect import verify

    _exit(verify(lake, config))


@lake_app.command("card")
def lake_card(lake: LakeUri, config: Options = None) -> None:
    """Write and print the dataset card (README.md), with a Hugging Face config for each product.

    Example:
      mediatok lake card out/lake
    """
    from pipeline.app.inspect import write_card

    _exit(write_card(lake, config))


@dlq_app.command("ls")
def dlq_ls(
    lake: LakeUri,
    config: Options = None,
    product: Annotated[str | None, typer.Option("--product", help="Of this product only.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="With this code only, e.g. decode.truncated.")] = None,
) -> None:
    """Dead letters: origin, code, uri, message.

    Example:
      mediatok dlq ls out/lake --code fetch.not_found
    """
    from pipeline.app.inspect import list_letters

    _exit(list_letters(lake, config, product, code))


@dlq_app.command("show")
def dlq_show(
    lake: LakeUri,
    origin: Annotated[str, typer.Argument(help="source_id/partition/offset/item, as `dlq ls` prints it.")],
    config: Options = None,
) -> None:
    """One dead letter whole: stage, reason, stack, original key, value and headers.

    Example:
      mediatok dlq show out/lake kafka:abc/0/17/0
    """
    from pipeline.app.inspect import show_letter

    _exit(show_letter(lake, origin, config))


@simulate_app.command("delivery")
def simulate_delivery(
    seeds: Annotated[int, typer.Option("--seeds", help="How many schedules.")] = 1000,
    first: Annotated[int, typer.Option("--first", help="The first seed: to reproduce one, --first N --seeds 1.")] = 0,
) -> None:
    """Schedules with crashes, lost answers and zombies: how many items were lost, repeated, stuck.

    Examples:
      mediatok simulate delivery --seeds 2000

      mediatok simulate delivery --first 1234 --seeds 1
    """
    from pipeline.app.simulate import run_delivery

    _exit(run_delivery(first, seeds))


def main() -> None:
    """The `mediatok` command."""
    try:
        app()
    except MediatokError as error:
        typer.secho(f"{error.code}: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)
