from __future__ import annotations

import pytest
import torch

from operators.fit.kmeans import kmeans, nearest, plus_plus


def blobs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    middles = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    return middles, (middles[:, None] + torch.randn(4, 500, 2, generator=generator)).flatten(0, 1)


def test_well_separated_clusters_are_found() -> None:
    middles, vectors = blobs()
    centres = kmeans(vectors, 4, iterations=5, seed=1)
    assert torch.cdist(middles, centres).min(1).values.max() < 0.2


def test_the_nearest_centre_is_that_of_plain_distances() -> None:
    generator = torch.Generator().manual_seed(3)
    vectors, centres = torch.randn(9000, 7, generator=generator), torch.randn(40, 7, generator=generator)
    index, distances = nearest(vectors, centres)
    plain = torch.cdist(vectors, centres).square()
    assert torch.equal(index, plain.argmin(1))
    torch.testing.assert_close(distances, plain.min(1).values, atol=1e-4, rtol=1e-4)


def test_the_same_seed_gives_the_same_centres() -> None:
    _, vectors = blobs()
    assert torch.equal(kmeans(vectors, 9, iterations=4, seed=5), kmeans(vectors, 9, iterations=4, seed=5))
    assert not torch.equal(kmeans(vectors, 9, iterations=4, seed=5), kmeans(vectors, 9, iterations=4, seed=6))


def test_no_centre_stays_without_vectors() -> None:
    vectors = torch.cat([torch.zeros(50, 2), torch.arange(10.0)[:, None].expand(10, 2) + 100])
    index, distances = nearest(vectors, kmeans(vectors, 11, iterations=8, seed=0))
    assert len(index.unique()) == 11
    assert float(distances.max()) == 0


def test_the_start_prefers_what_is_far_away() -> None:
    _, vectors = blobs()
    chosen = plus_plus(vectors, 4, torch.Generator().manual_seed(0))
    assert torch.pdist(chosen).min() > 50


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        kmeans(torch.zeros(3, 2), 4, iterations=1, seed=0)
