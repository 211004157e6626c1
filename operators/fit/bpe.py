"""Trains the byte-level BPE that `text-bpe` uses by default, on prose that ships inside installed packages.

`python -m operators.fit.bpe` makes it anew; the same versions of these packages give the same file.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import importlib.metadata
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from operators.errors import ConfigError
from operators.models.checksum import sha256_of
from operators.tokenize.text_bpe import SHIPPED

VOCABULARY = 8192


@dataclass(frozen=True, slots=True)
class Corpus:
    """A package whose docstrings are read.

    Attributes:
        module: import name.
        distribution: its name among installed packages.
        licence: of the package, docstrings included.
    """

    module: str
    distribution: str
    licence: str


CORPORA = (
    Corpus("networkx", "networkx", "BSD-3-Clause"),
    Corpus("numpy", "numpy", "BSD-3-Clause"),
    Corpus("pandas", "pandas", "BSD-3-Clause"),
    Corpus("scipy", "scipy", "BSD-3-Clause"),
    Corpus("skimage", "scikit-image", "BSD-3-Clause"),
    Corpus("sklearn", "scikit-learn", "BSD-3-Clause"),
    Corpus("sympy", "sympy", "BSD-3-Clause"),
)


def train_bpe(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) of at most so many tokens.

    The 256 single bytes are among them. No normalization, no special tokens: any bytes come back as they were.
    """
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=vocabulary, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    return bpe


def docstrings(root: Path) -> Iterator[str]:
    """Those of every module below a folder, tests left out, in order of their paths."""
    for path in sorted(root.rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text:
                    yield inspect.cleandoc(text)


def corpus_texts(corpora: Sequence[Corpus]) -> list[str]:
    """Paragraphs of their docstrings, each once: what is pasted into a hundred functions says no more about language.

    Raises:
        ConfigError: a package is not installed.
    """
    seen = dict[str, None]()
    for corpus in corpora:
        spec = importlib.util.find_spec(corpus.module)
        if spec is None or spec.origin is None:
            raise ConfigError(f"{corpus.distribution} is not installed (the demo group brings it)")
        for text in docstrings(Path(spec.origin).parent):
            seen.update(dict.fromkeys(text.split("\n\n")))
    return [f"{paragraph}\n\n" for paragraph in seen]


def fit_shipped(out: Path) -> Path:
    """Train on `CORPORA` and write the vocabulary with its card; returns the card's path.

    Every fiftieth paragraph is held out, and measured on.
    """
    texts = corpus_texts(CORPORA)
    held_out = texts[::50]
    bpe = train_bpe([text for index, text in enumerate(texts) if index % 50])
    out.write_text(json.dumps(json.loads(bpe.to_str()), ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    measured_bytes = sum(len(text.encode()) for text in held_out)
    codes = sum(len(found.ids) for found in bpe.encode_batch(held_out))
    total_bytes = sum(len(text.encode()) for text in texts)
    lines = [
        f"# {out.stem}",
        "",
        f"Byte-level BPE of {bpe.get_vocab_size()} tokens: the tokenizer `text-bpe` without a `weights` option. "
        "English, mostly technical prose; anything else falls back to shorter pieces, at worst single bytes.",
        "",
        f"- trained: {datetime.datetime.now(tz=datetime.UTC).date()} by `python -m operators.fit.bpe`",
        f"- {out.stat().st_size} bytes, sha256 {sha256_of(out)}",
        f"- held-out text (every fiftieth paragraph): {measured_bytes / codes:.2f} bytes a token",
        "",
        f"From the docstrings of these packages, {total_bytes / 1e6:.1f} MB of distinct paragraphs:",
        "",
        "| package | version | licence |",
        "|---|---|---|",
        *(f"| {c.distribution} | {importlib.metadata.version(c.distribution)} | {c.licence} |" for c in CORPORA),
        "",
    ]
    card = out.with_suffix(".md")
    card.write_text("\n".join(lines), encoding="utf-8")
    return card


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the vocabulary of text-bpe that mediatok ships.")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where to, with a card beside it (%(default)s)")
    sys.stdout.write(fit_shipped(parser.parse_args(arguments).out).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
