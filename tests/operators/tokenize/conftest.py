from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from operators.fit.crops import centre_crop
from operators.fit.photos import HELD_OUT, TRAINING, read_photo


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def held_out() -> dict[str, npt.NDArray[np.uint8]]:
    """Photographs that nothing was fitted on, 256×256."""
    return {shipped.name.rpartition("/")[2]: centre_crop(read_photo(shipped.path), 256) for shipped in HELD_OUT}


@pytest.fixture(scope="session")
def images(held_out: dict[str, npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """32 different windows, photographs and noise."""
    rng = np.random.default_rng(0)
    photos = [centre_crop(read_photo(shipped.path), 256) for shipped in TRAINING] + list(held_out.values())
    noise = [rng.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(32 - len(photos) - 2)]
    flat = [np.full((256, 256, 3), level, np.uint8) for level in (0, 255)]
    return np.stack([*photos, *noise, *flat])
