"""The command line. Parses, calls `pipeline.app`, turns errors into one clear message and an exit code.

Nothing heavy is imported before a command is chosen: `--help` answers at once, and `lake ls` needs neither Ray nor
torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="mediatok",
    help="Tokenize images, audio, video and text from Kafka into an exactly-once Arrow lake, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
lake_app = typer.Typer(help="Look into a lake: products, log, verification, card.", no_args_is_help=True)
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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line, for scripts.")]


def _examples(*lines: str) -> str:
    """An epilogue: each line stands as it is, ready to be copied."""
    title = "[bold]Examples[/bold]" if len(lines) > 1 else "[bold]Example[/bold]"
    return "\n".join([title, *(f"  [cyan]{line}[/cyan]" for line in lines)])


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"mediatok {version('mediatok')}")
        raise typer.Exit


@app.callback(epilog=_examples("mediatok demo", "mediatok run my.yaml", "mediatok backfill photos/ --lake out/lake"))
def root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Tokenize images, audio, video and text from Kafka into an exactly-once Arrow lake, on Ray."""


@app.command(epilog=_examples("mediatok run my.yaml", "mediatok run my.yaml --until-idle"))
def run(
    config: ConfigPath,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when everything there is is committed.")
    ] = False,
) -> None:
    """Tokenize continuously. SIGTERM or Ctrl-C drains, commits and leaves."""
    from pipeline.app.run import run_config
    from pipeline.config import load_config

    _exit(run_config(load_config(config), until_idle=until_idle, path=str(config)))


@app.command(epilog=_examples("mediatok check my.yaml"))
def check(config: ConfigPath) -> None:
    """Look before a run: config, broker, topics, store, pools against the cluster.

    Writes and deletes one small file in the lake, to see whether conditional puts hold. Exit code 1 if a run would
    fail.
    """
    from pipeline.app.check import check_config
    from pipeline.config import load_config

    _exit(check_config(load_config(config)))


