"""How long the calls of each stage take, and which have been under way for too long."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

from pipeline.flow.calls import Action, Forget, Pack, Prepare, Seal, Tokenize
from pipeline.flow.prepare_stage import PREPARE

KNOWN_CALLS = 20
"""So many answered calls make a stage's times known."""
KEPT_CALLS = 500
ASLEEP_S = 5.0
"""Whoever looks once a round and comes after so long was away itself: answers wait to be read."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """When a call is given up.

    Attributes:
        times: after so many times the 99th percentile of its stage's calls,
        least_s: but never sooner than this (ten times this while its stage's times are unknown),
        most_s: and never later than this.
        least_of_s: by stage, another least; where a call fetches whole films, say.
    """

    times: float = 20.0
    least_s: float = 60.0
    most_s: float = 1800.0
    least_of_s: dict[str, float] = field(default_factory=dict[str, float])

    def of(self, stage: str, p99_s: float | None) -> float:
        """For a call of this stage, in seconds."""
        least_s = self.least_of_s.get(stage, self.least_s)
        wished_s = 10 * least_s if p99_s is None else max(least_s, self.times * p99_s)
        return min(wished_s, self.most_s)


@dataclass(frozen=True, slots=True)
class CallAge:
    """A call that is under way.

    Attributes:
        who: worker or packer that has it.
        age_s: since it became the oldest one there; 0.0 while another one is.
    """

    call: int
    stage: str
    who: str
    age_s: float


class CallTimes:
    """See the module. An actor computes one call after the other: a call's time begins when it is its actor's oldest.

    Attributes:
        ended: calls that have come to an end, however.
        given_up: by call, why its actor was killed, until somebody takes it.
    """

    def __init__(self, deadlines: Deadlines | None = None) -> None:
        self.deadlines = deadlines or Deadlines()
        self.ended = 0
        self.given_up: dict[int, str] = {}
        # No deadline is shorter: only where a call is older its stage's percentile is looked at.
        self._soonest_s = min([self.deadlines.least_s, self.deadlines.most_s, *self.deadlines.least_of_s.values()])
        self._calls: dict[int, tuple[str, str]] = {}
        self._lines: dict[str, dict[int, None]] = {}
        self._since_s: dict[str, float] = {}
        self._took_s: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT_CALLS))
        self._looked_s: float | None = None

    def begin(self, call: int, stage: str, who: str, now_s: float) -> None:
        """A call has been sent."""
        self._calls[call] = (stage, who)
        line = self._lines.setdefault(who, {})
        if not line:
            self._since_s[who] = now_s
        line[call] = None

    def end(self, call: int, now_s: float, *, answered: bool = True) -> None:
        """It is over; only what was answered says how long such calls take."""
        known = self._calls.pop(call, None)
        if known is None:
            return
        self.ended += 1
        stage, who = known
        line = self._lines[who]
        oldest = next(iter(line)) == call
        del line[call]
        if oldest:
            if answered:
                self._took_s[stage].append(max(0.0, now_s - self._since_s[who]))
            self._since_s[who] = now_s
        if not line:
            del self._lines[who], self._since_s[who]

    def p99_s(self, stage: str) -> float | None:
        """The 99th percentile of the stage's latest calls; None while too few are known."""
        took_s = self._took_s.get(stage, ())
        return sorted(took_s)[-1 - len(took_s) // 100] if len(took_s) >= KNOWN_CALLS else None

    def deadline_s(self, stage: str) -> float:
        """Of this stage's calls, now."""
        return self.deadlines.of(stage, self.p99_s(stage))

    def under_way(self, now_s: float) -> tuple[CallAge, ...]:
        """Every call that has not ended, the oldest of each actor with its age."""
        return tuple(
            CallAge(call, self._calls[call][0], who, max(0.0, now_s - self._since_s[who]) if number == 0 else 0.0)
            for who, line in self._lines.items()
            for number, call in enumerate(line)
        )

    def overdue(self, now_s: float) -> tuple[CallAge, ...]:
        """Calls past their deadline, each once; why stands in `given_up` from now on.

        Ask once a round: the time in which nobody asked does not count.
        """
        away_s = now_s - self._looked_s if self._looked_s is not None else 0.0
        self._looked_s = now_s
        if away_s >= ASLEEP_S:
            self._since_s = {who: since_s + away_s for who, since_s in self._since_s.items()}
        overdue: list[CallAge] = []
        for who, since_s in self._since_s.items():
            if now_s - since_s < self._soonest_s:
                continue
            call = next(iter(self._lines[who]))
            age = CallAge(call, self._calls[call][0], who, now_s - since_s)
            if call not in self.given_up and age.age_s >= self.deadline_s(age.stage):
                self.given_up[call] = f"no answer for {age.age_s:.0f} s, longer than a call of {age.stage} may take"
                overdue.append(age)
        return tuple(overdue)


def stage_and_actor(action: Action) -> tuple[str, str]:
    """Of a call: "prepare", a product's key, "pack", "seal" or "forget", and who has it."""
    match action:
        case Prepare(worker=worker):
            return PREPARE, worker
        case Tokenize(worker=worker, product=product):
            return product, worker
        case Pack(packer=packer) | Seal(packer=packer) | Forget(packer=packer):
            return type(action).__name__.lower(), packer
