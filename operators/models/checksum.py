"""What a file of weights is, by its content. Without torch: text tokenizers need none."""

from __future__ import annotations

import hashlib
from pathlib import Path

from operators.errors import ConfigError


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"weights {path}: {error.strerror or error}") from error
