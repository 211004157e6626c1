"""Which products the config names, and when: a product joins, is changed under a higher revision, is rolled back."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from pipeline.records import Product
from pipeline.simulate.faults import Event, Faults
from pipeline.simulate.media import PRODUCTS, product


@dataclass(frozen=True, slots=True)
class Edition:
    """A config as it is from some moment on.

    Attributes:
        at_s: from then on; whoever starts later has it.
        products: that it names.
        rolls_back: to what there was before the last change.
        forced: every coordinator is restarted for it, one after another; else it waits for their next start.
    """

    at_s: float
    products: tuple[Product, ...]
    forced: bool = False
    rolls_back: bool = False


@dataclass(frozen=True, slots=True)
class Lineup:
    """All editions of the config, ascending."""

    editions: tuple[Edition, ...]

    @property
    def final(self) -> tuple[Product, ...]:
        """What everybody has in the end."""
        return self.editions[-1].products

    @property
    def views(self) -> dict[str, str]:
        """By product key, over all editions, the view that it reads."""
        return {each.key: each.spec.view for edition in self.editions for each in edition.products}

    @property
    def names(self) -> dict[str, str]:
        """By product key, over all editions, the product's name."""
        return {each.key: each.name for edition in self.editions for each in edition.products}

    def at(self, now_s: float) -> Edition:
        """The newest edition then."""
        return next(each for each in reversed(self.editions) if each.at_s <= now_s)

    def history(self, name: str) -> list[str]:
        """The keys that a product of this name has had, one after another."""
        keys: list[str] = []
        for edition in self.editions:
            for each in edition.products:
                if each.name == name and keys[-1:] != [each.key]:
                    keys.append(each.key)
        return keys


def draw_lineup(rng: random.Random, faults: Faults, calm_s: float) -> Lineup:
    """Two products, of which the second may join late and one may be changed, and changed back."""
    joins_s = rng.uniform(0.0, calm_s) if rng.random() < 0.4 else 0.0
    changes: list[tuple[float, Product | None]] = [(joins_s, None)] if joins_s else []
    if faults.events[Event.DEPLOY]:
        first = rng.choice(PRODUCTS)
        at_s = rng.uniform(4.0, calm_s - 4.0)
        changes.append((at_s, product(first.name, first.spec.view, 2, "x")))
        if faults.events[Event.ROLLBACK]:
            changes.append((rng.uniform(at_s + 1.0, calm_s - 2.0), replace(first, revision=3)))
    named = list(PRODUCTS[:1] if joins_s else PRODUCTS)
    lineup = [Edition(0.0, tuple(named))]
    late = {each.name: each for each in PRODUCTS if each not in named}
    for at_s, change in sorted(changes, key=lambda pair: pair[0]):
        if change is None:
            named += late.values()
        elif change.name in late:
            late[change.name] = change
            continue
        else:
            named = [change if each.name == change.name else each for each in named]
        rolls_back = change is not None and change.revision > 2
        lineup.append(Edition(at_s, tuple(named), forced=change is not None, rolls_back=rolls_back))
    return Lineup(tuple(lineup))
