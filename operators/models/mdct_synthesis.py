"""From quantized MDCT coefficients to ones that sound better: a small network that sees the frames around.

Codewords are averages, so what they sum to is too weak where codes are few and empty where there are none. Four
convolutions over time read the quantized shape and envelope and say, for each coded coefficient, a factor and a
correction, and for each band how much noise to add (perceptual noise substitution: Schulz 1996). Decoding only: codes
do not depend on it, and its floating-point sums need not be the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from operators.errors import ConfigError

CONTEXT_FRAMES = 3
"""Frames that each of the first three convolutions sees."""
SHAPE_UNIT = 8.0
"""About the standard deviation of a whitened coefficient."""
ENVELOPE_UNIT, ENVELOPE_SHIFT = 64.0, 2.0
NOISE_START = -1.5
"""Log gain of the noise before anything is learned."""


class MdctSynthesis(nn.Module):
    """Whitened coefficients in, whitened coefficients out.

    Args:
        coded: how many coefficients have codes, D.
        bands: of the envelope, B.
        hop: coefficients of a frame, H.
        width: hidden channels.
    """

    def __init__(self, coded: int, bands: int, hop: int, width: int) -> None:
        super().__init__()
        self.coded, self.hop = coded, hop
        self.enter = nn.Conv1d(coded + bands + 1, width, CONTEXT_FRAMES, padding=CONTEXT_FRAMES // 2)
        self.first = nn.Conv1d(width, width, CONTEXT_FRAMES, padding=CONTEXT_FRAMES // 2)
        self.second = nn.Conv1d(width, width, CONTEXT_FRAMES, padding=CONTEXT_FRAMES // 2)
        self.leave = nn.Conv1d(width, 2 * coded + bands, 1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, shape: Tensor, envelope: Tensor, kept: Tensor, noise: Tensor, spread: Tensor) -> Tensor:
        """`[B, T, H]` whitened coefficients.

        Args:
            shape: `[B, T, D]`, sums of codewords.
            envelope: `[B, T, bands]`, of the envelope's codeword.
            kept: `[B, T, 1]`, which share of the codebooks there are codes of.
            noise: `[B, T, H]`, white, of variance 1.
            spread: `[bands, H]`: how bands are interpolated to coefficients.
        """
        unit = shape / SHAPE_UNIT
        seen = torch.cat([unit, envelope / ENVELOPE_UNIT - ENVELOPE_SHIFT, kept], dim=-1).transpose(1, 2)
        hidden = functional.gelu(self.enter(seen))
        hidden = hidden + functional.gelu(self.first(hidden))
        hidden = hidden + functional.gelu(self.second(hidden))
        factor, correction, level = (
            self.leave(hidden).transpose(1, 2).split([self.coded, self.coded, envelope.shape[-1]], dim=-1)
        )
        clean = functional.pad(unit * (1 + factor) + correction, (0, self.hop - self.coded))
        return SHAPE_UNIT * (clean + noise * torch.exp((level + NOISE_START).clamp(max=2.0) @ spread))

    def tensors(self) -> dict[str, Tensor]:
        """For storage, as float16."""
        return {name: tensor.to(torch.float16).contiguous() for name, tensor in self.state_dict().items()}

    @staticmethod
    def of(tensors: Mapping[str, Tensor], coded: int, bands: int, hop: int) -> MdctSynthesis:
        """From storage.

        Raises:
            ConfigError: a tensor is missing or does not fit the others.
        """
        width = tensors["enter.weight"].shape[0] if "enter.weight" in tensors else 1
        made = MdctSynthesis(coded, bands, hop, width)
        try:
            made.load_state_dict({name: tensor.to(torch.float32) for name, tensor in tensors.items()})
        except RuntimeError as error:
            raise ConfigError(f"the synthesis does not fit {coded} coefficients and {bands} bands: {error}") from error
        return made.eval()
