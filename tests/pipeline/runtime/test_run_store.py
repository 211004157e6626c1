"""Behind a tokenizer that is far too slow, Ray's object store stays within the budget, and nothing goes to disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipeline.observe.status import RunStatus
from pipeline.runtime.object_store import StoreUse, read_use
from pipeline.source.embedded import EmbeddedBroker
from tests.pipeline.runtime.running import Ended, lanes, reference, run, send

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(400)]

IMAGES, SIDE = 2000, 256
"""393 MB of windows: more than the store of 256 MiB."""
WINDOW_BYTES, TOKEN_BYTES = 48 << 20, 1 << 20
FREED_LATE_BYTES = 32 * SIDE * SIDE * 3
"""One call's windows: Ray frees what nobody refers to any more a moment later."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Iterator[tuple[Ended, list[StoreUse]]]:
    folder: Path = tmp_path_factory.mktemp("store")
    Image.new("RGB", (SIDE, SIDE), (10, 20, 30)).save(folder / "a.png")
    uses: list[StoreUse] = []

    def each_second(ended: Ended, status: RunStatus) -> None:
        del ended, status
        uses.append(read_use())

    tokenizer = {"tokenizer": "tests.pipeline.runtime.pretend:MeanColour", "options": {"sleep_s": 0.01, "side": SIDE}}
    image = {
        "products": {"mean": tokenizer},
        "workers": {"max": 1, "cpus": 0.5},
        "tokenize": {"max": 1, "cpus": 0.5},
        "limits": {"window_bytes": WINDOW_BYTES, "token_bytes": TOKEN_BYTES, "seal_age_s": 1.0},
    }
    with EmbeddedBroker() as broker:
        broker.create(["image"])
        send(broker, [reference("image", uri=(folder / "a.png").as_uri())] * IMAGES)
        fetch = {"roots": [str(folder)]}
        ended = run(folder, broker, lanes(image=image), each_second=each_second, fetch=fetch)
    yield ended, uses


def test_everything_has_its_row(told: tuple[Ended, list[StoreUse]]) -> None:
    ended, _ = told
    assert ended.rows("mean").num_rows == IMAGES


def test_the_store_is_used_up_to_the_budget_and_no_further(told: tuple[Ended, list[StoreUse]]) -> None:
    _, uses = told
    most = max(use.used for use in uses)
    assert WINDOW_BYTES / 2 < most <= WINDOW_BYTES + TOKEN_BYTES + FREED_LATE_BYTES


def test_nothing_is_written_to_disk(told: tuple[Ended, list[StoreUse]]) -> None:
    ended, uses = told
    assert uses[-1].spilled == uses[0].spilled
    assert {status.spilled_bytes for status in ended.seen} <= {None, 0}
    assert 0 in {status.spilled_bytes for status in ended.seen}
