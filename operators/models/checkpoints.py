"""Weights on disk: safetensors only, never pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from operators.errors import ConfigError


def sha256_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Of some tensors' names, dtypes, shapes and bytes, in hex; for a part of a larger file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_tensors(path: Path, wanted: Callable[[str], bool] = lambda _name: True) -> dict[str, Tensor]:
    """The tensors whose names are wanted, on the CPU; the rest of the file is not read.

    They are views of the file, mapped into memory: all processes of a node share its pages in the page cache, so that
    weights are loaded once a node, and none of it counts as a process's own memory until it is converted or written to.

    Raises:
        ConfigError: there is no such file, or it is no safetensors file.
    """
    if not path.is_file():
        raise ConfigError(f"weights {path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if wanted(name)}  # noqa: SIM118
    except SafetensorError as error:
        raise ConfigError(f"weights {path}: not a safetensors file ({error})") from error


def names_in(path: Path) -> list[str]:
    """Of the tensors in a file that `load_tensors` has opened before, sorted."""
    with safe_open(path, framework="pt") as file:
        return sorted(file.keys())


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; equal tensors and metadata give equal bytes."""
    path.write_bytes(save(dict(tensors), dict(sorted(metadata.items()))))
