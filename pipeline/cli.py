"""The command line. Parses, calls `pipeline.app`, turns errors into one clear message and an exit code.

Nothing heavy is imported before a command is chosen: `--help` answers at once, and `lake ls` needs neither Ray nor
torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_common import AsJson, ConfigPath, LakeUri, Options, StateDir, examples, leave
from pipeline.cli_files import files_app
from pipeline.cli_lake import lake_app
from pipeline.cli_letters import dlq_app
from pipeline.cli_plan import plan_app
from pipeline.cli_simulate import simulate_app

app = typer.Typer(
    name="mediatok",
    help="Tokenize images, audio, video and text from Kafka into an exactly-once Arrow lake, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(lake_app, name="lake")
app.add_typer(dlq_app, name="dlq")
app.add_typer(simulate_app, name="simulate")
app.add_typer(files_app)
app.add_typer(plan_app)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"mediatok {version('mediatok')}")
        raise typer.Exit


@app.callback(epilog=examples("mediatok demo", "mediatok run my.yaml", "mediatok backfill photos/ --lake out/lake"))
def root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Tokenize images, audio, video and text from Kafka into an exactly-once Arrow lake, on Ray."""


@app.command(epilog=examples("mediatok run my.yaml", "mediatok run my.yaml --until-idle"))
def run(
    config: ConfigPath,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when everything there is is committed.")
    ] = False,
) -> None:
    """Tokenize continuously. SIGTERM or Ctrl-C drains, commits and leaves."""
    from pipeline.app.run import run_config
    from pipeline.config import load_config

    leave(run_config(load_config(config), until_idle=until_idle, path=str(config)))


@app.command(epilog=examples("mediatok check my.yaml"))
def check(config: ConfigPath) -> None:
    """Look before a run: config, broker, topics, store, pools against the cluster.

    Writes and deletes one small file in the lake, to see whether conditional puts hold. Exit code 1 if a run would
    fail.
    """
    from pipeline.app.check import check_config
    from pipeline.config import load_config

    leave(check_config(load_config(config)))


@app.command(
    epilog=examples(
        "mediatok backfill 'photos/**/*.jpg' --lake out/lake",
        "mediatok backfill s3://photos/2026/ --lake s3://tokens/photos -c my.yaml",
        "mediatok backfill manifest.parquet --lake out/lake",
    )
)
def backfill(
    uris: Annotated[list[str], typer.Argument(metavar="URI", help="Prefixes, globs, manifests (parquet, jsonl, csv).")],
    lake: Annotated[str, typer.Option("--lake", help="Where the tokens go.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Lanes, limits and storage options; without: the defaults.")
    ] = None,
) -> None:
    """Tokenize everything under some URIs. Run it again to resume, or to add what is new."""
    from pipeline.app.backfill import run_backfill

    leave(run_backfill(uris, lake, config))


@app.command(
    "catch-up",
    epilog=examples(
        "mediatok catch-up my.yaml",
        "mediatok catch-up my.yaml --product image-rq --from 2026-11-01T00:00:00Z",
    ),
)
def catch_up(
    config: ConfigPath,
    product: Annotated[str | None, typer.Option("--product", help="This one only, by name or key.")] = None,
    since: Annotated[
        str, typer.Option("--from", help="earliest, or a time (ISO 8601; UTC where it names no zone).")
    ] = "earliest",
) -> None:
    """Make what lies in the topics below the start of products that joined later, or began at "latest"; then end.

    Reads outside any group, beside a live run: what the lake has already is left out.

    What retention has taken is named, and is no error. After a crash, run it again: it does what is left.
    """
    from pipeline.app.catch_up import run_catch_up
    from pipeline.config import load_config

    leave(run_catch_up(load_config(config), str(config), product, since))


@app.command(
    epilog=examples(
        "mediatok publish photos/ --bootstrap localhost:9092",
        "mediatok publish a.jpg s3://bucket/b.png -b broker:9093 --topic in.{modality}",
        "mediatok publish photos/ -c my.yaml",
    )
)
def publish(
    media: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders or URIs.")],
    bootstrap: Annotated[
        str | None, typer.Option("--bootstrap", "-b", help="The broker's address; without: the config's.")
    ] = None,
    topic: Annotated[str, typer.Option("--topic", help="{modality} stands for image, audio, video or text.")] = (
        "media.{modality}"
    ),
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take Kafka's properties from this config.")
    ] = None,
) -> None:
    """Publish references to files, one message a file."""
    from pipeline.app.publish import publish_paths

    leave(publish_paths(media, bootstrap, topic, config))


@app.command(epilog=examples("mediatok skip s3://tokens/photos kafka:rkDu_jnDQRS1PpdPdVAy9w/3 120 4711 -c my.yaml"))
def skip(
    lake: LakeUri,
    log: Annotated[str, typer.Argument(metavar="LOG", help="source_id/partition, as the error names it.")],
    start: Annotated[int, typer.Argument(metavar="FIRST", help="The first offset to give up.")],
    end: Annotated[int, typer.Argument(metavar="END", help="One past the last.")],
    reason: Annotated[str, typer.Option("--reason", help="expired or taken_down.")] = "expired",
    config: Options = None,
) -> None:
    """Accept that offsets are gone (retention overtook a lane), and go on behind them."""
    from pipeline.app.skip import skip_offsets

    leave(skip_offsets(lake, log, start, end, reason, config))


@app.command(epilog=examples("mediatok demo", "mediatok demo --media ~/Pictures"))
def demo(
    media: Annotated[
        Path | None, typer.Option("--media", help="A folder of your own instead of the shipped photographs.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where lake and state go.")] = Path("out"),
) -> None:
    """What `make run` shows: embedded broker, local Ray, photographs into a lake here."""
    from pipeline.app.demo import run_demo

    leave(run_demo(media, out))


@app.command(epilog=examples("mediatok status", "mediatok status --state /var/lib/mediatok --json"))
def status(state: StateDir = Path("out/state"), as_json: AsJson = False) -> None:
    """What a running mediatok does and what it waits for.

    Exit code 1 if it hangs or was killed.
    """
    from pipeline.app.inspect import show_status

    leave(show_status(state, as_json=as_json))


@app.command(
    epilog=examples(
        "mediatok report out/lake --state out/state",
        "mediatok report s3://tokens/photos -c my.yaml --out photos.html",
    )
)
def report(
    lake: LakeUri,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The run's YAML file: how to reach the store, and which originals to read."
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="The run's state folder; without: the config's.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("report.html"),
) -> None:
    """A lake as one HTML page that opens offline: figures, samples with originals, waits, dead letters.

    Without a config no original is read, and reconstructions stand alone.
    """
    from pipeline.app.report import report_lake

    leave(report_lake(lake, config, state, out))


def main() -> None:
    """The `mediatok` command. Exit code 2 for what it can't do, 130 after Ctrl-C."""
    try:
        app()
    except Exception as error:
        # Not at the top: this brings numpy, and --help needs none.
        from operators.errors import ConfigError, MediatokError

        if not isinstance(error, MediatokError):
            raise
        typer.secho(f"{error.code}: {error}", fg=typer.colors.RED, err=True)
        if not isinstance(error, ConfigError):  # its message says it already
            typer.secho(f"what to do: {error.advice}", err=True)
        sys.exit(2)
