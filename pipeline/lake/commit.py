"""The commit protocol as a state machine: events in, actions out, nothing done.

1. **Judge** the openings: one that runs already is a no-op; a changed product needs a higher revision, or the whole
   commit is refused. Starts that are committed already, in the product or a predecessor, stand.
2. **Admit** every part (a `Sealed`) against the state *and* what this delta has taken so far: a message that is covered
   is dropped; a replayed one is dropped unless its letter is still open; the part of a product that is closed, or one
   older than vacuum's floor, is refused alone.
3. **Filter** each shard of a part that lost messages (`FilterShard`): a copy under a new name. **Write** the letters
   and empties that are left, one file a product (`WriteOutcomes`).
4. **Create** version N+1 exclusively (`CreateVersion`), with a `commit_id` that is fresh since the last conflict.
5. Whatever the store answered, **read** N+1 (`ReadVersion`): timeouts, 5xx and 409 are unclear, an SDK that retries
   reports 412 on its own success, and an abandoned put may land later.
   - It has this `commit_id`: it is mine. Fold it in; `Committed`.
   - Nothing is there: create again, *the same bytes*; should the first put land after all, it is mine as well.
   - It has another: fold it in, and whatever follows it (`ReadVersion` until there is none); back to 1 with what is
     left.

A crash between any two actions loses nothing: what was not committed is not covered and will be done again; files
written for it are named by no version.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum

from operators.errors import InvariantError, StopError
from pipeline.flow.ranges import Ranges, difference, intersection, merged
from pipeline.lake.codec import delta_bytes, parse_delta
from pipeline.lake.delta import Delta, Opening, OutcomeFile, ProductSpan, Skip, Start, VoidCount
from pipeline.lake.parts import Part, spans_difference
from pipeline.lake.paths import base_of, version_path
from pipeline.lake.proposal import (
    Action,
    Committed,
    CreateAnswered,
    CreateVersion,
    Event,
    FilterShard,
    OutcomesWritten,
    PartResult,
    Proposal,
    ReadVersion,
    Reason,
    Refused,
    ShardFiltered,
    Verdict,
    VersionRead,
    WriteOutcomes,
)
from pipeline.lake.state import LakeState
from pipeline.records import Empty, Letter, SourcePartition, Span

Taken = dict[tuple[str, SourcePartition], Ranges]


class Rules:
    """The decisions on which exactly-once rests, one method each."""

    def is_mine(self, found: Delta, sent: Delta) -> bool:
        """Whether the version that was found is the one that was sent."""
        return found.commit_id == sent.commit_id

    def covered(self, state: LakeState, product: str, span: Span, conflicts: int) -> Ranges:
        """What of these messages the lake has in this product (key). `conflicts`: versions folded in by this commit."""
        del conflicts
        return state.overlap(product, span)

    def letters_open(self, state: LakeState, product: str, span: Span, conflicts: int) -> Ranges:
        """Which of these messages still have open letters for this product (key)."""
        del conflicts
        known = state.products.get(product)
        return state.open_letters(known.product.name, span) if known else ()

    def taken(self, ranges: Ranges, span: Span) -> Ranges:
        """What of these messages this delta has already, given what it has taken of the same product and log."""
        return intersection(span.ranges, ranges)


class Phase(StrEnum):
    """What the machine waits for."""

    BEGIN = "begin"
    FILTER = "filter"
    OUTCOMES = "outcomes"
    CREATE = "create"
    SETTLE = "settle"
    CATCH_UP = "catch_up"
    DONE = "done"


class Commit:
    """One commit, from proposal to version. Folds what it reads into the state that it was given.

    Args:
        proposal: what is to be committed.
        state: of the lake, as far as known; changed in place.
        writer: names this committer, for people.
        new_id: gives commit ids, unique for ever.
        now_ms: gives the time, UTC, for people.
        rules: the decisions.
    """

    def __init__(
        self,
        proposal: Proposal,
        state: LakeState,
        *,
        writer: str,
        new_id: Callable[[], str],
        now_ms: Callable[[], int],
        rules: Rules | None = None,
    ) -> None:
        self._proposal, self._state, self._rules = proposal, state, rules or Rules()
        self._writer, self._new_id, self._now_ms = writer, new_id, now_ms
        self._parts = [Part(sealed, sealed) for sealed in proposal.sealed]
        self._phase = Phase.BEGIN
        self._conflicts = 0
        self._openings: tuple[Opening, ...] = ()
        self._filters = deque[tuple[Part, FilterShard]]()
        self._files = dict[str, tuple[tuple[Letter, ...], tuple[Empty, ...], OutcomeFile]]()
        self._wanted = deque[WriteOutcomes]()
        self._sent: Delta | None = None

    def begin(self) -> Action:
        """The first action."""
        return self._admit()

    def handle(self, event: Event) -> Action:
        """What to do next, given how the last action went.

        Raises:
            InvariantError: no answer to the last action, or the log breaks its own rules.
        """
        match self._phase, event:
            case Phase.FILTER, ShardFiltered(shard):
                part, action = self._filters.popleft()
                part.replace_shard(action.shard, shard)
                return self._filters[0][1] if self._filters else self._write_outcomes()
            case Phase.OUTCOMES, OutcomesWritten(file):
                wanted = self._wanted.popleft()
                self._files[wanted.product] = (wanted.letters, wanted.empties, file)
                return self._write_outcomes()
            case Phase.CREATE, CreateAnswered():
                self._phase = Phase.SETTLE
                return self._read()
            case Phase.SETTLE, VersionRead(body):
                return self._settle(body)
            case Phase.CATCH_UP, VersionRead(body):
                return self._catch_up(body)
            case _:
                raise InvariantError(f"a commit in phase {self._phase} can't take {type(event).__name__}")

    # --- 1. and 2.: what may go in

    def _admit(self) -> Action:
        try:
            judged = (self._state.judged(opening) for opening in self._proposal.openings)
            self._openings = tuple(opening for opening in judged if opening is not None)
            self._filters.clear()
            taken, closing = Taken(), Taken()
            for part in self._parts:
                self._admit_part(part, closing if part.sealed.closes_letters else taken)
        except StopError as error:
            self._phase = Phase.DONE
            return Refused(error)
        if self._filters:
            self._phase = Phase.FILTER
            return self._filters[0][1]
        return self._write_outcomes()

    def _admit_part(self, part: Part, taken: Taken) -> None:
        product, state = part.sealed.product, self._state
        if part.refused:
            return
        if not self._is_open(product):
            part.refuse(Reason.PRODUCT_CLOSED)
            return
        if any(base_of(shard.path) < state.min_base for shard in part.left.shards):
            part.refuse(Reason.BASE_TOO_OLD)
            return
        gone, reason = list[Span](), Reason.NEW
        for span in part.left.covers:
            there, why = self._not_admitted(part, span)
            mine = (product, span.log)
            twice = self._rules.taken(taken.get(mine, ()), span)
            lost = merged((*there, *twice))
            if lost:
                gone.append(Span(span.log, lost))
                reason = why if there else Reason.TWICE_IN_DELTA
            taken[mine] = merged((*taken.get(mine, ()), *difference(span.ranges, lost)))
        if gone:
            drop = tuple(gone)
            for shard in part.drop(drop, reason):
                self._filters.append((part, FilterShard(shard, drop, state.version)))

    def _not_admitted(self, part: Part, span: Span) -> tuple[Ranges, Reason]:
        basis = self._basis(part.sealed.product)
        if part.sealed.closes_letters:
            still = self._rules.letters_open(self._state, basis, span, self._conflicts)
            return difference(span.ranges, still), Reason.LETTER_NOT_OPEN
        if self._start(part.sealed.product, span.log) is None:
            raise InvariantError(f"{span.log} has no committed start in {part.sealed.product}: nothing may be covered")
        return self._rules.covered(self._state, basis, span, self._conflicts), Reason.ALREADY_COVERED

    def _is_open(self, product: str) -> bool:
        if any(opening.product.key == product for opening in self._openings):
            return True
        return self._state.is_open(product) and all(opening.closes != product for opening in self._openings)

    def _basis(self, product: str) -> str:
        """Whose lineage counts for a product: before its opening is committed, its predecessor's."""
        opened = (opening for opening in self._openings if opening.product.key == product)
        return next((opening.closes for opening in opened if opening.closes is not None), product)

    def _start(self, product: str, log: SourcePartition) -> int | None:
        known = self._state.start(self._basis(product), log)
        if known is not None:
            return known
        return next((s.offset for s in self._proposal.starts if (s.product, s.log) == (product, log)), None)

    # --- 3.: files

    def _write_outcomes(self) -> Action:
        self._phase = Phase.OUTCOMES
        self._wanted.clear()
        for product in dict.fromkeys(part.sealed.product for part in self._parts):
            parts = [part.left for part in self._parts if part.sealed.product == product]
            letters = tuple(letter for part in parts for letter in part.letters)
            empties = tuple(empty for part in parts for empty in part.empties)
            written = self._files.get(product)
            fresh = written is not None and base_of(written[2].path) >= self._state.min_base
            if not letters and not empties:
                self._files.pop(product, None)
            elif written is None or not fresh or written[:2] != (letters, empties):
                self._wanted.append(WriteOutcomes(product, letters, empties, self._state.version))
        return self._wanted[0] if self._wanted else self._create()

    # --- 4.: the version

    def _create(self) -> Action:
        delta = self._delta()
        if delta is None:
            return self._committed(None)
        self._sent = delta
        return self._send(delta)

    def _send(self, delta: Delta) -> Action:
        self._phase = Phase.CREATE
        return CreateVersion(delta.version, version_path(delta.version), delta_bytes(delta))

    def _delta(self) -> Delta | None:
        left = [part.left for part in self._parts if part.left.covers]
        covers = [part for part in left if not part.closes_letters]
        floor = self._proposal.min_base
        files = tuple(file for _, _, file in self._files.values())
        draft = Delta(
            version=self._state.version + 1,
            base=self._state.version,
            commit_id="",
            writer=self._writer,
            committed_at_ms=self._now_ms(),
            openings=self._openings,
            starts=tuple(self._starts()),
            shards=tuple(shard for part in left for shard in part.shards),
            covers=tuple(ProductSpan(part.product, span) for part in covers for span in part.covers),
            outcomes=files,
            voids=tuple(self._voids()),
            closings=tuple(ProductSpan(p.product, span) for p in left if p.closes_letters for span in p.covers),
            skips=tuple(self._skips()),
            min_base=floor if floor is not None and floor > self._state.min_base else None,
        )
        new = (draft.openings, draft.starts, draft.covers, draft.closings, draft.skips)
        if not any(new) and draft.min_base is None:
            return None
        return replace(draft, base=draft.oldest_base, commit_id=self._new_id())

    def _starts(self) -> Iterable[Start]:
        seen = set[tuple[str, SourcePartition]]()
        for start in self._proposal.starts:
            key = (start.product, start.log)
            committed = self._state.start(self._basis(start.product), start.log)
            if key not in seen and committed is None and self._is_open(start.product):
                seen.add(key)
                yield start

    def _skips(self) -> Iterable[Skip]:
        taken = list[ProductSpan]()
        for part in self._parts:
            if not part.sealed.closes_letters:
                taken += [ProductSpan(part.sealed.product, span) for span in part.left.covers]
        for skip in self._proposal.skips:
            if not self._is_open(skip.product):
                continue
            covered = self._rules.covered(self._state, self._basis(skip.product), skip.span, self._conflicts)
            here = Span(skip.span.log, difference(skip.span.ranges, covered))
            for span in spans_difference([here], [each.span for each in taken if each.product == skip.product]):
                taken.append(ProductSpan(skip.product, span))
                yield Skip(skip.product, span, skip.reason)

    def _voids(self) -> Iterable[VoidCount]:
        for part in self._parts:
            for reason, items in part.left.voids.items():
                if part.left.covers and items:
                    yield VoidCount(part.sealed.product, reason, items)

    # --- 5.: whose it is

    def _read(self) -> Action:
        version = self._state.version + 1
        return ReadVersion(version, version_path(version))

    def _settle(self, body: bytes | None) -> Action:
        sent = self._sent
        assert sent is not None
        if body is None:
            return self._send(sent)
        if self._rules.is_mine(parse_delta(body), sent):
            self._state.apply(sent)
            return self._committed(sent)
        return self._catch_up(body)

    def _catch_up(self, body: bytes | None) -> Action:
        if body is None:
            return self._admit()
        self._phase = Phase.CATCH_UP
        self._state.apply(parse_delta(body))
        self._conflicts += 1
        return self._read()

    def _committed(self, delta: Delta | None) -> Action:
        self._phase = Phase.DONE
        named = [part.sealed.product for part in self._parts]
        named += [each.product for each in (*self._proposal.starts, *self._proposal.skips)]
        closed = tuple(sorted({product for product in named if not self._state.is_open(product)}))
        return Committed(self._state.version, delta, tuple(self._result(part) for part in self._parts), closed)

    def _result(self, part: Part) -> PartResult:
        sealed, left = part.sealed, part.left
        if sealed.closes_letters:
            settled = () if part.refused else sealed.covers
        else:
            there = (Span(span.log, self._state.overlap(sealed.product, span)) for span in sealed.covers)
            settled = tuple(span for span in there if span.ranges)
        unsettled = spans_difference(sealed.covers, settled)
        if part.refused or not left.covers:
            verdict = Verdict.REFUSED
        else:
            verdict = Verdict.ADMITTED if part.reason is Reason.NEW else Verdict.FILTERED
        return PartResult(sealed, verdict, part.reason, left.covers, settled, unsettled)
