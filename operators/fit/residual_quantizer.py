"""Fits the patch codec: PCA, residual k-means layer by layer, then the synthesis by ridge regression."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from operators.errors import ConfigError
from operators.fit.kmeans import kmeans, nearest
from operators.models.patch_codec import (
    BASIS_SCALE,
    CENTRE,
    NEIGHBOURHOOD,
    PatchCodecWeights,
    patches_of,
)

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0..1."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What a fit depends on, besides its images.

    Attributes:
        patch: side in pixels.
        dims: principal components kept.
        codebook_size: codewords a layer.
        layers: residual layers.
        iterations: of k-means a layer.
        vectors: how many patches k-means sees, at most.
        ridge: penalty on the synthesis, as a share of the features' mean variance.
        seed: of every random choice.
    """

    patch: int = 8
    dims: int = 64
    codebook_size: int = 1024
    layers: int = 4
    iterations: int = 20
    vectors: int = 262_144
    ridge: float = 1e-4
    seed: int = 0


def quiet(_what: str, _share: float) -> None:
    """No progress shown."""


def fit_residual_quantizer(
    crops: npt.NDArray[np.uint8], settings: FitSettings, progress: Progress = quiet
) -> tuple[PatchCodecWeights, float]:
    """Learn a codec from images.

    Deterministic given images, settings, and one machine's arithmetic.

    Args:
        crops: `[N, H, W, 3]` uint8, sides multiples of the patch.
        settings: see there.
        progress: told about each step.

    Returns:
        The weights, and how many seconds it took.

    Raises:
        ConfigError: there are fewer patches than codewords, or the sides do not fit.
    """
    started = time.perf_counter()
    if crops.shape[1] % settings.patch or crops.shape[2] % settings.patch:
        raise ConfigError(f"crops of {crops.shape[1]}×{crops.shape[2]} do not divide into patches of {settings.patch}")
    progress("principal components", 0.0)
    patches = patches_of(torch.from_numpy(crops), settings.patch)
    if patches[..., 0].numel() < settings.codebook_size:
        raise ConfigError(f"{patches[..., 0].numel()} patches are too few for {settings.codebook_size} codewords")
    basis = principal_components(patches.flatten(0, 2), settings.dims)
    vectors = torch.cat([_project(part, basis) for part in patches.flatten(0, 2).split(65536)])
    codebooks, codes = _fit_layers(vectors, settings, progress)
    synthesis = _fit_syntheses(patches, basis, codebooks, codes, settings.ridge, progress)
    return PatchCodecWeights(basis, codebooks, synthesis), time.perf_counter() - started


def principal_components(patches: Tensor, dims: int) -> Tensor:
    """`[N, P * P * 3]` uint8 -> `[P * P * 3, dims]`: whole multiples of 1 / BASIS_SCALE, times BASIS_SCALE.

    About grey rather than the mean, so that encoding needs no mean of its own. The sign of a component is fixed by its
    largest entry.
    """
    second = torch.zeros(patches.shape[1], patches.shape[1], dtype=torch.float64)
    for part in patches.split(65536):
        centred = part.to(torch.float32) - CENTRE
        second += (centred.T @ centred).double()
    vectors = torch.linalg.eigh(second).eigenvectors.flip(1)[:, :dims]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return (vectors * largest.sign() * BASIS_SCALE).round().float()


def _project(patches: Tensor, basis: Tensor) -> Tensor:
    return ((patches.to(torch.float32) - CENTRE) @ basis / BASIS_SCALE).round()


def _fit_layers(vectors: Tensor, settings: FitSettings, progress: Progress) -> tuple[Tensor, Tensor]:
    """`[N, D]` -> codebooks `[L, K, D]` of whole numbers, codes `[N, L]`."""
    generator = torch.Generator().manual_seed(settings.seed)
    sample = torch.randperm(len(vectors), generator=generator)[: settings.vectors]
    residual, codebooks, codes = vectors, list[Tensor](), list[Tensor]()
    for layer in range(settings.layers):
        progress(f"codebook {layer + 1} of {settings.layers}", 0.1 + 0.7 * layer / settings.layers)
        centres = kmeans(
            residual[sample], settings.codebook_size, iterations=settings.iterations, seed=settings.seed + layer
        ).round()
        index, _ = nearest(residual, centres)
        residual = residual - centres[index]
        codebooks.append(centres)
        codes.append(index)
    return torch.stack(codebooks), torch.stack(codes, dim=1)


def _fit_syntheses(
    patches: Tensor, basis: Tensor, codebooks: Tensor, codes: Tensor, ridge: float, progress: Progress
) -> Tensor:
    """For each prefix of layers, the kernel `[P * P * 3, D, 3, 3]` that best gives the pixels back."""
    batch, rows, columns, pixels = patches.shape
    dims = basis.shape[1]
    summed = torch.zeros(batch * rows * columns, dims)
    kernels = list[Tensor]()
    for layer, codebook in enumerate(codebooks):
        progress(f"synthesis {layer + 1} of {len(codebooks)}", 0.8 + 0.2 * layer / len(codebooks))
        summed = summed + codebook[codes[:, layer]]
        grid = summed.view(batch, rows, columns, dims).permute(0, 3, 1, 2)
        kernels.append(_ridge(grid, patches, basis, ridge))
    return torch.stack(kernels).view(len(codebooks), pixels, dims, NEIGHBOURHOOD, NEIGHBOURHOOD)


def _ridge(grid: Tensor, patches: Tensor, basis: Tensor, penalty: float) -> Tensor:
    """Quantized maps `[B, D, h, w]` and their patches -> `[P * P * 3, D * 9]`.

    What is learned is the difference from the plain inverse of the PCA, so that the penalty pulls towards that.
    """
    dims = grid.shape[1]
    features = dims * NEIGHBOURHOOD**2
    gram = torch.zeros(features, features, dtype=torch.float64)
    cross = torch.zeros(features, patches.shape[-1], dtype=torch.float64)
    plain = torch.zeros(patches.shape[-1], dims, NEIGHBOURHOOD**2)
    plain[:, :, NEIGHBOURHOOD**2 // 2] = basis / BASIS_SCALE
    plain = plain.view(patches.shape[-1], features)
    for maps, targets in zip(grid.split(16), patches.split(16), strict=True):
        padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
        seen = functional.unfold(padded, NEIGHBOURHOOD).transpose(1, 2).flatten(0, 1)
        missing = targets.flatten(0, 2).to(torch.float32) - CENTRE - seen @ plain.T
        gram += (seen.T @ seen).double()
        cross += (seen.T @ missing).double()
    gram.diagonal().add_(penalty * gram.diagonal().mean())
    return plain + torch.linalg.solve(gram, cross).T.float()
