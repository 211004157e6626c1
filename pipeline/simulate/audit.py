"""Counts what was lost and repeated, from the broker's messages and the lake's files alone.

What is owed, by product name and log, from the offset on at which its first reader began:

- of every message that is in the log, or that compaction or retention took, one coverage;
- of every item of what was covered as a message, one outcome: the item's own. Beside it there may be one more in each
  later product of the name, where the message was made anew for that;
- what retention took unread is skipped by a person, once; what compaction took unread is a hole, like control records;
- of a topic that was deleted, nothing more than what had been committed: that stands, and is the old topic's;
- of a log that an unclean election cut, under each offset either what stood there before or what stands there now;
- of what was taken down, nothing, but its count;
- of letters that were replayed when what was wrong had been mended, rows.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

from operators.records import MediaReference, Origin, VoidReason
from pipeline.flow.calls import Item
from pipeline.records import SourcePartition
from pipeline.simulate.audit_items import Expectations
from pipeline.simulate.audit_log import Found, LakeFacts
from pipeline.simulate.broker import SimulatedLog
from pipeline.simulate.faults import Event
from pipeline.simulate.publish import Published
from pipeline.simulate.world import World

MOST_ITEMS = 3


@dataclass(slots=True)
class Audit:
    """What is wrong, item by item.

    Attributes:
        lost: items without an outcome, or with some of their rows only.
        repeated: items with more than one outcome, or with a row twice.
        wrong: items with another outcome than theirs, counts that do not add up, and what no log may say.
        messages: that were owed.
    """

    lost: list[str] = field(default_factory=list[str])
    repeated: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    messages: int = 0


def audit_lake(world: World) -> Audit:
    """Compare what was published with what the lake has."""
    return _Auditor(world).audit


class _Auditor:
    def __init__(self, world: World) -> None:
        self._world = world
        self._lineup = world.lineup
        self._final = {product.name: product.key for product in world.lineup.final}
        self.audit = Audit()
        self._facts = facts = LakeFacts(world.store, self._lineup.names)
        producers = world.producers
        self._expect = Expectations(
            producers.media,
            producers.before,
            frozenset(facts.predicates),
            replayed=world.replayed,
            outages=bool(world.faults.events[Event.OUTAGE]),
        )
        self._voids = Counter[tuple[str, str]]()
        self._countable = True
        self.audit.wrong += facts.wrong
        self.audit.lost += facts.missing
        # Where a `from` was committed and its author died before reading, nothing is owed; a catch-up may have been.
        unread = {(name, SourcePartition(source, partition)): sys.maxsize for name, source, partition in facts.begun}
        self._begins = unread | world.promised
        for (name, log), begin in self._begins.items():
            self._audit_log(name, world.broker.logs[log], begin)
        self._audit_strangers()
        self._audit_voids()
        self._audit_openings()

    # --- messages

    def _audit_log(self, name: str, log: SimulatedLog, begin: int) -> None:
        variants: dict[int, list[Published]] = {}
        for one in log.ever():
            variants.setdefault(one.offset, []).append(one)
        for offset in range(self._end(log)):
            self._audit_offset(name, log, offset, variants.get(offset, []), begin)

    def _end(self, log: SimulatedLog) -> int:
        return max([log.end(self._world.now_s), *(one.end for one in log.ever())])

    def _audit_offset(self, name: str, log: SimulatedLog, offset: int, variants: list[Published], begin: int) -> None:
        message = (name, log.log.source_id, log.log.partition, offset)
        what, times = f"{name} {log.log.source_id}/{log.log.partition}@{offset}", self._facts.covered[message]
        if times > 1:
            self.audit.repeated.append(f"{what} is covered {times} times")
        if offset >= begin and not log.deleted and variants and (offset not in log.cut or self._there(log, variants)):
            self.audit.messages += 1
            if not times:
                self.audit.lost.append(f"{what} is not covered")
        if not times:
            return
        if message in self._facts.skipped:
            if offset >= log.start:
                self.audit.wrong.append(f"{what} was skipped and is there")
            if any(self._outcomes(name, log, offset, item) for item in range(MOST_ITEMS)):
                self.audit.repeated.append(f"{what} was skipped and has outcomes")
            return
        self._audit_content(name, log, offset, variants, what)

    def _there(self, log: SimulatedLog, variants: list[Published]) -> bool:
        return any(one in log.messages for one in variants)

    def _audit_content(self, name: str, log: SimulatedLog, offset: int, variants: list[Published], what: str) -> None:
        """A message that is covered, and not skipped: which of its variants it is, and whether all of that is there."""
        found = [each for item in range(MOST_ITEMS) for each in self._outcomes(name, log, offset, item).values()]
        uris = {uri for each in found for uri in each.uris} - {""}
        if uris:
            read = [one for one in variants if uris & {i.uri for i in one.items if isinstance(i, MediaReference)}]
        else:
            read = [one for one in variants if self._could_be(one, outcomes=bool(found))]
            self._countable &= not (read and offset in log.cut | log.compacted)
        if read:
            for number, item in enumerate(read[0].items):
                self._audit_item(name, log, offset, number, item, f"{what}.{number}")
        elif found:
            self.audit.wrong.append(f"{what} has outcomes of something that was never published there: {uris}")
        else:
            self._voids[name, VoidReason.HOLE] += 1
            if variants and offset not in log.compacted | log.cut:
                self.audit.lost.append(f"{what} has no outcome")

    def _could_be(self, one: Published, *, outcomes: bool) -> bool:
        """Whether a message of which the lake has no uri can be this one: all void, taken down, or malformed."""
        kept = [i for i in one.items if self._expect.void_reason(i) is None and not self._expect.taken_down(i)]
        return outcomes == bool(kept) and not any(isinstance(item, MediaReference) for item in kept)

    # --- items

    def _audit_item(self, name: str, log: SimulatedLog, offset: int, number: int, item: Item, what: str) -> None:
        found, reason = self._outcomes(name, log, offset, number), self._expect.void_reason(item)
        if self._expect.taken_down(item):
            self._audit_taken_down(name, log, offset, item, found, what)
        elif reason is not None and not self._is_letter(item, found):
            self._voids[name, reason] += 1
            if found:
                self.audit.repeated.append(f"{what} is void and has {found}")
        elif not found:
            self.audit.lost.append(f"{what} has no outcome")
        else:
            self._audit_number(name, log, offset, number, found, what)
            for key, each in found.items():
                judgement = self._expect.judge(item, each, key, self._lineup.views[key], self._final[name])
                self.audit.lost += [f"{what} in {key} {says}" for says in judgement.lost]
                self.audit.wrong += [f"{what} in {key} {says}" for says in judgement.wrong]

    def _is_letter(self, item: Item, found: dict[str, Found]) -> bool:
        """Whether it was given up before anybody could see that it is void."""
        return isinstance(item, MediaReference) and bool(found) and all(each.letters for each in found.values())

    def _audit_taken_down(
        self, name: str, log: SimulatedLog, offset: int, item: Item, found: dict[str, Found], what: str
    ) -> None:
        remade = any(self._facts.remade[key, *log.log, offset] for key in self._keys(name))
        # Whether a product that makes it anew had begun to when it was taken down, nobody can tell.
        self._countable &= not remade and self._expect.void_reason(item) is None
        # An empty outcome has no attributes: only its uri can take it down.
        stays = {key for key, each in found.items() if each.empties and not self._expect.by_uri(item)}
        if found.keys() - stays:
            self.audit.wrong.append(f"{what} was taken down and has {found}")
        self._voids[name, VoidReason.TAKEN_DOWN] += not stays

    def _audit_number(
        self, name: str, log: SimulatedLog, offset: int, number: int, found: dict[str, Found], what: str
    ) -> None:
        """One outcome, and one more in each product that made the message anew."""
        origin, facts = Origin(*log.log, offset, number), self._facts
        primary = facts.primary[name, *log.log, offset]
        anew = {key for key in self._keys(name) if facts.remade[key, *log.log, offset]}
        rightly = primary | anew | {key for key in found if (key, origin) in facts.replayed}
        if found.keys() - rightly or len(found.keys() - anew) > 1:
            self.audit.repeated.append(f"{what} has {found}; {primary} covered it, {anew} made it anew")
        if any(each.outcomes > 1 or any(times > 1 for times in each.rows.values()) for each in found.values()):
            self.audit.repeated.append(f"{what} has {found}")
        final = self._final[name]
        # One that had the message before a rollback has it already, though a letter of it was replayed in between.
        owed = self._world.retokenized and final not in primary and any(each.rows for each in found.values())
        if owed and final not in found:
            self.audit.lost.append(f"{what} has no outcome in {final}, for which all was made anew")

    def _outcomes(self, name: str, log: SimulatedLog, offset: int, item: int) -> dict[str, Found]:
        """By product key of the name, what there is of an item."""
        origin, items = Origin(*log.log, offset, item), self._facts.items
        return {key: items[key, origin] for key in self._keys(name) if (key, origin) in items}

    def _keys(self, name: str) -> list[str]:
        return [key for key, owner in self._lineup.names.items() if owner == name]

    # --- the whole

    def _audit_strangers(self) -> None:
        """What is covered and was never there: of no log that was read, beyond its end; what was made anew twice."""
        for name, source_id, partition, offset in self._facts.covered:
            log = SourcePartition(source_id, partition)
            if (name, log) not in self._begins:
                self.audit.wrong.append(f"{name} covers {source_id}/{partition}@{offset}, which nobody read")
            elif offset >= self._end(self._world.broker.logs[log]):
                self.audit.wrong.append(f"{name} covers {source_id}/{partition}@{offset}, beyond the log's end")
        for message, times in self._facts.remade.items():
            key, source_id, partition, offset = message
            before = self._facts.primary.get((self._lineup.names[key], source_id, partition, offset), ())
            if times > 1 or key in before:
                self.audit.repeated.append(f"{message} was made anew {times} times, or has been its own before")

    def _audit_voids(self) -> None:
        counted = Counter({key: items for key, items in self._facts.voids.items() if items})
        expected = +self._voids
        if self._countable and counted != expected and not (self.audit.lost or self.audit.repeated or self.audit.wrong):
            self.audit.wrong.append(f"voids: the log says {dict(counted)}, the messages {dict(expected)}")

    def _audit_openings(self) -> None:
        """A product is opened as often as the config says, in that order."""
        for name, opened in self._facts.opened.items():
            editions = iter(self._lineup.history(name))
            if not all(key in editions for key in opened):
                self.audit.wrong.append(f"{name} was opened as {opened}; the config said {self._lineup.history(name)}")
