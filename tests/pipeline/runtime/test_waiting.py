from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.flow.calls import CallFailure, Prepare, Tokenize
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.waits import WaitReason
from pipeline.runtime.observer import waiting_for
from pipeline.runtime.pool import WorkerState
from pipeline.simulate.media import FOREVER, Media
from pipeline.simulate.shop import ALPHA, BETA, PACKERS, Shop

FINE = Media(segments=((1, 1), (2, 1), (1, 1)))
MEDIA = st.builds(
    Media,
    segments=st.just(((1, 1), (2, 1), (1, 0))),
    forks=st.sampled_from([(), (1,)]),
    breaks=st.sampled_from([None, None, 0, 1]),
    flaky=st.sampled_from([0, 0, 1, FOREVER]),
)


class Pools:
    """A pool that prepares and one that tokenizes, as the observer sees them."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.starting: set[str] = set()
        stages = {"workers": (PREPARE,), "tokenize": (ALPHA, BETA)}
        self.pools = [
            SimpleNamespace(spec=SimpleNamespace(stages=each), count=self._counter(name))
            for name, each in stages.items()
        ]

    def _counter(self, name: str) -> Any:
        def count(state: WorkerState) -> int:
            stage = PREPARE if name == "workers" else ALPHA
            if state is WorkerState.READY:
                return self._shop.lane.core.workers.ready(stage)
            return int(state is WorkerState.STARTING and name in self.starting)

        return count


def reason(shop: Shop, pools: Pools, *, growing: bool = False) -> WaitReason | None:
    run: Any = SimpleNamespace(lane=shop.lane, driver=pools, paused=False)
    return waiting_for(run, committing=False, growing=growing)


def computes(shop: Shop) -> bool:
    return any(isinstance(action, Prepare | Tokenize) for action in shop.pending.values())


def test_windows_without_a_tokenizer_wait_for_one_though_others_are_ready() -> None:
    shop = Shop()
    pools = Pools(shop)
    shop.hire(PREPARE)
    shop.admit(0, FINE)
    shop.act()
    assert reason(shop, pools) is None
    while computes(shop):
        for call in list(shop.pending):
            shop.answer(call)
        shop.act()
    assert reason(shop, pools) is WaitReason.NO_WORKER_READY
    assert reason(shop, pools, growing=True) is WaitReason.NO_NODE
    pools.starting.add("tokenize")
    assert reason(shop, pools) is WaitReason.STARTING


def test_references_without_a_worker_wait_for_one() -> None:
    shop = Shop()
    pools = Pools(shop)
    shop.hire(ALPHA, BETA)
    shop.admit(0, FINE)
    shop.act()
    assert reason(shop, pools) is WaitReason.NO_WORKER_READY


def test_tokens_wait_for_their_packer() -> None:
    shop = Shop()
    pools = Pools(shop)
    shop.hire()
    for offset in range(8):
        shop.admit(offset, FINE)
    seen: set[WaitReason | None] = set()
    for _ in range(200):
        shop.act()
        for call, action in list(shop.pending.items()):
            if isinstance(action, Prepare | Tokenize) and call in shop.pending:
                shop.answer(call)
        seen.add(reason(shop, pools))
        shop.now_s += 0.3
    assert WaitReason.PACKER_FULL in seen


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["admit", "hire_prepare", "hire_tokenize", "hire", "act", "answer", "answer", "die", "lose", "commit"]
        ),
        st.integers(0, 5),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.lists(MEDIA, min_size=1, max_size=3), st.booleans())
def test_work_that_nobody_computes_always_has_its_reason(
    steps: list[tuple[str, int]], media: list[Media], growing: bool
) -> None:
    shop = Shop()
    pools = Pools(shop)
    offset = 0
    for what, number in steps:
        match what:
            case "admit" if not shop.lane.holds_back():
                shop.admit(offset, *media)
                offset += 1
            case "hire_prepare":
                shop.hire(PREPARE)
            case "hire_tokenize":
                shop.hire(ALPHA, BETA)
            case "hire":
                shop.hire()
            case "act":
                shop.now_s += number / 3
                shop.act()
            case "answer" if shop.pending:
                shop.answer(sorted(shop.pending)[number % len(shop.pending)])
            case "die" if computes(shop):
                calls = [call for call, one in shop.pending.items() if isinstance(one, Prepare | Tokenize)]
                shop.answer(sorted(calls)[number % len(calls)], CallFailure.WORKER_DIED)
            case "lose":
                shop.lose_packer(PACKERS[number % len(PACKERS)])
            case "commit":
                shop.commit()
            case _:
                pass
        why = reason(shop, pools, growing=growing)
        if not computes(shop):
            assert why is not None
            assert not (
                shop.lane.works and why in {WaitReason.NO_INPUT, WaitReason.COMMITTING, WaitReason.SHARD_FILLING}
            )
