from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.app.run import _Signals


class Asked:
    """A coordinator that counts."""

    times = 0

    def ask_to_end(self) -> None:
        self.times += 1


@pytest.fixture
def signals() -> Iterator[_Signals]:
    with _Signals() as taken:
        yield taken


def test_a_signal_drains(signals: _Signals) -> None:
    coordinator: Any = Asked()
    signals.drain(coordinator)
    assert coordinator.times == 0
    os.kill(os.getpid(), signal.SIGTERM)
    assert coordinator.times == 1


def test_one_that_comes_before_there_is_anything_to_drain_is_not_forgotten(signals: _Signals) -> None:
    coordinator: Any = Asked()
    os.kill(os.getpid(), signal.SIGTERM)
    signals.install()
    signals.drain(coordinator)
    assert coordinator.times == 1


@pytest.mark.parametrize("installed_again", [False, True])
def test_a_second_one_ends_at_once(signals: _Signals, installed_again: bool) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    if installed_again:
        signals.install()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_somebody_else_put_in_their_place_is_taken_back(signals: _Signals) -> None:
    coordinator: Any = Asked()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signals.install()
    signals.drain(coordinator)
    os.kill(os.getpid(), signal.SIGTERM)
    assert coordinator.times == 1


def test_afterwards_they_mean_what_they_did_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with _Signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
