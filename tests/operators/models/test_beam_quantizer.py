from __future__ import annotations

import itertools

import pytest
import torch

from operators.errors import ConfigError
from operators.models.beam_quantizer import BeamQuantizer
from operators.models.residual_quantizer import ResidualQuantizer


def whole(seed: int, *shape: int) -> torch.Tensor:
    return torch.randint(-60, 60, shape, generator=torch.Generator().manual_seed(seed)).float()


def errors(quantizer: BeamQuantizer, vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return (vectors - quantizer.decode(codes)).square().sum(1)


def test_one_beam_is_the_greedy_search() -> None:
    codebooks, vectors = whole(0, 3, 16, 5), whole(1, 200, 5)
    found = BeamQuantizer(codebooks, 200, 1).encode(vectors)
    assert torch.equal(found, ResidualQuantizer(codebooks, 200).encode(vectors))


def test_a_beam_as_wide_as_all_paths_finds_the_nearest_sum() -> None:
    codebooks, vectors = whole(0, 3, 4, 2), whole(1, 50, 2)
    quantizer = BeamQuantizer(codebooks, 200, 64)
    paths = torch.tensor(list(itertools.product(range(4), repeat=3)))
    sums = quantizer.decode(paths)
    nearest = (vectors[:, None] - sums).square().sum(-1).min(1).values
    assert torch.equal(errors(quantizer, vectors, quantizer.encode(vectors)), nearest)


def test_a_wider_beam_finds_nearer_sums() -> None:
    codebooks, vectors = whole(0, 4, 32, 6), whole(1, 300, 6)
    found = [BeamQuantizer(codebooks, 200, beams) for beams in (1, 2, 4)]
    means = [float(errors(each, vectors, each.encode(vectors)).mean()) for each in found]
    assert means == sorted(means, reverse=True)
    assert means[2] < 0.9 * means[0]


def test_codes_do_not_depend_on_the_batch() -> None:
    quantizer, vectors = BeamQuantizer(whole(0, 3, 64, 7), 200, 3), whole(1, 101, 7)
    alone = torch.cat([quantizer.encode(vector[None]) for vector in vectors])
    assert torch.equal(quantizer.encode(vectors), alone)


def test_ties_go_to_the_lowest_code() -> None:
    codebooks = torch.tensor([[[5.0, 0.0], [0.0, 3.0], [0.0, 3.0]], [[0.0, 0.0], [0.0, 0.0], [9.0, 9.0]]])
    assert BeamQuantizer(codebooks, 10, 3).encode(torch.tensor([[0.0, 3.0]])).tolist() == [[1, 0]]


def test_fewer_codes_decode_to_fewer_codewords() -> None:
    codebooks = whole(0, 2, 8, 3)
    quantizer = BeamQuantizer(codebooks, 200, 2)
    codes = torch.tensor([[1, 2], [7, 0]])
    assert torch.equal(quantizer.decode(codes[:, :1]), codebooks[0][codes[:, 0]])
    assert torch.equal(quantizer.decode(codes[:, :0]), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("codebooks", "max_norm"),
    [(torch.full((1, 2, 2), 0.5), 1.0), (torch.ones(2, 2), 1.0), (torch.full((3, 2, 4), 512.0), 1024.0)],
    ids=["fractions", "axes", "too large to be exact"],
)
def test_codebooks_that_would_be_rounded_are_refused(codebooks: torch.Tensor, max_norm: float) -> None:
    with pytest.raises(ConfigError):
        BeamQuantizer(codebooks, max_norm, 2)
