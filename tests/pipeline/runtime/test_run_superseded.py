"""A rolling deploy: while this run goes on, another process opens a higher revision of one of its products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from operators.errors import ProductSupersededError
from pipeline.lake.delta import Opening
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal
from pipeline.observe.status import RunStatus
from pipeline.runtime.coordinator import EndReason
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.running import HERE, Ended, lanes, reference, run, send

pytestmark = [pytest.mark.ray, pytest.mark.soak]

MOST_SECONDS = 100
TWO = {"old": {"tokenizer": f"{HERE}:Letters"}, "kept": {"tokenizer": f"{HERE}:Letters"}}
OTHER = {"modality": "text", "topics": ["other"], "products": {"other": {"tokenizer": f"{HERE}:Letters"}}}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        running.create(["text", "other"])
        yield running


def supersede(ended: Ended) -> None:
    """What a process with a higher revision does first."""
    lake = Lake.open(ended.lake_uri)
    (plan,) = [plan for plan in ended.built.plans if plan.name == "text"]
    (old,) = [item.product for item in plan.products if item.product.name == "old"]
    successor = replace(old, revision=2, fingerprint="ab" * 32)
    lake.commit(Proposal(openings=(Opening(successor, "text"),)))


def test_the_lane_of_a_superseded_product_stops_and_all_else_goes_on(
    tmp_path: Path, broker: EmbeddedBroker, ray_session: None
) -> None:
    send(broker, [reference("text", uri="note:1", text="before"), reference("other", uri="note:2", text="one")])
    story: list[str] = []

    def each_second(ended: Ended, status: RunStatus) -> None:
        done = {lane.lane: lane.done_items for lane in status.lanes}
        if not story and done == {"text": 1, "other": 1}:
            supersede(ended)
            send(broker, [reference("text", uri="note:3", text="after")])
            story.append("superseded")
        elif story == ["superseded"] and "text" in ended.built.coordinator.errors():
            send(broker, [reference("other", uri="note:4", text="two")])
            story.append("stopped")
        if done["other"] == 2 or len(ended.seen) > MOST_SECONDS:
            ended.built.coordinator.ask_to_end()

    ended = run(tmp_path, broker, lanes(text={"products": TWO}, other=OTHER), until_idle=False, each_second=each_second)
    assert story == ["superseded", "stopped"]
    assert ended.reason is EndReason.ASKED
    errors = ended.built.coordinator.errors()
    assert set(errors) == {"text"}
    assert isinstance(errors["text"], ProductSupersededError)
    assert "old-" in str(errors["text"])
    kept, other = (ended.rows(name).column("uri").to_pylist() for name in ("kept", "other"))
    assert sorted(kept) == ["note:1", "note:3"], "the lane's other product got what was under way"
    assert sorted(other) == ["note:2", "note:4"]
    (old,) = [key for key in Lake.open(ended.lake_uri).state.products if key.startswith("old-") and "abab" not in key]
    assert ended.rows(old).column("uri").to_pylist() == ["note:1"]
    ended.verified()


def test_a_run_with_a_lower_revision_does_not_start(tmp_path: Path, broker: EmbeddedBroker, ray_session: None) -> None:
    higher = {"old": {"tokenizer": f"{HERE}:Other", "revision": 2}}
    run(tmp_path, broker, lanes(text={"products": higher}))
    with pytest.raises(ProductSupersededError, match="revision 2"):
        run(tmp_path, broker, lanes(text={"products": {"old": {"tokenizer": f"{HERE}:Letters"}}}))
