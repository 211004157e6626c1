"""One numeric setting for the search of codes, whatever the process around it has chosen."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


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
