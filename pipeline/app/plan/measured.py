"""What was measured of a lane's stages, and how sure that is. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Standard errors either way that hold the mean in 95 of 100 cases (Student's t), by calls less one, from 1."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a stage.

    Attributes:
        references: that it did; a part of one where a film takes several calls.
        seconds: it took, less what the machine gave to others meanwhile.
    """

    references: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stage costs.

    Attributes:
        reference_s: worker-seconds a reference.
        error: of that, relative: with 95 % it lies within; None where one call tells nothing of it.
        calls, references: that it was measured with.
    """

    reference_s: float
    error: float | None
    calls: int
    references: float


def cost_of(calls: Sequence[Call]) -> Cost:
    """The ratio of two sums, and its error (Cochran, Sampling Techniques, 1977, section 2.11).

    Raises:
        ValueError: nothing was done.
    """
    references, seconds = sum(call.references for call in calls), sum(call.seconds for call in calls)
    if references <= 0:
        raise ValueError("no reference was done")
    ratio, count = seconds / references, len(calls)
    if count < 2 or ratio == 0:
        return Cost(ratio, None, count, references)
    squares = sum((call.seconds - ratio * call.references) ** 2 for call in calls)
    fair = _STUDENT[count - 2] if count - 2 < len(_STUDENT) else 1.96 + 2.4 / (count - 1)
    error = fair * math.sqrt(squares / (count * (count - 1))) / (seconds / count)
    return Cost(ratio, error, count, references)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a worker has of its own, in bytes, warm and after work.

    Attributes:
        bare: with neither decoder nor tokenizer: a packer is about as large.
        prepare: one that prepares.
        tokenize: one that tokenizes.
    """

    bare: int
    prepare: int
    tokenize: int

    @property
    def fused(self) -> int:
        """One that does both."""
        return self.prepare + self.tokenize - self.bare


@dataclass(frozen=True, slots=True)
class Measured:
    """A lane.

    Attributes:
        prepare: its first stage.
        tokenize: its products, by key.
        windows, window_bytes: that one reference gives, over all views.
        tokens: by product, of one reference.
        media_s: of one reference; 0.0 where the medium has no clock.
        put_s, get_s: writing a reference's windows to shared memory, and reading them there.
        memory: of a worker.
        device: of the tokenizers.
        stolen: share of the time that the machine gave to others; their seconds are taken out.
        refused: samples that could not be prepared, by error code.
    """

    prepare: Cost
    tokenize: Mapping[str, Cost]
    windows: float
    window_bytes: float
    tokens: Mapping[str, float]
    media_s: float
    put_s: float
    get_s: float
    memory: Memory
    device: str
    stolen: float
    refused: Mapping[str, int]

    @property
    def tokenize_s(self) -> float:
        """A reference in all products, one after the other."""
        return sum(cost.reference_s for cost in self.tokenize.values())
