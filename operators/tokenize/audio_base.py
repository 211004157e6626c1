"""What audio tokenizers share: the check of their windows, the cut into windows, one window as a batch of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from operators.errors import TokenizeFailedError
from operators.forms import PcmForm
from operators.models.precision import autocast
from operators.models.transfer import cuts, part_bytes, through
from operators.records import Modality, TokenBatch, TokenSequence, WindowBatch
from operators.tokenize.base import Precision, TokenKind, TokenSpec


class AudioTokenizer(ABC):
    """Base of tokenizers of sound into frames of codes.

    A window is `context` samples of what came before it (zeros at the item's start) and n >= 1 samples of its own; it
    becomes ceil(n / hop) frames. Windows but the last of an item are whole numbers of hops long, so that a recording
    has the same codes whatever windows it is cut into.

    Attributes:
        rate_hz: sampling rate.
        channels: 1 or 2.
        hop: samples from one frame of codes to the next.
        context: samples before a window that its first frame sees.
        window_s: length of a window in seconds; the last one of an item may be shorter.
        precision: of the encoder; in another than float32, `codes_of` is called under autocast. It searches codes
            within `operators.models.precision.exact_fp32`.
        part_bytes: of what is sent to the device at once; None: what suits the device.
    """

    def __init__(self, *, rate_hz: int, channels: int, hop: int, context: int, window_s: int) -> None:
        self.rate_hz, self.channels, self.hop, self.context = rate_hz, channels, hop, context
        self.window_s = window_s
        self.device = "cpu"
        self.precision = Precision.FLOAT32
        self.part_bytes: int | None = None

    @property
    def form(self) -> PcmForm:
        """What decoders bring sound into for it."""
        return PcmForm(self.rate_hz, self.channels, self.rate_hz * self.window_s, self.context)

    @property
    def view(self) -> str:
        """Key of the view that cuts its windows."""
        layout = "mono" if self.channels == 1 else "stereo"
        return f"pcm:{self.rate_hz}:{layout}:{self.form.window}+{self.context}"

    @property
    def frame_rate_hz(self) -> Fraction:
        """Frames of codes a second."""
        return Fraction(self.rate_hz, self.hop)

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """One for each code of a frame."""

    @property
    def spec(self) -> TokenSpec:
        """Codes (t, codebook)."""
        return TokenSpec(
            kind=TokenKind.CODES,
            modality=Modality.AUDIO,
            view=self.view,
            axes=("t", "codebook"),
            codebook_sizes=self.codebook_sizes,
            dtype="uint16" if max(self.codebook_sizes) <= 65536 else "uint32",
            shape=(),
        )

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """All that changes its output."""

    @abstractmethod
    def to(self, device: str) -> Self:
        """Move weights."""

    def in_precision(self, precision: Precision) -> Self:
        """Have the encoder compute so."""
        self.precision = precision
        return self

    @abstractmethod
    def codes_of(self, windows: Sequence[Tensor]) -> Sequence[Tensor] | Sequence[npt.NDArray[Any]]:
        """At least one window `[context + n, C]` float32 on the device -> for each `[ceil(n / hop), K]` codes.

        Tensors that are left on the device travel back while the next windows are computed; `.cpu()` would wait.
        """

    @abstractmethod
    def samples_of(self, tokens: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """One window's codes `[T, K]`, T >= 1 -> `[T * hop, C]`."""

    def tokenize(self, batch: WindowBatch) -> TokenBatch:
        """B windows in, B token sequences `[T_b, K]` out."""
        data, lengths = batch.data, batch.lengths
        if data.ndim != 2 or data.shape[1] != self.channels or data.dtype != np.float32:
            raise TokenizeFailedError(
                f"windows must be [N, {self.channels}] float32 end to end, not {data.shape} {data.dtype}"
            )
        short = len(lengths) > 0 and int(lengths.min()) <= self.context
        if short or int(lengths.sum()) != len(data):
            raise TokenizeFailedError(
                f"windows must have more than their {self.context} samples of context and be {len(data)} in all, "
                f"not {lengths.tolist()}"
            )
        if not bool(np.isfinite(data).all()):
            raise TokenizeFailedError("windows hold samples that are not finite numbers")
        found = self._codes_of(data, lengths.tolist())
        return TokenBatch.of_windows(found, len(self.codebook_sizes), self.spec.dtype)

    def _codes_of(self, data: npt.NDArray[Any], lengths: list[int]) -> list[npt.NDArray[Any]]:
        """Codes of each window; windows go to the device in parts, those of a part end to end."""
        sample_bytes = data.itemsize * self.channels
        parts = cuts([length * sample_bytes for length in lengths], self.part_bytes or part_bytes(self.device))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]).tolist()
        frames = list[int]()

        def compute(samples: Tensor, number: int) -> Tensor | npt.NDArray[Any]:
            start, stop = parts[number]
            with autocast(self.precision, self.device):
                codes = self.codes_of(samples.split(lengths[start:stop]))
            frames.extend(len(each) for each in codes)
            tensors = [each for each in codes if isinstance(each, Tensor)]
            return torch.cat(tensors) if tensors else np.concatenate([np.asarray(each) for each in codes])

        found = through(compute, (data[starts[start] : starts[stop]] for start, stop in parts), self.device)
        if not found:
            return []
        return np.split(np.concatenate(found).astype(self.spec.dtype, copy=False), np.cumsum(frames)[:-1])

    def encode(self, window: npt.NDArray[Any]) -> TokenSequence:
        """`[N]` or `[N, C]` float32 in [-1, 1], N >= 1; zeros are put before it."""
        samples = window[:, None] if window.ndim == 1 else window
        if samples.ndim != 2 or samples.shape[1] != self.channels:
            raise TokenizeFailedError(f"a window must be [N, {self.channels}] float32, not {window.shape}")
        padded = np.concatenate([np.zeros((self.context, self.channels), samples.dtype), samples])
        return self.tokenize(WindowBatch(self.view, padded, np.asarray([len(padded)], np.int64)))[0]

    def decode(self, tokens: TokenSequence) -> npt.NDArray[np.float32]:
        """Codes `[T, K]` -> `[T * hop, C]` float32.

        Raises:
            TokenizeFailedError: these can't be its tokens.
        """
        sizes = self.codebook_sizes
        values = tokens.values
        if values.ndim != 2 or values.shape[1] != len(sizes):
            raise TokenizeFailedError(f"tokens must be [T, {len(sizes)}], not {values.shape}")
        if values.size and bool((values >= np.asarray(sizes)).any()):
            raise TokenizeFailedError(f"code {int(values.max())} is beyond the codebooks {sizes}")
        if not len(values):
            return np.zeros((0, self.channels), np.float32)
        return self.samples_of(values)
