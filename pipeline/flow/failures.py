"""How many of a lane's items end as letters. Letters are held until that has been judged, so that no outage and no
wrong setting drains a topic into letters: either they come out once the window has passed, or the lane stops.

Counted by product: a tokenizer that refuses everything shows, though the lane's other products do well.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

_SLICES = 16
_CODES_NAMED = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FailureSettings:
    """When failures stop a lane.

    Attributes:
        window_s: how long letters are held, and over which the share is taken; 0 holds none.
        most_share: of the items that ended, letters above this share stop the lane; 1 never does.
        least_items: the share says nothing below so many items; where fewer end in the window, it is taken over the
            last so many.
        outage_most_s: a place (bucket, host) that is down is waited for; after so long it is given up, and its items
            become letters: they do not count in the share if others of the lane worked meanwhile.
    """

    window_s: float = 30.0
    most_share: float = 0.5
    least_items: int = 100
    outage_most_s: float = 21_600.0


class Judgement(StrEnum):
    """What becomes of held letters."""

    NONE_DUE = "none_due"
    """They wait on, or there are none."""
    WINDOW_PASSED = "window_passed"
    """The share was fine for as long as these were held: out with them."""
    ENDING = "ending"
    """The run ends, and the share is fine so far: all go out."""
    STOPPED = "stopped"
    """Too many: none of them comes out, ever."""


@dataclass(frozen=True, slots=True)
class CodeCount:
    """Letters of one code.

    Attributes:
        uri: of one of them; "" where the message named none.
    """

    code: str
    count: int
    uri: str


@dataclass(frozen=True, slots=True)
class Excess:
    """Too many letters.

    Attributes:
        ended: items of the product that ended within the window, or the last `least_items`; letters included.
        codes: the most frequent ones.
    """

    product: str
    letters: int
    ended: int
    codes: tuple[CodeCount, ...]

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.letters / self.ended


@dataclass(slots=True)
class _Slice:
    """What ended in a slice of the window."""

    begins_s: float
    ended: int = 0
    codes: Counter[str] = field(default_factory=Counter[str])
    uris: dict[str, str] = field(default_factory=dict[str, str])


class _Endings:
    """How one product's items ended, over a sliding window and at least so many items."""

    def __init__(self, window_s: float, least_items: int) -> None:
        self._window_s = window_s
        self._least_items = least_items
        self._slices: deque[_Slice] = deque()
        self.ended = 0
        self.letters = 0

    def fine(self, now_s: float) -> None:
        self._now(now_s).ended += 1
        self.ended += 1

    def letter(self, code: str, uri: str, now_s: float) -> None:
        now = self._now(now_s)
        now.ended += 1
        now.codes[code] += 1
        now.uris[code] = uri
        self.ended += 1
        self.letters += 1

    def forget(self, now_s: float) -> None:
        """Drop what is older than the window and not needed."""
        oldest_s = now_s - self._window_s - self._window_s / _SLICES
        while self._slices and self._slices[0].begins_s <= oldest_s:
            if self.ended - self._slices[0].ended < self._least_items:
                break
            gone = self._slices.popleft()
            self.letters -= gone.codes.total()
            self.ended -= gone.ended

    def excess(self, product: str) -> Excess:
        codes, uris = Counter[str](), dict[str, str]()
        for each in self._slices:
            codes.update(each.codes)
            uris |= each.uris
        named = tuple(CodeCount(code, count, uris[code]) for code, count in codes.most_common(_CODES_NAMED))
        return Excess(product, self.letters, self.ended, named)

    def _now(self, now_s: float) -> _Slice:
        if not self._slices or now_s - self._slices[-1].begins_s >= self._window_s / _SLICES:
            self.forget(now_s)
            self._slices.append(_Slice(now_s))
        return self._slices[-1]


class Failures(Generic[T]):
    """See the module. Holds whatever stands for a letter.

    Attributes:
        excess: why the lane must stop; None while all is well.
    """

    def __init__(self, settings: FailureSettings) -> None:
        self._settings = settings
        self._endings: dict[str, _Endings] = {}
        self._held: deque[tuple[float, T]] = deque()
        self.excess: Excess | None = None

    @property
    def held(self) -> int:
        """Letters that wait."""
        return len(self._held)

    @property
    def waiting(self) -> Iterator[T]:
        """These letters, the one that has waited longest first."""
        return (letter for _, letter in self._held)

    def fine(self, product: str, now_s: float) -> None:
        """An item has ended in a product, with rows or rightly without."""
        self._of(product).fine(now_s)

    def letter(self, product: str, code: str, uri: str, letter: T, now_s: float, *, counts: bool = True) -> None:
        """An item has ended as a letter in a product; it is held.

        Args:
            product: key.
            code: of the failure.
            uri: of the item, or where its message stands.
            letter: what stands for it.
            now_s: the lane's clock.
            counts: in the share. What waited for a place that was given up in the end comes all at once and does not.
        """
        if counts:
            self._of(product).letter(code, uri, now_s)
        self._held.append((now_s, letter))

    def judge(self, now_s: float, *, ending: bool) -> tuple[Judgement, tuple[T, ...]]:
        """Look at the shares. Returns the letters that may go out now, or, once `STOPPED`, those that never will.

        Args:
            now_s: the lane's clock.
            ending: the run ends and nothing more will come.
        """
        if self.excess is None:
            if not self._held:
                return Judgement.NONE_DUE, ()
            self.excess = self._find_excess(now_s)
        if self.excess is not None:
            return Judgement.STOPPED, self._take(len(self._held))
        if ending:
            return Judgement.ENDING, self._take(len(self._held))
        due = 0
        for since_s, _ in self._held:
            if now_s - since_s < self._settings.window_s:
                break
            due += 1
        return (Judgement.WINDOW_PASSED, self._take(due)) if due else (Judgement.NONE_DUE, ())

    def _find_excess(self, now_s: float) -> Excess | None:
        for product, endings in self._endings.items():
            endings.forget(now_s)
            enough = endings.ended >= self._settings.least_items
            if enough and endings.letters > self._settings.most_share * endings.ended:
                return endings.excess(product)
        return None

    def _take(self, count: int) -> tuple[T, ...]:
        return tuple(self._held.popleft()[1] for _ in range(count))

    def _of(self, product: str) -> _Endings:
        endings = self._endings.get(product)
        if endings is None:
            endings = self._endings[product] = _Endings(self._settings.window_s, self._settings.least_items)
        return endings
