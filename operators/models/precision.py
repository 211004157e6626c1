"""Two numeric settings, whatever the process around them has chosen: for encoders, and for the search of codes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from operators.tokenize.base import Precision


@contextmanager
def exact_fp32() -> Generator[None]:
    """Matrix products in true float32: no TF32, no bfloat16, no autocast, no gradients.

    TF32 keeps 10 bits of a factor; a code found with it is another code now and then.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(), torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def encoding(precision: Precision, device: str) -> Generator[None]:
    """What comes before the search: in true float32, or under autocast to bfloat16, which keeps 8 bits of a factor.

    Args:
        precision: of matrix products and convolutions.
        device: where they are computed, "cpu" or "cuda:0".
    """
    if precision is Precision.FLOAT32:
        with exact_fp32():
            yield
    else:
        with torch.inference_mode(), autocast(precision, device):
            yield


def autocast(precision: Precision, device: str) -> AbstractContextManager[Any]:
    """Autocast to a precision; nothing for float32, which leaves the process its own setting."""
    if precision is Precision.FLOAT32:
        return nullcontext()
    return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16)
