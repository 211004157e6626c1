from __future__ import annotations

import numpy as np
import pytest
import torch

from operators.models.mdct import Mdct, frames_of


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(samples, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_coefficients_are_those_of_integer_arithmetic() -> None:
    """The transform again in int64, unfolded, where nothing is rounded before the end."""
    mdct = Mdct(320)
    frames = torch.stack([noise(640), torch.ones(640), -torch.ones(640), torch.zeros(640)])
    samples = np.clip(np.round(frames.numpy().astype(np.float64) * 32768), -32768, 32767).astype(np.int64)
    windowed = samples * mdct.window.numpy().astype(np.int64)
    cosines = mdct.cosines.numpy().astype(np.int64)
    a, b, c, d = np.split(windowed, 4, axis=1)
    folded = np.concatenate([-c[:, ::-1] - d, a - b[:, ::-1]], axis=1)
    assert np.abs(folded).max() * np.abs(cosines).sum(0).max() < 2**53
    expected = np.round((folded @ cosines).astype(np.float64) / 2**29)
    assert np.array_equal(mdct(frames).numpy(), expected)


def test_it_is_the_textbook_s_transform_but_for_rounding() -> None:
    mdct, frames = Mdct(8), noise(16)[None]
    n, k = np.arange(16)[:, None] + 0.5, np.arange(8)[None] + 0.5
    basis = np.sin(np.pi / 16 * n) * np.cos(np.pi / 8 * (n + 4) * k) * np.sqrt(2 / 8)
    expected = np.round(frames.numpy() * 32768) @ basis
    np.testing.assert_allclose(mdct(frames).numpy(), expected, atol=3)


def test_overlapping_frames_give_the_samples_back_but_for_the_last_hop() -> None:
    mdct, samples = Mdct(320), noise(320 * 9)
    frames = frames_of(torch.nn.functional.pad(samples, (320, 0)), 320)
    back = mdct.overlap_add(mdct(frames).to(torch.float32))
    assert back.shape == samples.shape
    assert float((back - samples)[:-320].abs().max()) < 12 / 32768
    assert float((back - samples)[-320:].abs().max()) > 0.1


@pytest.mark.parametrize(("own", "count"), [(1, 1), (320, 1), (321, 2), (960, 3)])
def test_a_window_has_a_frame_for_each_hop_begun(own: int, count: int) -> None:
    window = noise(320 + own)
    frames = frames_of(window, 320)
    assert frames.shape == (count, 640)
    assert torch.equal(frames[0, : 320 + min(own, 320)], window[:640])
    assert float(frames[-1, 320 + own - 320 * (count - 1) :].abs().sum()) == 0


def test_samples_beyond_full_scale_are_clipped() -> None:
    mdct = Mdct(320)
    assert torch.equal(mdct(torch.full((1, 640), 7.0)), mdct(torch.ones(1, 640)))
