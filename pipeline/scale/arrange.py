"""Whether a lane's tokenizers share their processes with what prepares for them, or have a pool of their own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ENOUGH = 0.95
"""A layout that is no faster than this against the other one is no reason to change anything."""


class ArrangeReason(StrEnum):
    """Why; `explanation` says it in a line."""

    APART_GPU = "apart_gpu"
    APART_SPEEDS_DIFFER = "apart_speeds_differ"
    FUSED_HOP_COSTS_MORE = "fused_hop_costs_more"
    FUSED_SMALL_HOST = "fused_small_host"
    NO_DIFFERENCE = "no_difference"

    @property
    def explanation(self) -> str:
        """One line for people."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    ArrangeReason.APART_GPU: "a fused worker would hold its GPU share while it decodes",
    ArrangeReason.APART_SPEEDS_DIFFER: "the stages need different workers; apart, each has as many as it needs",
    ArrangeReason.FUSED_HOP_COSTS_MORE: "sending windows between nodes costs more than pools of their own bring",
    ArrangeReason.FUSED_SMALL_HOST: "there are too few CPUs to be split into whole workers of either kind",
    ArrangeReason.NO_DIFFERENCE: "either way it is as fast, so it stays as it is configured",
}


@dataclass(frozen=True, slots=True)
class Layouts:
    """A lane's rate in references a second, whichever way it is laid out.

    Attributes:
        fused_hz: one pool.
        apart_hz: two.
        apart_free_hz: two, if windows travelled for nothing.
        gpus: of one worker that tokenizes.
        apart_now: two are configured.
    """

    fused_hz: float
    apart_hz: float
    apart_free_hz: float
    gpus: float
    apart_now: bool


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What to do, and how much faster than the other way that is (1.0: no faster)."""

    apart: bool
    reason: ArrangeReason
    gain: float


def arrange(layouts: Layouts) -> Arrangement:
    """The faster one; the configured one where they are about equal."""
    fused, apart = layouts.fused_hz, layouts.apart_hz
    if fused < ENOUGH * apart:
        reason = ArrangeReason.APART_GPU if layouts.gpus else ArrangeReason.APART_SPEEDS_DIFFER
        return Arrangement(apart=True, reason=reason, gain=_gain(apart, fused))
    if apart < ENOUGH * fused:
        by_hop = layouts.apart_free_hz >= ENOUGH * fused
        reason = ArrangeReason.FUSED_HOP_COSTS_MORE if by_hop else ArrangeReason.FUSED_SMALL_HOST
        return Arrangement(apart=False, reason=reason, gain=_gain(fused, apart))
    here, there = (apart, fused) if layouts.apart_now else (fused, apart)
    return Arrangement(layouts.apart_now, ArrangeReason.NO_DIFFERENCE, _gain(here, there))


def _gain(better: float, worse: float) -> float:
    """An infinite one where the other way does not start at all."""
    return better / worse if worse else float("inf") if better else 1.0
