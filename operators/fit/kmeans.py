"""k-means on a few hundred thousand vectors, in torch, deterministic given a seed."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 8192
"""Vectors at a time: with 1024 centres the scores take 32 MiB."""


def nearest(vectors: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centre of each vector.

    Args:
        vectors: `[N, D]` float32.
        centres: `[K, D]` float32.

    Returns:
        `[N]` int64 indices, the lowest among equals, and `[N]` squared distances.
    """
    bias = -0.5 * centres.square().sum(1)
    found, scores = list[Tensor](), list[Tensor]()
    for part in vectors.split(CHUNK):
        score = torch.addmm(bias, part, centres.T)
        index = torch.from_numpy(score.cpu().numpy().argmax(axis=1)).to(vectors.device)
        found.append(index)
        scores.append(score.gather(1, index[:, None])[:, 0])
    distances = vectors.square().sum(1) - 2 * torch.cat(scores)
    return torch.cat(found), distances.clamp_min(0)


def plus_plus(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur & Vassilvitskii 2007): `[N, D]` -> `count` of them, each drawn by its squared distance."""
    first = int(torch.randint(len(vectors), (1,), generator=generator))
    chosen = [first]
    norms = vectors.square().sum(1)
    distances = (norms - 2 * vectors @ vectors[first] + norms[first]).clamp_min(0)
    for _ in range(count - 1):
        total = torch.cumsum(distances.double(), 0)
        at = torch.rand(1, generator=generator, dtype=torch.float64) * total[-1]
        pick = min(int(torch.searchsorted(total, at)), len(vectors) - 1)
        chosen.append(pick)
        distances = torch.minimum(distances, (norms - 2 * vectors @ vectors[pick] + norms[pick]).clamp_min(0))
    return vectors[chosen].clone()


def kmeans(vectors: Tensor, count: int, *, iterations: int, seed: int, init_sample: int = 16384) -> Tensor:
    """Lloyd's algorithm from a k-means++ start on a sample.

    A centre that loses all its vectors is put on one of those worst served.

    Args:
        vectors: `[N, D]` float32, N >= count.
        count: how many centres.
        iterations: of assignment and averaging.
        seed: of the start.
        init_sample: how many vectors the start is chosen from.

    Returns:
        `[count, D]` float32.

    Raises:
        ValueError: fewer vectors than centres.
    """
    if len(vectors) < count:
        raise ValueError(f"{len(vectors)} vectors are too few for {count} centres")
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randperm(len(vectors), generator=generator)[: max(init_sample, count)]
    centres = plus_plus(vectors[sample], count, generator)
    for _ in range(iterations):
        index, distances = nearest(vectors, centres)
        sums = torch.zeros_like(centres).index_add_(0, index, vectors)
        sizes = torch.bincount(index, minlength=count)
        centres = sums / sizes.clamp_min(1)[:, None]
        empty = (sizes == 0).nonzero()[:, 0]
        if len(empty):
            centres[empty] = vectors[distances.topk(len(empty)).indices]
    return centres
