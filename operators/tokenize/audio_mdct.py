"""`audio-mdct`: codes of MDCT frames, 75 a second at 24 kHz, the default tokenizer of sound.

Eight codebooks of 1024, 6 kbit/s; up to twelve, 9 kbit/s. In their order: the envelope (1); 0-1 kHz (4); 1-2.3 kHz
(2); 2.3-4.5 kHz (1); then finer again: 0-1 kHz (2), 1-2.3 kHz (1), 2.3-4.5 kHz (1). Fewer are a prefix of more. What
has no codes of its own, all above 4.5 kHz for one, comes back as noise of the envelope's loudness.

Codes are the same on every device, in every batch and however a recording is cut into windows: see
`operators.models.mdct_codec`. Weights fitted by `operators.fit.audio_mdct`, shipped with their card in `weights/`.

The last hop (13 ms) of what is decoded lacks its right neighbour: it fades out, with its mirror image in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from operators.models.checkpoints import load_tensors
from operators.models.checksum import sha256_of
from operators.models.mdct import frames_of
from operators.models.mdct_codec import HOP, RATE_HZ, MdctCodec, MdctCodecWeights
from operators.tokenize.audio_base import AudioTokenizer
from operators.tokenize.base import Precision
from operators.tokenize.options import path_or_none, whole

SHIPPED = Path(__file__).parent / "weights" / "audio-mdct.safetensors"


@dataclass(frozen=True, slots=True)
class AudioMdctOptions:
    """Options of `audio-mdct`.

    Attributes:
        codebooks: how many codes a frame; the codes of fewer are a prefix of those of more.
        weights: a safetensors file from `mediatok fit audio-mdct`; None for the shipped one.
        window_s: length of a window in seconds; codes do not depend on it.
    """

    codebooks: int = 8
    weights: str | None = None
    window_s: int = 30

    def __post_init__(self) -> None:
        whole("codebooks", self.codebooks, 1, 64)
        path_or_none("weights", self.weights)
        whole("window_s", self.window_s, 1, 3600)


class AudioMdctTokenizer(AudioTokenizer):
    """`[N, 1]` float32 at 24 kHz <-> codes `[ceil(N / 320), codebooks]` uint16."""

    Options = AudioMdctOptions

    def __init__(self, options: AudioMdctOptions) -> None:
        super().__init__(rate_hz=RATE_HZ, channels=1, hop=HOP, context=HOP, window_s=options.window_s)
        path = path_or_none("weights", options.weights) or SHIPPED
        weights = MdctCodecWeights.of(load_tensors(path))
        self.codebooks = options.codebooks
        self.weights_sha256 = sha256_of(path)
        self.codebook_size = int(weights.envelope.shape[0])
        self.codec = MdctCodec(weights, options.codebooks)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """All of one size."""
        return (self.codebook_size,) * self.codebooks

    @property
    def identity(self) -> Mapping[str, Any]:
        """Class, parameters, and what the weights are."""
        return {
            "class": "operators.tokenize.audio_mdct:AudioMdctTokenizer",
            "options": {"codebooks": self.codebooks, "window_s": self.window_s},
            "weights_sha256": self.weights_sha256,
        }

    def to(self, device: str) -> Self:
        """Move weights."""
        self.codec.to(device)
        self.device = device
        return self

    def in_precision(self, precision: Precision) -> Self:
        """Of the transform."""
        self.codec.encoder.precision = precision
        return super().in_precision(precision)

    def codes_of(self, windows: Sequence[Tensor]) -> Sequence[Tensor]:
        """Codes of all windows' frames at once."""
        frames = [frames_of(window[:, 0], HOP) for window in windows]
        return self.codec.encode(torch.cat(frames)).split([len(part) for part in frames])

    def samples_of(self, tokens: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The sound that these codes stand for."""
        codes = torch.from_numpy(tokens.astype(np.int64)).to(self.device)
        return self.codec.decode(codes).cpu().numpy()[:, None]
