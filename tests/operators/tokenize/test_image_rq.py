from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from operators.errors import ConfigError, TokenizeFailedError
from operators.fit.image_rq import psnr_db
from operators.models.checkpoints import load_tensors
from operators.records import TokenSequence, WindowBatch
from operators.tokenize.image_rq import SHIPPED, ImageRqOptions, ImageRqTokenizer

Images = npt.NDArray[np.uint8]


def batch_of(images: Images, view: str = "rgb8:256x256:cover") -> WindowBatch:
    return WindowBatch(view, images, np.ones(len(images), np.int64))


@pytest.fixture(scope="module")
def tokenizer() -> ImageRqTokenizer:
    return ImageRqTokenizer(ImageRqOptions())


def test_a_window_becomes_a_grid_of_codes(tokenizer: ImageRqTokenizer, images: Images) -> None:
    tokens = tokenizer.tokenize(batch_of(images[:3]))
    assert tokenizer.spec.shape == (32, 32, 4)
    assert tokenizer.spec.codebook_sizes == (1024,) * 4
    assert tokens.values.dtype == np.uint16
    assert tokens.shapes.tolist() == [[32, 32, 4]] * 3
    assert tokens.n_tokens.tolist() == [4096] * 3
    assert int(tokens.values.max()) < 1024


def test_ids_do_not_depend_on_the_batch(tokenizer: ImageRqTokenizer, images: Images) -> None:
    together = tokenizer.tokenize(batch_of(images))
    for index, image in enumerate(images):
        assert np.array_equal(tokenizer.encode(image).values, together[index].values), index


def test_ids_do_not_depend_on_threads_nor_on_the_precision_of_the_process(
    tokenizer: ImageRqTokenizer, images: Images
) -> None:
    expected = tokenizer.tokenize(batch_of(images[:8])).values
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = tokenizer.tokenize(batch_of(images[:8])).values
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("highest")
    assert np.array_equal(found, expected)


def test_ids_are_those_of_integer_arithmetic(tokenizer: ImageRqTokenizer, images: Images) -> None:
    """The search again in int64, where nothing is ever rounded."""
    weights = load_tensors(SHIPPED)
    basis, codebooks = weights["basis"].numpy().astype(np.int64), weights["codebooks"].numpy().astype(np.int64)
    for image in images[::6]:
        patches = image.reshape(32, 8, 32, 8, 3).transpose(0, 2, 1, 3, 4).reshape(1024, 192).astype(np.int64) - 128
        residual = np.round(patches @ basis / 8192).astype(np.int64)
        codes = list[npt.NDArray[Any]]()
        for codebook in codebooks:
            codes.append((2 * residual @ codebook.T - (codebook**2).sum(1)).argmax(1))
            residual = residual - codebook[codes[-1]]
        assert np.array_equal(tokenizer.encode(image).values.reshape(1024, 4), np.stack(codes, axis=1))


def test_fewer_layers_are_a_prefix_of_more(tokenizer: ImageRqTokenizer, images: Images) -> None:
    whole = tokenizer.encode(images[0]).values
    for layers in (1, 2, 3):
        part = ImageRqTokenizer(ImageRqOptions(layers=layers))
        assert part.spec.shape == (32, 32, layers)
        assert np.array_equal(part.encode(images[0]).values, whole[..., :layers])


@pytest.mark.parametrize(
    ("layers", "floors_db"),
    [
        (1, {"chelsea.png": 25.0, "china.jpg": 21.5, "flower.jpg": 23.4}),
        (2, {"chelsea.png": 27.6, "china.jpg": 23.2, "flower.jpg": 25.9}),
        (4, {"chelsea.png": 30.2, "china.jpg": 24.8, "flower.jpg": 28.1}),
    ],
)
def test_photographs_it_was_not_fitted_on_come_back_well(
    held_out: dict[str, Images], layers: int, floors_db: dict[str, float]
) -> None:
    tokenizer = ImageRqTokenizer(ImageRqOptions(layers=layers))
    for name, floor_db in floors_db.items():
        back = tokenizer.decode(tokenizer.encode(held_out[name]))
        assert back.shape == (256, 256, 3)
        assert back.dtype == np.uint8
        assert psnr_db(held_out[name], back) > floor_db, name


