"""What one item's outcomes ought to be, and whether they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from operators.errors import FetchFailedError
from operators.records import EmptyReason, Failure, MediaReference, VoidReason
from pipeline.flow.calls import Item
from pipeline.flow.prepare_stage import PREPARE
from pipeline.simulate.audit_log import Found
from pipeline.simulate.media import Media


@dataclass(slots=True)
class Judgement:
    """What is wrong with an outcome; nothing, where both are empty."""

    lost: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Expectations:
    """What is known of the world's items.

    Attributes:
        media: by uri, as they are in the end.
        before: by uri, as those were that have been mended.
        predicates: (field, value) of what has been taken down.
        replayed: whether every open letter was tried once more in the end.
        outages: whether a place of media was down for a while. What was alone in trying it may have been blamed.
    """

    media: Mapping[str, Media]
    before: Mapping[str, Media]
    predicates: frozenset[tuple[str, str]]
    replayed: bool
    outages: bool

    def taken_down(self, item: Item) -> bool:
        """Whether somebody had it taken down."""
        return self.by_uri(item) or (
            isinstance(item, MediaReference) and ("subject_key", item.attributes.get("subject_key")) in self.predicates
        )

    def by_uri(self, item: Item) -> bool:
        """Whether that was by its uri, which an empty outcome has too."""
        return isinstance(item, MediaReference) and ("uri", item.uri) in self.predicates

    def void_reason(self, item: Item) -> VoidReason | None:
        """Why an item is void by itself, if it is."""
        if isinstance(item, VoidReason):
            return item
        if isinstance(item, MediaReference) and isinstance(ended := self.media[item.uri].ended, VoidReason):
            return ended
        return None

    def judge(self, item: Item, found: Found, product: str, view: str, final: str) -> Judgement:
        """Hold the one outcome that an item has in a product (key) against what it ought to be.

        Args:
            final: the key of the product that is open in the end.
        """
        judgement = Judgement()
        what = self.media[item.uri] if isinstance(item, MediaReference) else item
        before = self.before.get(item.uri, what) if isinstance(item, MediaReference) else item
        uri = item.uri if isinstance(item, MediaReference) else ""
        if found.uris - {uri}:
            judgement.wrong.append(f"has the outcome of {found.uris} and is {uri!r}")
        elif found.letters:
            # Three deaths by chance make an innocent item guilty: that is the rule, not a mistake.
            innocent = {"worker.killed"} | ({FetchFailedError.code} if self.outages else set[str]())
            if not (found.letters[0] in innocent or _flawed(what, product) or _flawed(before, product)):
                judgement.wrong.append(f"is a letter: {found.letters[0]}")
            elif self.replayed and not _flawed(what, final):
                judgement.lost.append(f"is still a letter ({found.letters[0]}), and was replayed when it was sound")
        elif not isinstance(what, Media) or what.fails or PREPARE in what.kills | what.raises:
            judgement.wrong.append(f"should be a letter and is {found}")
        else:
            _judge_rows(what, found, view, judgement)
        return judgement


def _flawed(what: Media | Item, product: str) -> bool:
    if isinstance(what, Media):
        return what.fails or bool((what.kills | what.raises) & {PREPARE, product})
    return isinstance(what, Failure)


def _judge_rows(what: Media, found: Found, view: str, judgement: Judgement) -> None:
    expected = what.windows(view)
    if found.empties:
        if expected and what.ended is not EmptyReason.NO_TOKENS:
            judgement.wrong.append(f"is empty and should have {expected} rows")
        return
    if set(found.rows) != set(range(expected)):
        judgement.lost.append(f"has rows {sorted(found.rows)} of {expected}")
    if found.counts != {expected}:
        judgement.wrong.append(f"says that it has {found.counts} windows, and should have {expected}")
