"""A sine-window MDCT in whole numbers: equal samples give equal coefficients on every machine.

Samples are rounded to 16 bits; the window is kept as whole multiples of 1 / WINDOW_SCALE and the cosines as whole
multiples of 1 / COSINE_SCALE. Every sum then stays below 2**53, where float64 is exact in any order, so that neither
the BLAS, the number of threads, the batch nor the device can change a coefficient. They are rounded to whole numbers
in units of a 16-bit sample; the transform is orthonormal (Princen, Johnson & Bradley 1987) but for its roundings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SAMPLE_SCALE = 32768.0
WINDOW_SCALE = 8192.0
COSINE_SCALE = 65536.0
"""Powers of two: dividing by them is exact. A folded sample is at most √2 · 2**15 · 2**13, and a partial sum of its
products with a column of cosines, of norm 2**16, less than √2 · 2**28 · √320 · 2**16 < 2**49 (Cauchy-Schwarz)."""


class Mdct(nn.Module):
    """Frames of 2 * hop samples <-> hop coefficients.

    Args:
        hop: samples from frame to frame; even.
    """

    window: Tensor
    cosines: Tensor
    inverse: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        at = torch.arange(2 * hop, dtype=torch.float64)
        window = torch.sin(math.pi / (2 * hop) * (at + 0.5))
        steps = at[:hop] + 0.5
        cosines = math.sqrt(2 / hop) * torch.cos(math.pi / hop * steps[:, None] * steps[None])
        self.register_buffer("window", (window * WINDOW_SCALE).round())
        self.register_buffer("cosines", (cosines * COSINE_SCALE).round())
        shifted = at + 0.5 + hop / 2
        whole = math.sqrt(2 / hop) * torch.cos(math.pi / hop * steps[:, None] * shifted[None]) * window
        self.register_buffer("inverse", (whole / SAMPLE_SCALE).to(torch.float32))

    def forward(self, frames: Tensor) -> Tensor:
        """`[F, 2 * hop]` float32 samples, clipped to [-1, 1) -> `[F, hop]` whole numbers in float64.

        A frame is windowed and folded to half its length, (a, b, c, d) -> (-c' - d, a - b') with ' for reversal; its
        DCT-IV is the MDCT.
        """
        return (self._folded(frames) @ self.cosines / (WINDOW_SCALE * COSINE_SCALE)).round()

    def rounded(self, frames: Tensor) -> Tensor:
        """The same in float32, for autocast to make bfloat16 of it: fast on a GPU, and no longer exact."""
        folded, cosines = self._folded(frames) / WINDOW_SCALE, self.cosines / COSINE_SCALE
        return (folded.to(torch.float32) @ cosines.to(torch.float32)).to(torch.float64).round()

    def _folded(self, frames: Tensor) -> Tensor:
        samples = (frames.to(torch.float64) * SAMPLE_SCALE).round().clamp(-SAMPLE_SCALE, SAMPLE_SCALE - 1)
        a, b, c, d = (samples * self.window).split(self.hop // 2, dim=1)
        return torch.cat([-c.flip(1) - d, a - b.flip(1)], dim=1)

    def overlap_add(self, coefficients: Tensor) -> Tensor:
        """Coefficients `[T, hop]` float32 of frames in a row -> `[T * hop]` samples.

        Frame j covers samples [(j - 1) * hop, (j + 1) * hop). The last hop lacks what the frame after it would add: it
        fades out, with its own mirror image in it.
        """
        frames = coefficients @ self.inverse
        samples = frames[:, self.hop :].clone()
        samples[:-1] += frames[1:, : self.hop]
        return samples.reshape(-1)


def frames_of(samples: Tensor, hop: int) -> Tensor:
    """A window `[hop + n]`, its first hop being what came before -> frames `[ceil(n / hop), 2 * hop]`.

    Zeros are put at the end.
    """
    count = -(-(len(samples) - hop) // hop)
    padded = torch.nn.functional.pad(samples, (0, (count + 1) * hop - len(samples)))
    return padded.unfold(0, 2 * hop, hop)
