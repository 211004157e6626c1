"""What a proposal comes to, given a state: the delta that would be committed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.flow.ranges import Ranges, difference
from pipeline.lake.delta import Delta, Opening, OutcomeFile, ProductSpan, Rewrite, Skip, Start, VoidCount
from pipeline.lake.parts import spans_difference
from pipeline.lake.proposal import Proposal
from pipeline.lake.state import LakeState
from pipeline.records import Sealed, SealKind, SourcePartition, Span


@dataclass(frozen=True, slots=True)
class Basis:
    """The state as it will be once some openings are folded in."""

    state: LakeState
    openings: tuple[Opening, ...]

    def is_open(self, product: str) -> bool:
        """Whether rows of this product (key) are admitted."""
        if any(opening.product.key == product for opening in self.openings):
            return True
        return self.state.is_open(product) and all(opening.closes != product for opening in self.openings)

    def of(self, product: str) -> str:
        """Whose lineage counts for a product: before its opening is committed, its predecessor's."""
        opened = (opening for opening in self.openings if opening.product.key == product)
        return next((opening.closes for opening in opened if opening.closes is not None), product)

    def start(self, product: str, log: SourcePartition) -> int | None:
        """The `from` of a log in a product, where one is committed."""
        return self.state.start(self.of(product), log)


def draft(
    proposal: Proposal,
    parts: Sequence[Sealed],
    files: tuple[OutcomeFile, ...],
    rewrites: tuple[Rewrite, ...],
    basis: Basis,
    covered: Callable[[str, Span], Ranges],
) -> Delta | None:
    """The next version, without its author, time and id; None where it would add nothing.

    Args:
        proposal: for its openings, starts, skips, predicates and floor.
        parts: what is left of its sealed.
        files: the outcomes files of `parts`.
        rewrites: of the proposal, those that may go in.
        basis: the state with the openings.
        covered: what of some messages the lake has in a product.
    """
    state, floor = basis.state, proposal.min_base
    by_kind = {kind: [part for part in parts if part.kind is kind] for kind in SealKind}
    delta = Delta(
        version=state.version + 1,
        base=state.version,
        commit_id="",
        writer="",
        committed_at_ms=0,
        openings=basis.openings,
        starts=tuple(_starts(proposal, basis)),
        shards=tuple(shard for part in parts for shard in part.shards),
        covers=_spans(by_kind[SealKind.LIVE]),
        outcomes=files,
        voids=tuple(_voids(parts)),
        closings=_spans(by_kind[SealKind.REPLAY]),
        skips=tuple(_skips(proposal, by_kind[SealKind.LIVE], basis, covered)),
        remade=_spans(by_kind[SealKind.RETOKENIZE]),
        rewrites=rewrites,
        predicates=tuple(each for each in proposal.predicates if each not in state.predicates),
        min_base=floor if floor is not None and floor > state.min_base else None,
    )
    spans = (delta.covers, delta.closings, delta.skips, delta.remade)
    new = (delta.openings, delta.starts, *spans, delta.rewrites, delta.predicates)
    if not any(new) and delta.min_base is None:
        return None
    return replace(delta, base=delta.oldest_base)


def added_by(rewrite: Rewrite) -> tuple[str, ...]:
    """The paths that a rewrite adds."""
    return (*(shard.path for shard in rewrite.shards), *(file.path for file in rewrite.outcomes))


def _spans(parts: Sequence[Sealed]) -> tuple[ProductSpan, ...]:
    return tuple(ProductSpan(part.product, span) for part in parts for span in part.covers)


def _starts(proposal: Proposal, basis: Basis) -> Iterator[Start]:
    seen = set[tuple[str, SourcePartition]]()
    for start in proposal.starts:
        key = (start.product, start.log)
        if key not in seen and basis.start(*key) is None and basis.is_open(start.product):
            seen.add(key)
            yield start


def _skips(
    proposal: Proposal, parts: Sequence[Sealed], basis: Basis, covered: Callable[[str, Span], Ranges]
) -> Iterator[Skip]:
    taken = list(_spans(parts))
    for skip in proposal.skips:
        if not basis.is_open(skip.product):
            continue
        here = Span(skip.span.log, difference(skip.span.ranges, covered(skip.product, skip.span)))
        for span in spans_difference([here], [each.span for each in taken if each.product == skip.product]):
            taken.append(ProductSpan(skip.product, span))
            yield Skip(skip.product, span, skip.reason)


def _voids(parts: Sequence[Sealed]) -> Iterator[VoidCount]:
    for part in parts:
        for reason, items in part.voids.items():
            if items:
                yield VoidCount(part.product, reason, items)
