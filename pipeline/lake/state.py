"""What the lake's log amounts to: the pure fold of its versions 1..N."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from pyroaring import BitMap64

from operators.errors import ConfigError, InvariantError, ProductSupersededError
from operators.records import Origin, VoidReason
from pipeline.flow.coverage import Coverage, bitmap_overlap
from pipeline.flow.ranges import Ranges, difference, merged
from pipeline.lake.delta import Delta, Opening, OutcomeFile, ProductSpan, Rewrite
from pipeline.lake.open_letters import OpenLetters, close_in_all, forget_file, open_count, open_in, open_ranges
from pipeline.records import Predicate, Product, Shard, SourcePartition, Span

Key = tuple[str, SourcePartition]
"""(product key, log)."""


@dataclass(frozen=True, slots=True)
class ProductState:
    """A product that the lake knows.

    Attributes:
        open: its rows are admitted; at most one product of a name is.
        opened_at: the version that opened it last.
    """

    product: Product
    lane: str
    open: bool
    opened_at: int


@dataclass(slots=True)
class Counters:
    """What a product has had so far: items, except `rows` and `tokens`, which are those of its live shards."""

    rows: int = 0
    tokens: int = 0
    letters: int = 0
    empties: int = 0
    voids: dict[VoidReason, int] = field(default_factory=dict[VoidReason, int])

    def count(self, reason: VoidReason, items: int) -> None:
        """So many void items more."""
        if items:
            self.voids[reason] = self.voids.get(reason, 0) + items


class LakeState:
    """Folded with `apply`, in place and in order. After an InvariantError it is not to be used any more.

    Attributes:
        version: N.
        min_base: nothing older may be added.
        products: by key, in the order in which they were first opened.
        starts: the `from` of (product key, log), as committed.
        own_coverage: what each product's own commits cover, by (product key, log).
        shards: the live ones by product key and path, in the order of their commits.
        outcomes: the letters-and-empties files by path; their `open` is in `letters`.
        letters: the messages with open letters, by (product *name*, log) and outcomes file: a successor takes
            its predecessor's letters over.
        counters: by product key.
        predicates: what is taken down, and the version that said so.
    """

    def __init__(self) -> None:
        self.version = 0
        self.min_base = 0
        self.products = dict[str, ProductState]()
        self.starts = dict[Key, int]()
        self.own_coverage = dict[Key, Coverage]()
        self.shards = dict[str, dict[str, Shard]]()
        self.outcomes = dict[str, OutcomeFile]()
        self.letters: OpenLetters = {}
        self.counters = dict[str, Counters]()
        self.predicates = dict[Predicate, int]()

    def copy(self) -> LakeState:
        """One that can go its own way."""
        other = LakeState()
        other.version, other.min_base = self.version, self.min_base
        other.products, other.starts, other.outcomes = dict(self.products), dict(self.starts), dict(self.outcomes)
        other.predicates = dict(self.predicates)
        other.own_coverage = {key: coverage.copy() for key, coverage in self.own_coverage.items()}
        other.shards = {key: dict(shards) for key, shards in self.shards.items()}
        other.letters = {
            key: {path: offsets.copy() for path, offsets in files.items()} for key, files in self.letters.items()
        }
        other.counters = {key: replace(each, voids=dict(each.voids)) for key, each in self.counters.items()}
        return other

    # --- products

    def lineage(self, product: str) -> tuple[str, ...]:
        """The keys of all products of this one's name, in the order of their opening: whose coverage counts for it."""
        known = self.products.get(product)
        if known is None:
            return (product,)
        return tuple(key for key, each in self.products.items() if each.product.name == known.product.name)

    def open_product(self, name: str) -> ProductState | None:
        """The product of this name whose rows are admitted."""
        return next((each for each in self.products.values() if each.open and each.product.name == name), None)

    def is_open(self, product: str) -> bool:
        """Whether rows of this product (key) are admitted."""
        known = self.products.get(product)
        return known is not None and known.open

    def judged(self, opening: Opening) -> Opening | None:
        """What an opening comes to: with its `closes` filled in, or None where the product runs already.

        Raises:
            ProductSupersededError: a higher revision of the name has been opened.
            ConfigError: the fingerprint changed without a higher revision.
        """
        product = opening.product
        namesake = self.products.get(product.key)
        if namesake is not None and namesake.product.fingerprint != product.fingerprint:
            raise ConfigError(f"product {product.key}: another fingerprint begins with the same 8 digits; rename it")
        current = self.open_product(product.name)
        if current is None:
            return replace(opening, closes=None)
        running = current.product
        if running.fingerprint == product.fingerprint:
            return None
        if product.revision < running.revision:
            raise ProductSupersededError(
                f"product {product.name} runs as revision {running.revision} ({running.key}); "
                f"this process has revision {product.revision} ({product.key})"
            )
        if product.revision == running.revision:
            raise ConfigError(
                f"product {product.name} has changed ({running.key} -> {product.key}) but its revision has not: "
                f"set revision: {running.revision + 1} to start it anew, or undo the change"
            )
        return replace(opening, closes=running.key)

    # --- coverage

    def start(self, product: str, log: SourcePartition) -> int | None:
        """The `from` of a log in a product: its own, else the nearest predecessor's; None where there is none yet."""
        own = self.starts.get((product, log))
        if own is not None:
            return own
        inherited = (self.starts.get((key, log)) for key in reversed(self.lineage(product)))
        return next((offset for offset in inherited if offset is not None), None)

    def logs(self, product: str) -> tuple[SourcePartition, ...]:
        """The logs that have a `from` in a product, its own or inherited."""
        lineage = set(self.lineage(product))
        return tuple(sorted({log for key, log in self.starts if key in lineage}))

    def coverages(self, product: str, log: SourcePartition) -> tuple[Coverage, ...]:
        """A product's own coverage of a log and what it inherits."""
        found = (self.own_coverage.get((key, log)) for key in self.lineage(product))
        return tuple(coverage for coverage in found if coverage is not None)

    def overlap(self, product: str, span: Span) -> Ranges:
        """What of these messages is covered in a product, inherited coverage included."""
        return merged(each for own in self.coverages(product, span.log) for each in own.overlap(span.ranges))

    def own_overlap(self, product: str, span: Span) -> Ranges:
        """What of these messages a product's own commits cover."""
        own = self.own_coverage.get((product, span.log))
        return own.overlap(span.ranges) if own is not None else ()

    def covers(self, product: str, log: SourcePartition, offset: int) -> bool:
        """Whether a message is done in a product, by itself or a predecessor."""
        return any(coverage.covers(offset) for coverage in self.coverages(product, log))

    def next_uncovered(self, product: str, log: SourcePartition, at_least: int) -> int:
        """The least offset >= `at_least` that neither a product nor a predecessor has covered."""
        coverages, at = self.coverages(product, log), at_least
        while True:
            after = max((coverage.next_uncovered(at) for coverage in coverages), default=at)
            if after == at:
                return at
            at = after

    def position(self, product: str, log: SourcePartition) -> int | None:
        """Where live work goes on: the least uncovered offset >= `from`; None where no `from` is committed."""
        start = self.start(product, log)
        return None if start is None else self.next_uncovered(product, log, start)

    def open_letters(self, name: str, span: Span, besides: Collection[str] = ()) -> Ranges:
        """Which of these messages have open letters in the products of this name, in other files than `besides`."""
        return open_ranges(self.letters, name, span, besides)

    def has_open_letter(self, product: str, path: str, origin: Origin) -> bool:
        """Whether the letter of this item in this outcomes file of a product (key) is open."""
        log = SourcePartition(origin.source_id, origin.partition)
        return origin.offset in self.letters.get((self.products[product].product.name, log), {}).get(path, ())

    def open_count(self, product: str, path: str) -> int:
        """How many messages have open letters in this file of a product (key)."""
        return open_count(self.letters, self.products[product].product.name, path) if product in self.products else 0

    # --- files

    def is_live(self, product: str, path: str) -> bool:
        """Whether this shard or outcomes file is what readers of a product (key) go by."""
        if path in self.shards.get(product, ()):
            return True
        file = self.outcomes.get(path)
        return file is not None and file.product == product

    @property
    def live_paths(self) -> set[str]:
        """All live shards and outcomes files."""
        return {path for shards in self.shards.values() for path in shards} | set(self.outcomes)

    # --- the fold

    def apply(self, delta: Delta) -> None:
        """Fold the next version in.

        Raises:
            InvariantError: it is not the next one, or does what no commit may do.
        """
        if delta.version != self.version + 1:
            raise InvariantError(f"version {delta.version} can't follow version {self.version}")
        self._check_base(delta)
        self._apply_decisions(delta)
        for rewrite in delta.rewrites:
            self._rewrite(rewrite, delta)
        self._apply_outcomes(delta)
        for shard in delta.shards:
            self._check_open(shard.product, delta)
            self._add_shard(shard, delta)
        if delta.min_base is not None:
            self.min_base = delta.min_base
        self.version = delta.version

    def _apply_decisions(self, delta: Delta) -> None:
        for opening in delta.openings:
            self._open(opening, delta.version)
        for start in delta.starts:
            self._check_open(start.product, delta)
            if self.starts.setdefault((start.product, start.log), start.offset) != start.offset:
                raise InvariantError(f"version {delta.version} moves the start of {start.log} in {start.product}")
        for predicate in delta.predicates:
            self.predicates.setdefault(predicate, delta.version)

    def _apply_outcomes(self, delta: Delta) -> None:
        for closing in delta.closings:
            self._close_letters(closing, delta)
        for file in delta.outcomes:
            self._add_outcomes(file, delta)
        for each in (*delta.covers, *(ProductSpan(skip.product, skip.span) for skip in delta.skips)):
            self._cover(each, delta)
        for each in delta.remade:
            self._remake(each, delta)
        for void in delta.voids:
            self._check_open(void.product, delta)
            self.counters[void.product].count(void.reason, void.items)
        for skip in delta.skips:  # open: `_cover` has looked
            self.counters[skip.product].count(skip.reason, skip.span.count)

    def _check_base(self, delta: Delta) -> None:
        if delta.base != delta.oldest_base:
            raise InvariantError(f"version {delta.version} says base {delta.base}, its files say {delta.oldest_base}")
        if delta.base < self.min_base:
            raise InvariantError(f"version {delta.version} adds files of base {delta.base} < {self.min_base}")
        if delta.min_base is not None and not self.min_base <= delta.min_base < delta.version:
            raise InvariantError(f"version {delta.version} moves min_base from {self.min_base} to {delta.min_base}")

    def _check_open(self, product: str, delta: Delta) -> None:
        if not self.is_open(product):
            raise InvariantError(f"version {delta.version} adds to {product}, which is not open")

    def _open(self, opening: Opening, version: int) -> None:
        try:
            judged = self.judged(opening)
        except (ConfigError, ProductSupersededError) as error:
            raise InvariantError(f"version {version}: {error}") from error
        if judged != opening:
            raise InvariantError(f"version {version} opens {opening.product.key} over {opening.closes}, not {judged}")
        if opening.closes is not None:
            self.products[opening.closes] = replace(self.products[opening.closes], open=False)
        key = opening.product.key
        self.products[key] = ProductState(opening.product, opening.lane, open=True, opened_at=version)
        self.counters.setdefault(key, Counters())
        self.shards.setdefault(key, {})

    def _cover(self, part: ProductSpan, delta: Delta) -> None:
        product, span = part.product, part.span
        self._check_open(product, delta)
        twice = self.overlap(product, span)
        if twice:
            raise InvariantError(f"version {delta.version} covers {span.log} {twice[:3]} in {product} a second time")
        position = self.position(product, span.log)
        if position is None:
            raise InvariantError(f"version {delta.version} covers {span.log} in {product} before a start")
        self._add_own(product, span, position)

    def _remake(self, part: ProductSpan, delta: Delta) -> None:
        product, span = part.product, part.span
        self._check_open(product, delta)
        if twice := self.own_overlap(product, span):
            raise InvariantError(f"version {delta.version} makes {span.log} {twice[:3]} in {product} a second time")
        if fresh := difference(span.ranges, self.overlap(product, span)):
            raise InvariantError(f"version {delta.version} remakes {span.log} {fresh[:3]}, which {product} never had")
        position = self.position(product, span.log)
        assert position is not None
        self._add_own(product, span, position)

    def _add_own(self, product: str, span: Span, position: int) -> None:
        start = self.starts.get((product, span.log), position)
        self.own_coverage.setdefault((product, span.log), Coverage.starting_at(start)).add(span.ranges)

    def _add_shard(self, shard: Shard, delta: Delta) -> None:
        live = self.shards[shard.product]
        if shard.path in live:
            raise InvariantError(f"version {delta.version} adds {shard.path} a second time")
        live[shard.path] = shard
        self.counters[shard.product].rows += shard.rows
        self.counters[shard.product].tokens += shard.tokens

    def _close_letters(self, closing: ProductSpan, delta: Delta) -> None:
        self._check_open(closing.product, delta)
        name = self.products[closing.product].product.name
        not_open = difference(closing.span.ranges, self.open_letters(name, closing.span))
        if not_open:
            raise InvariantError(f"version {delta.version} closes letters that are not open: {name} {not_open[:3]}")
        close_in_all(self.letters, name, closing.span.log, closing.span.ranges)

    def _add_outcomes(self, file: OutcomeFile, delta: Delta) -> None:
        self._check_open(file.product, delta)
        name = self.products[file.product].product.name
        self._add_outcome_file(file, delta)
        for span in file.open:
            open_in(self.letters, name, file.path, span)

    def _add_outcome_file(self, file: OutcomeFile, delta: Delta) -> None:
        if file.path in self.outcomes:
            raise InvariantError(f"version {delta.version} adds {file.path} a second time")
        self.outcomes[file.path] = replace(file, open=())
        self.counters[file.product].letters += file.letters
        self.counters[file.product].empties += file.empties

    def _rewrite(self, rewrite: Rewrite, delta: Delta) -> None:
        product = rewrite.product
        if product not in self.products:
            raise InvariantError(f"version {delta.version} rewrites files of {product}, which was never opened")
        name, opened = self.products[product].product.name, dict[SourcePartition, BitMap64]()
        for path in rewrite.removes:
            if not self.is_live(product, path):
                raise InvariantError(f"version {delta.version} replaces {path}, which is not live in {product}")
            self._remove(product, path)
            for log, offsets in forget_file(self.letters, name, path).items():
                opened[log] = opened.get(log, BitMap64()) | offsets
        for shard in rewrite.shards:
            self._add_shard(shard, delta)
        for file in rewrite.outcomes:
            self._add_outcome_file(file, delta)
            for span in file.open:
                still = bitmap_overlap(opened.get(span.log, BitMap64()), span.ranges)
                open_in(self.letters, name, file.path, Span(span.log, still))
        self.counters[product].count(VoidReason.TAKEN_DOWN, rewrite.taken_down)
        self.counters[product].count(VoidReason.DUPLICATE, rewrite.duplicates)

    def _remove(self, product: str, path: str) -> None:
        counters, shard = self.counters[product], self.shards[product].pop(path, None)
        if shard is not None:
            counters.rows -= shard.rows
            counters.tokens -= shard.tokens
            return
        file = self.outcomes.pop(path)
        counters.letters -= file.letters
        counters.empties -= file.empties


def fold(deltas: Iterable[Delta]) -> LakeState:
    """The state after these versions, from 1 on.

    Raises:
        InvariantError: as `LakeState.apply`.
    """
    state = LakeState()
    for delta in deltas:
        state.apply(delta)
    return state


def covered_messages(state: LakeState, product: str) -> int:
    """How many messages a product's own commits cover."""
    return sum(coverage.count() for (key, _), coverage in state.own_coverage.items() if key == product)


def letter_messages(state: LakeState, name: str) -> int:
    """How many messages have open letters in the products of this name."""
    return sum(
        len(offsets) for (owner, _), files in state.letters.items() if owner == name for offsets in files.values()
    )
