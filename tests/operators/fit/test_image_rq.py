from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from operators.errors import ConfigError
from operators.fit.crops import centre_crop, random_crops
from operators.fit.image_rq import SHIPPED, fit_images, psnr_db
from operators.fit.photos import HELD_OUT, TRAINING, read_photo
from operators.fit.residual_quantizer import FitSettings, fit_residual_quantizer, principal_components
from operators.models.checksum import sha256_of
from operators.tokenize.image_rq import ImageRqOptions, ImageRqTokenizer

SMALL = FitSettings(dims=24, codebook_size=64, layers=2, iterations=3, vectors=8192)


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture
def media(tmp_path: Path) -> list[Path]:
    """Five photographs of the user's own, one of them damaged."""
    folder = tmp_path / "media"
    folder.mkdir()
    for index, shipped in enumerate(TRAINING[:5]):
        Image.fromarray(centre_crop(read_photo(shipped.path), 256)).save(folder / f"{index}.png")
    (folder / "damaged.jpg").write_bytes(b"no image")
    return sorted(folder.iterdir())


def test_a_fit_on_the_user_s_photographs_gives_weights_that_tokenize(tmp_path: Path, media: list[Path]) -> None:
    told = list[tuple[str, float]]()
    held_out = HELD_OUT[0].path
    report = fit_images(
        media,
        tmp_path / "mine" / "cats.safetensors",
        held_out=[held_out],
        crops=12,
        settings=SMALL,
        licence="CC0",
        progress=lambda what, share: told.append((what, share)),
    )
    assert (report.fitted_on, set(report.refused)) == (5, {media[-1]})
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert report.sha256 == sha256_of(report.weights)
    card = report.card.read_text()
    assert report.sha256 in card
    assert "CC0" in card
    tokenizer = ImageRqTokenizer(ImageRqOptions(layers=2, weights=str(report.weights)))
    assert tokenizer.spec.codebook_sizes == (64, 64)
    image = centre_crop(read_photo(held_out), 256)
    measured = psnr_db(image, tokenizer.decode(tokenizer.encode(image)))
    one_layer, two_layers = report.psnr_db["chelsea.png"]
    assert measured == two_layers > one_layer > 20


def test_a_tenth_is_held_out_where_nothing_else_is_given(tmp_path: Path, media: list[Path]) -> None:
    report = fit_images(media[:5], tmp_path / "own.safetensors", crops=8, settings=SMALL)
    assert report.fitted_on == 4
    assert len(report.psnr_db) == 1


def test_the_same_seed_gives_the_same_weights() -> None:
    photos = [read_photo(TRAINING[0].path)]
    crops = random_crops(photos, 6, 128, seed=4)
    assert np.array_equal(crops, random_crops(photos, 6, 128, seed=4))
    first, _ = fit_residual_quantizer(crops, SMALL)
    again, _ = fit_residual_quantizer(crops, SMALL)
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, again.tensors()[name]), name


def test_the_basis_is_orthonormal_but_for_its_rounding_and_largest_first() -> None:
    crops = random_crops([read_photo(TRAINING[0].path)], 4, 64, seed=0)
    patches = torch.from_numpy(crops).reshape(-1, 192)
    basis = principal_components(patches, 20).double() / 8192
    torch.testing.assert_close(basis.T @ basis, torch.eye(20).double(), atol=1e-3, rtol=0)
    energy = ((patches.double() - 128) @ basis).square().mean(0)
    assert torch.equal(energy, energy.sort(descending=True).values)


def test_what_can_not_be_fitted_on_is_refused(tmp_path: Path, media: list[Path]) -> None:
    with pytest.raises(ConfigError, match="none of 1 files"):
        fit_images(media[-1:], tmp_path / "x.safetensors")
    with pytest.raises(ConfigError, match="too few"):
        fit_residual_quantizer(np.zeros((1, 8, 8, 3), np.uint8), SMALL)
    with pytest.raises(ConfigError, match="patches of 8"):
        fit_residual_quantizer(np.zeros((1, 12, 8, 3), np.uint8), SMALL)


def test_the_shipped_card_describes_the_shipped_weights() -> None:
    card = SHIPPED.with_suffix(".md").read_text()
    assert sha256_of(SHIPPED) in card
    assert SHIPPED.stat().st_size < 3e6
    assert all(shipped.name in card for shipped in (*TRAINING, *HELD_OUT))
    assert not {shipped.name for shipped in TRAINING} & {shipped.name for shipped in HELD_OUT}
