"""Open letters as work: each message once, with the items that are to be tried again in each product.

All open letters of a message in one product go together: closing one closes them all. Who chooses letters by their
code therefore gets the message's others in that product too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from pyroaring import BitMap64

from operators.records import MediaReference, Origin
from pipeline.flow.coverage import bitmap_of, bitmap_ranges
from pipeline.lake.gather import Offsets, all_of, last_of
from pipeline.lake.items import Place
from pipeline.lake.outcomes import read_outcomes
from pipeline.lake.remade import is_remade, remade_message
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore
from pipeline.records import Letter, Message, SourcePartition, Span, Task
from pipeline.refs.parse import parse

Choose = Callable[[Letter], bool]
RowsOf = Callable[[str, Offsets], Mapping[Place, Collection[int]]]


class Replay:
    """The tasks of a lake's open letters, file by file. Memory: the letters of a file, and of messages begun.

    Args:
        store: of the lake.
        state: of the lake; later letters are not seen.
        products: by name, the key of the product that takes the rows.
        choose: which letters are wanted.
        rows_of: the items of some messages that have rows in a product (key). A product that was closed and opened
            again may have what its successor wrote a letter of. None: nobody looks.

    Attributes:
        files: whose letters they are.
        chosen: letters that were given so far, by product's name and code.
        topics: the products' names by the topics of these letters.
    """

    def __init__(
        self,
        store: LakeStore,
        state: LakeState,
        products: Mapping[str, str],
        choose: Choose,
        rows_of: RowsOf | None = None,
    ) -> None:
        self._store = store
        self._products = dict(products)
        self._names = {key: each.product.name for key, each in state.products.items()}
        self._choose = choose
        self._open = dict[str, dict[tuple[str, SourcePartition], BitMap64]]()
        for (name, log), files in state.letters.items():
            for path, offsets in files.items() if name in self._products else ():
                self._open.setdefault(path, {})[name, log] = offsets.copy()
        self.files = tuple(path for path in state.outcomes if path in self._open)
        places = [all_of([{log: some} for (_, log), some in self._open[path].items()]) for path in self.files]
        self._last = last_of(places)
        self._left = {log: len(offsets) for log, offsets in all_of(places).items()}
        self._done = self._items_done(state, rows_of) if rows_of is not None else {}
        self.chosen = Counter[tuple[str, str]]()
        self.topics = dict[str, set[str]]()
        self._at = 0
        self._begun = dict[tuple[SourcePartition, int], list[Letter]]()

    @property
    def left(self) -> Mapping[SourcePartition, int]:
        """Messages that have not been looked at yet, by log."""
        return self._left

    def next(self) -> Sequence[Task] | None:
        """The tasks that the next file completes; None where there is none.

        Raises:
            StoreUnavailableError: nothing was given; call again.
        """
        if self._at == len(self.files):
            return None
        path = self.files[self._at]
        letters, _ = read_outcomes(self._store.read(path))
        for letter in letters:
            log = SourcePartition(letter.origin.source_id, letter.origin.partition)
            done = self._done.get(self._products.get(self._name_of(letter), ""), {}).get(
                (log, letter.origin.offset), ()
            )
            opened = self._open[path].get((self._name_of(letter), log), ())
            if letter.origin.offset in opened and letter.origin.item not in done:
                self._begun.setdefault((log, letter.origin.offset), []).append(letter)
        ready = list[Task]()
        for log, offsets in self._last[self._at].items():
            for offset in offsets:
                task = self._task(self._begun.pop((log, offset), []))
                ready += [task] if task is not None else []
            self._left[log] -= len(offsets)
        self._at += 1
        return ready

    def _task(self, letters: Sequence[Letter]) -> Task | None:
        """What is to be done of one message."""
        wanted = dict[str, dict[int, int]]()
        kept = list[Letter]()
        for name, group in groupby(sorted(letters, key=self._name_of), key=self._name_of):
            together = list(group)
            if any(self._choose(letter) for letter in together):
                tried = wanted.setdefault(self._products[name], {})
                for letter in together:
                    tried[letter.origin.item] = max(letter.attempts, tried.get(letter.origin.item, 0))
                kept += together
                self.chosen.update((name, letter.failure.code) for letter in together)
                self.topics.setdefault(together[0].topic, set()).add(name)
        return Task(message_of(kept), tuple(wanted), wanted) if wanted else None

    def _items_done(self, state: LakeState, rows_of: RowsOf) -> dict[str, Mapping[Place, Collection[int]]]:
        """By product, the items with letters that have rows there."""
        asked = dict[str, list[Offsets]]()
        for path, opened in self._open.items():
            for (name, log), offsets in opened.items():
                key = self._products[name]
                own = state.own_overlap(key, Span(log, bitmap_ranges(offsets)))
                if own and state.outcomes[path].product != key:
                    asked.setdefault(key, []).append({log: bitmap_of(own)})
        return {key: rows_of(key, all_of(messages)) for key, messages in asked.items()}

    def _name_of(self, letter: Letter) -> str:
        return self._names[letter.product]


def message_of(letters: Sequence[Letter]) -> Message:
    """The message that these letters are of: as it came, else put together from what was made of rows."""
    original = next((letter for letter in letters if not is_remade(letter.headers)), None)
    values = {letter.value for letter in letters}
    if original is not None or len(values) == 1:
        return _as_it_came(original or letters[0])
    references = dict[int, MediaReference]()
    for letter in letters:
        items = parse(_as_it_came(letter)).items
        references |= {number: item for number, item in enumerate(items) if isinstance(item, MediaReference)}
    first = letters[0]
    return remade_message(replace(first.origin, item=0), first.topic, references)


def _as_it_came(letter: Letter) -> Message:
    origin = Origin(letter.origin.source_id, letter.origin.partition, letter.origin.offset, 0)
    return Message(origin, letter.topic, letter.key, letter.value, letter.headers)