def test_the_inverse_blends_over_the_seams(tokenizer: ImageRqTokenizer, held_out: dict[str, Images]) -> None:
    """Steps over the borders of patches are no larger than within patches, as they are in the photograph itself."""
    weights = load_tensors(SHIPPED)
    image = held_out["chelsea.png"]
    codes = tokenizer.encode(image)
    back = tokenizer.decode(codes).astype(np.int64)
    summed = tokenizer.codec.quantizer.decode(torch.from_numpy(codes.values.astype(np.int64)))
    flat = (summed.flatten(0, 1) @ weights["basis"].float().T / 8192 + 128).clamp(0, 255).numpy()
    plain = flat.reshape(32, 32, 8, 8, 3).transpose(0, 2, 1, 3, 4).reshape(256, 256, 3)

    def seam(pixels: npt.NDArray[Any]) -> float:
        steps = np.abs(np.diff(pixels, axis=1)).mean(axis=(0, 2))
        return float(steps[7::8].mean() / np.delete(steps, np.s_[7::8]).mean())

    assert seam(back) < 0.75 * seam(plain)
    assert psnr_db(image, back.astype(np.uint8)) > psnr_db(image, plain.round().astype(np.uint8))


def test_other_sizes_have_other_grids(images: Images) -> None:
    tokenizer = ImageRqTokenizer(ImageRqOptions(size="64x128"))
    assert tokenizer.spec.view == "rgb8:64x128:cover"
    tokens = tokenizer.encode(images[0, :64, :128])
    assert tokens.values.shape == (8, 16, 4)
    assert tokenizer.decode(tokens).shape == (64, 128, 3)


def test_no_windows_give_no_tokens(tokenizer: ImageRqTokenizer) -> None:
    tokens = tokenizer.tokenize(batch_of(np.zeros((0, 256, 256, 3), np.uint8)))
    assert len(tokens) == 0
    assert tokens.shapes.shape == (0, 3)


def test_windows_that_may_not_be_written_to_are_taken(tokenizer: ImageRqTokenizer, images: Images) -> None:
    shared = images[:2].copy()
    shared.flags.writeable = False
    assert len(tokenizer.tokenize(batch_of(shared))) == 2


@pytest.mark.parametrize("shape", [(1, 256, 255, 3), (1, 256, 256, 4), (256, 256, 3)])
def test_windows_of_another_shape_are_refused(tokenizer: ImageRqTokenizer, shape: tuple[int, ...]) -> None:
    with pytest.raises(TokenizeFailedError, match="256, 256, 3"):
        tokenizer.tokenize(WindowBatch("rgb8:256x256:cover", np.zeros(shape, np.uint8), np.ones(1, np.int64)))


@pytest.mark.parametrize(
    "values", [np.zeros((32, 32, 3), np.uint16), np.full((32, 32, 4), 1024, np.uint16)], ids=["shape", "code"]
)
def test_what_can_not_be_its_tokens_is_refused(tokenizer: ImageRqTokenizer, values: npt.NDArray[Any]) -> None:
    with pytest.raises(TokenizeFailedError):
        tokenizer.decode(TokenSequence(values))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "options.layers"),
        ({"layers": 5}, "1..4"),
        ({"layers": True}, "options.layers"),
        ({"size": 250}, "patches of 8"),
        ({"size": "256"}, "options.size"),
        ({"size": [256, 256, 3]}, "options.size"),
        ({"weights": 3}, "options.weights"),
        ({"weights": "no/such.safetensors"}, "no such file"),
    ],
)
def test_bad_options_are_refused_with_their_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImageRqTokenizer(ImageRqOptions(**options))


def test_the_identity_names_the_weights_but_neither_path_nor_device(tokenizer: ImageRqTokenizer, tmp_path: Any) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(SHIPPED.read_bytes())
    assert ImageRqTokenizer(ImageRqOptions(weights=str(copy))).identity == tokenizer.to("cpu").identity
    assert ImageRqTokenizer(ImageRqOptions(layers=2)).identity != tokenizer.identity


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same_ids(tokenizer: ImageRqTokenizer, images: Images) -> None:
    there = ImageRqTokenizer(ImageRqOptions()).to("cuda:0")
    expected = tokenizer.tokenize(batch_of(images))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # TF32, which the search must not use
    try:
        found = there.tokenize(batch_of(images))
    finally:
        torch.set_float32_matmul_precision(before)
    assert np.array_equal(found.values, expected.values)
    assert psnr_db(there.decode(found[0]), tokenizer.decode(expected[0])) > 50