@app.command(
    epilog=_examples(
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

    _exit(run_backfill(uris, lake, config))


@app.command(
    epilog=_examples(
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

    _exit(publish_paths(media, bootstrap, topic, config))


@app.command(epilog=_examples("mediatok skip s3://tokens/photos kafka:rkDu_jnDQRS1PpdPdVAy9w/3 120 4711 -c my.yaml"))
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

    _exit(skip_offsets(lake, log, start, end, reason, config))


@app.command(epilog=_examples("mediatok demo", "mediatok demo --media ~/Pictures"))
def demo(
    media: Annotated[
        Path | None, typer.Option("--media", help="A folder of your own instead of the shipped photographs.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where lake and state go.")] = Path("out"),
) -> None:
    """What `make run` shows: embedded broker, local Ray, photographs into a lake here."""
    from pipeline.app.demo import run_demo

    _exit(run_demo(media, out))


@app.command(epilog=_examples("mediatok status", "mediatok status --state /var/lib/mediatok --json"))
def status(state: StateDir = Path("out/state"), as_json: AsJson = False) -> None:
    """What a running mediatok does and what it waits for.

    Exit code 1 if it hangs or was killed.
    """
    from pipeline.app.inspect import show_status

    _exit(show_status(state, as_json=as_json))


@app.command(
    epilog=_examples(
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

    _exit(report_lake(lake, config, state, out))


@app.command(
    epilog=_examples(
        "mediatok fit image-rq --media photos/ --out my-rq.safetensors",
        "mediatok fit audio-mdct --media recordings/ --out my-mdct.safetensors",
        "mediatok fit text-bpe --media texts/ --out my-bpe.json",
    )
)
def fit(
    tokenizer: Annotated[str, typer.Argument(help="audio-mdct, image-rq or text-bpe.")],
    media: Annotated[Path, typer.Option("--media", help="A folder of training files.")],
    out: Annotated[Path, typer.Option("--out", help="The weights; a card is written beside them.")],
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds and files give equal weights.")] = 0,
) -> None:
    """Train a tokenizer on your own files."""
    from pipeline.app.fit import fit_tokenizer

    _exit(fit_tokenizer(tokenizer, media, out, seed))


TokenizerName = Annotated[
    str | None, typer.Option("--tokenizer", "-t", help="Its name or package.module:Class; by default the modality's.")
]
TokenizerOptions = Annotated[
    list[str] | None, typer.Option("--option", "-o", help="Of the tokenizer, name=value; as often as needed.")
]


@app.command(
    epilog=_examples(
        "mediatok tokenize photo.jpg",
        "mediatok tokenize speech.flac --tokenizer audio-mdct --option codebooks=4 --format arrow --out speech.arrow",
        "mediatok tokenize film.mp4 | head -c 2000",
    )
)
def tokenize(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An image, sound, film or text.")],
    tokenizer: TokenizerName = None,
    form: Annotated[str, typer.Option("--format", "-f", help="json or arrow.")] = "json",
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to; by default standard output, for arrow FILE.tokens.arrow.")
    ] = None,
    option: TokenizerOptions = None,
) -> None:
    """Tokenize one file here, without Ray or a lake."""
    from pipeline.app.tokenize_file import tokenize_file

    _exit(tokenize_file(file, tokenizer, form, out, option or []))


@app.command(epilog=_examples("mediatok tokenize speech.flac > speech.json", "mediatok detokenize speech.json"))
def detokenize(
    tokens: Annotated[Path, typer.Argument(metavar="TOKENS", help="From `mediatok tokenize`, JSON or Arrow.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="File (.png, .wav, .txt) or, for a film, folder; by default beside.")
    ] = None,
    tokenizer: TokenizerName = None,
    option: TokenizerOptions = None,
) -> None:
    """Turn tokens back into a PNG, a WAV or a text; a film into a folder of them."""
    from pipeline.app.detokenize import detokenize as run_detokenize

    _exit(run_detokenize(tokens, out, tokenizer, option or []))


@app.command(
    epilog=_examples(
        "mediatok windows film.mp4 --out seen/",
        "mediatok windows photo.jpg --out seen/ --view rgb8:512x512:stretch",
        "mediatok windows film.mp4 --out seen/ --tokenizer video-interleaved --option frames_hz=4",
    )
)
def windows(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An image, sound, film or text.")],
    out: Annotated[Path, typer.Option("--out", help="A folder.")],
    tokenizer: TokenizerName = None,
    view: Annotated[str | None, typer.Option("--view", help="A view's key instead of a tokenizer.")] = None,
    option: TokenizerOptions = None,
) -> None:
    """Write what a tokenizer sees of a file: PNG, WAV, text, and all times in windows.json."""
    from pipeline.app.windows import write_windows

    _exit(write_windows(file, out, tokenizer, view, option or []))


@app.command(epilog=_examples("mediatok tokenizers", "mediatok tokenizers --json"))
def tokenizers(as_json: AsJson = False) -> None:
    """The tokenizers that come along: kind, vocabulary, rate or grid, bits, weights, licence."""
    from pipeline.app.tokenizers import list_tokenizers

    _exit(list_tokenizers(as_json=as_json))


@lake_app.command("ls", epilog=_examples("mediatok lake ls out/lake", "mediatok lake ls s3://tokens/photos -c my.yaml"))
def lake_ls(lake: LakeUri, config: Options = None, as_json: AsJson = False) -> None:
    """Products with their rows, tokens, shards and open dead letters."""
    from pipeline.app.inspect import lake_list

    _exit(lake_list(lake, config, as_json=as_json))


@lake_app.command("log", epilog=_examples("mediatok lake log out/lake -n 5"))
def lake_log(
    lake: LakeUri,
    config: Options = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="So many versions.")] = 20,
    as_json: JsonLines = False,
) -> None:
    """The newest versions: what each one added."""
    from pipeline.app.inspect import lake_history

    _exit(lake_history(lake, config, last, as_json=as_json))


@lake_app.command("verify", epilog=_examples("mediatok lake verify s3://tokens/photos -c my.yaml"))
def lake_verify(lake: LakeUri, config: Options = None, as_json: AsJson = False) -> None:
    """Check hashes, counts, coverage and uniqueness of every row.

    Reads every live shard. Exit code 1 if anything is wrong.
    """
    from pipeline.app.inspect import verify

    _exit(verify(lake, config, as_json=as_json))


@lake_app.command("card", epilog=_examples("mediatok lake card out/lake"))
def lake_card(lake: LakeUri, config: Options = None) -> None:
    """Write and print the dataset card, and write the live lists.

    The card (README.md) has a Hugging Face config for each product, and says how to open them.
    """
    from pipeline.app.inspect import write_card

    _exit(write_card(lake, config))


@dlq_app.command(
    "ls", epilog=_examples("mediatok dlq ls out/lake", "mediatok dlq ls out/lake --product image-rq --code 'fetch.*'")
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

    _exit(list_letters(lake, config, product, code, as_json=as_json))


@dlq_app.command("show", epilog=_examples("mediatok dlq show out/lake kafka:abc/0/17/0"))
def dlq_show(
    lake: LakeUri,
    origin: Annotated[str, typer.Argument(help="source_id/partition/offset/item, as `dlq ls` prints it.")],
    config: Options = None,
    as_json: JsonLines = False,
) -> None:
    """One dead letter whole: stage, reason, stack, key, value and headers."""
    from pipeline.app.letters import show_letter

    _exit(show_letter(lake, origin, config, as_json=as_json))


@simulate_app.command(
    "delivery",
    epilog=_examples("mediatok simulate delivery --seeds 2000", "mediatok simulate delivery --first 1234 --seeds 1"),
)
def simulate_delivery(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many schedules.")] = 1000,
    first: Annotated[int, typer.Option("--first", help="The first seed: to reproduce one, --first N --seeds 1.")] = 0,
) -> None:
    """Schedules with crashes, lost answers and zombies: what was lost, repeated, stuck.

    Exit code 1 if anything was.
    """
    from pipeline.app.simulate import run_delivery

    _exit(run_delivery(first, seeds))


def main() -> None:
    """The `mediatok` command. Exit code 2 for what it can't do, 130 after Ctrl-C."""
    try:
        app()
    except Exception as error:
        # Not at the top: this brings numpy, and --help needs none.
        from operators.errors import MediatokError

        if not isinstance(error, MediatokError):
            raise
        typer.secho(f"{error.code}: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)
