from __future__ import annotations

import pytest
import torch

from operators.errors import ConfigError
from operators.models.patch_codec import CENTRE, PatchCodec, PatchCodecWeights, patches_of, pixels_of, side_of


def weights(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    made = {
        "basis": torch.eye(12)[:, :5] * 8192,
        "codebooks": torch.zeros(2, 4, 5),
        "synthesis": torch.zeros(2, 12, 5, 3, 3),
    }
    return made | changed


def test_patches_go_row_by_row_and_come_back() -> None:
    image = torch.randint(0, 256, (2, 6, 4, 3), dtype=torch.uint8)
    patches = patches_of(image, 2)
    assert torch.equal(patches[1, 2, 0], image[1, 4:6, 0:2].flatten())
    assert torch.equal(pixels_of(patches.float() - CENTRE, 2), image)


def test_storage_loses_no_integer() -> None:
    made = PatchCodecWeights.of(weights(codebooks=torch.randint(-1774, 1774, (2, 4, 5)).float()))
    again = PatchCodecWeights.of(made.tensors())
    assert torch.equal(again.codebooks, made.codebooks)
    assert torch.equal(again.basis, made.basis)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"basis": torch.eye(12)}, "lack codebooks, synthesis"),
        (weights(codebooks=torch.zeros(2, 4, 6)), "do not fit"),
        (weights(synthesis=torch.zeros(2, 12, 5, 5, 5)), "synthesis must be"),
        (weights(basis=torch.eye(12)[:, :5] * 0.5), "basis must be whole"),
        (weights(basis=torch.eye(12)[:, :5] * 2**18), "basis must be whole"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tensors: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PatchCodec(PatchCodecWeights.of(tensors), 1)


def test_a_patch_is_a_square_of_rgb_pixels() -> None:
    assert side_of(192) == 8
    with pytest.raises(ConfigError):
        side_of(100)
