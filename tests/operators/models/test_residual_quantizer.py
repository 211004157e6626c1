from __future__ import annotations

import pytest
import torch

from operators.errors import ConfigError
from operators.models.residual_quantizer import ResidualQuantizer


def whole(seed: int, *shape: int) -> torch.Tensor:
    return torch.randint(-60, 60, shape, generator=torch.Generator().manual_seed(seed)).float()


def test_each_layer_takes_the_nearest_codeword_to_what_is_left() -> None:
    codebooks, vectors = whole(0, 3, 16, 5), whole(1, 200, 5)
    codes = ResidualQuantizer(codebooks, 200).encode(vectors)
    left = vectors
    for layer in range(3):
        distances = (left[:, None] - codebooks[layer]).square().sum(-1)
        chosen = distances.gather(1, codes[:, layer : layer + 1])[:, 0]
        assert torch.equal(chosen, distances.min(1).values)
        left = left - codebooks[layer][codes[:, layer]]


def test_ties_go_to_the_lowest_code() -> None:
    codebook = torch.tensor([[[5.0, 0.0], [0.0, 3.0], [0.0, 3.0], [0.0, -3.0]]])
    codes = ResidualQuantizer(codebook, 10).encode(torch.tensor([[0.0, 3.0], [0.0, 0.0]]))
    assert codes[:, 0].tolist() == [1, 1]


def test_decoding_sums_the_codewords() -> None:
    codebooks = whole(0, 2, 8, 3)
    quantizer = ResidualQuantizer(codebooks, 200)
    codes = torch.tensor([[[1, 2], [7, 0]]])
    expected = torch.stack([codebooks[0, 1] + codebooks[1, 2], codebooks[0, 7] + codebooks[1, 0]])
    assert torch.equal(quantizer.decode(codes), expected[None])
    assert torch.equal(quantizer.decode(codes[..., :1])[0, 0], codebooks[0, 1])


@pytest.mark.parametrize(
    ("codebooks", "max_norm"),
    [(torch.full((1, 2, 2), 0.5), 1.0), (torch.ones(2, 2), 1.0), (torch.full((1, 2, 4), 2048.0), 4096.0)],
    ids=["fractions", "axes", "too large to be exact"],
)
def test_codebooks_that_would_be_rounded_are_refused(codebooks: torch.Tensor, max_norm: float) -> None:
    with pytest.raises(ConfigError):
        ResidualQuantizer(codebooks, max_norm)
