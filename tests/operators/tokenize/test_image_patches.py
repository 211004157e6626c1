from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from operators.errors import ConfigError, TokenizeFailedError
from operators.fit.image_rq import psnr_db
from operators.records import WindowBatch
from operators.tokenize.image_patches import (
    ImagePatchesOptions,
    ImagePatchesTokenizer,
    ProjectedPatchesOptions,
    ProjectedPatchesTokenizer,
    cosine_basis,
)

Images = npt.NDArray[np.uint8]


def batch_of(images: Images) -> WindowBatch:
    return WindowBatch("rgb8:256x256:cover", images, np.ones(len(images), np.int64))


def pixels(images: Images) -> torch.Tensor:
    """`[B, 3, H, W]` in [0, 1], as vision models take them."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def test_raw_patches_are_those_of_unfold(images: Images) -> None:
    tokens = ImagePatchesTokenizer(ImagePatchesOptions()).tokenize(batch_of(images[:4]))
    # unfold: [B, C * P * P, T], channels outermost.
    unfolded = functional.unfold(pixels(images[:4]) * 2 - 1, 16, stride=16).transpose(1, 2)
    expected = unfolded.view(4, 256, 3, 256).transpose(2, 3).reshape(4, 256, 768)
    assert tokens.values.dtype == np.float32
    assert tokens.n_tokens.tolist() == [256] * 4
    np.testing.assert_allclose(tokens.values.reshape(4, 256, 768), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"size": [32, 48], "patch": 4}, {"size": 14, "patch": 14}])
def test_raw_patches_lose_nothing(images: Images, options: dict[str, Any]) -> None:
    tokenizer = ImagePatchesTokenizer(ImagePatchesOptions(**options))
    image = images[20, : tokenizer.height, : tokenizer.width]
    assert np.array_equal(tokenizer.decode(tokenizer.encode(image)), image)


@pytest.mark.parametrize(
    ("prefix", "bias"),
    [
        ("vit.embeddings.patch_embeddings.projection", True),
        ("patch_embed.proj", True),
        ("vision_model.embeddings.patch_embedding", False),
    ],
)
def test_a_published_projection_is_the_convolution(tmp_path: Path, images: Images, prefix: str, bias: bool) -> None:
    torch.manual_seed(0)
    kernel, offset = torch.randn(40, 3, 32, 32), torch.randn(40) * bias
    tensors = {f"{prefix}.weight": kernel, "head.weight": torch.randn(5, 5)}
    save_file(tensors | ({f"{prefix}.bias": offset} if bias else {}), tmp_path / "vit.safetensors")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    options = ProjectedPatchesOptions(weights=str(tmp_path / "vit.safetensors"), mean=mean, std=std)
    tokenizer = ProjectedPatchesTokenizer(options)
    normalised = (pixels(images[:3]) - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    expected = functional.conv2d(normalised, kernel, offset, stride=32).flatten(2).transpose(1, 2)
    assert tokenizer.spec.shape == (64, 40)
    found = tokenizer.tokenize(batch_of(images[:3])).values.reshape(3, 64, 40)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-3)
    with pytest.raises(TokenizeFailedError, match="no inverse"):
        tokenizer.decode(tokenizer.encode(images[0]))


def test_the_cosine_basis_is_orthonormal_and_orders_channels_first() -> None:
    rows = cosine_basis(16).flatten(1)
    assert rows.shape == (192, 768)
    torch.testing.assert_close(rows @ rows.T, torch.eye(192), atol=1e-5, rtol=0)
    # Row 64 is the mean of the second channel.
    torch.testing.assert_close(rows[64].view(3, 256), torch.tensor([0, 1 / 16, 0])[:, None].expand(3, 256))


def test_without_weights_a_photograph_comes_back_at_half_its_resolution(held_out: dict[str, Images]) -> None:
    tokenizer = ProjectedPatchesTokenizer(ProjectedPatchesOptions())
    image = held_out["chelsea.png"]
    tokens = tokenizer.encode(image)
    assert tokens.values.shape == (256, 192)
    assert psnr_db(image, tokenizer.decode(tokens)) > 33


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"other.weight": torch.zeros(2, 2)}, "none of its tensors"),
        ({"patch_embed.proj.weight": torch.zeros(8, 4, 16, 16)}, "one weight"),
        ({"patch_embed.proj.weight": torch.zeros(8, 3, 16, 8)}, "one weight"),
        ({"patch_embed.proj.weight": torch.zeros(8, 3, 14, 14)}, "patches of 14"),
    ],
)
def test_weights_that_are_no_projection_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match=message):
        ProjectedPatchesTokenizer(ProjectedPatchesOptions(weights=str(tmp_path / "weights.safetensors")))


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"patch_embed.proj.weight": torch.zeros(8, 3, 16, 16)}, tmp_path / "weights.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        ProjectedPatchesTokenizer(ProjectedPatchesOptions(weights=str(tmp_path / "weights.bin")))


@pytest.mark.parametrize(("options", "name"), [({"std": (0.5, 0.5, 0.0)}, "std"), ({"mean": [0.5]}, "mean")])
def test_bad_normalisation_is_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"options.{name}"):
        ProjectedPatchesOptions(**options)
