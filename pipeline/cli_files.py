"""Commands for single files: fit, tokenize, detokenize, windows, tokenizers. They need neither Ray nor a lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_common import AsJson, examples, leave

files_app = typer.Typer()


@files_app.command(
    epilog=examples(
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

    leave(fit_tokenizer(tokenizer, media, out, seed))


TokenizerName = Annotated[
    str | None, typer.Option("--tokenizer", "-t", help="Its name or package.module:Class; by default the modality's.")
]
TokenizerOptions = Annotated[
    list[str] | None, typer.Option("--option", "-o", help="Of the tokenizer, name=value; as often as needed.")
]


@files_app.command(
    epilog=examples(
        "mediatok tokenize photo.jpg",
        "mediatok tokenize speech.flac --tokenizer audio-mdct --option codebooks=4 --format arrow --out speech.arrow",
        "mediatok tokenize film.mp4 | head -c 2000",
        "mediatok tokenize photo.jpg --precision bfloat16 --out /dev/null",
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
    precision: Annotated[
        str,
        typer.Option("--precision", help="Of the encoder: float32, or bfloat16 and what that changes."),
    ] = "float32",
) -> None:
    """Tokenize one file here, without Ray or a lake."""
    from pipeline.app.tokenize_file import tokenize_file

    leave(tokenize_file(file, tokenizer, form, out, option or [], precision))


@files_app.command(epilog=examples("mediatok tokenize speech.flac > speech.json", "mediatok detokenize speech.json"))
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

    leave(run_detokenize(tokens, out, tokenizer, option or []))


@files_app.command(
    epilog=examples(
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

    leave(write_windows(file, out, tokenizer, view, option or []))


@files_app.command(epilog=examples("mediatok tokenizers", "mediatok tokenizers --json"))
def tokenizers(as_json: AsJson = False) -> None:
    """The tokenizers that come along: kind, vocabulary, rate or grid, bits, weights, licence."""
    from pipeline.app.tokenizers import list_tokenizers

    leave(list_tokenizers(as_json=as_json))
