from __future__ import annotations

from pathlib import Path

import pytest

from operators.errors import ConfigError
from pipeline.app.retokenize import run_retokenize
from pipeline.lake.state import covered_messages
from pipeline.runtime import cluster
from tests.pipeline.app.jobs_world import PRETEND, JobsWorld

pytestmark = pytest.mark.ray

FIRST = {"words": {"tokenizer": f"{PRETEND}:Letters"}}
SECOND = {"words": {"tokenizer": f"{PRETEND}:Other", "revision": 2}}


@pytest.fixture
def world(tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch) -> JobsWorld:
    monkeypatch.setattr(cluster, "stop", lambda: None)
    return JobsWorld(tmp_path)


def test_a_successor_makes_what_its_predecessor_had_rows_of_anew_in_its_origins(
    world: JobsWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.configure(FIRST)
    rows = [
        {"uri": world.text("a.txt", b"aa"), "licence": "CC0", "subject_key": "s", "title": "A"},
        {"uri": world.text("b.txt", b"bb")},
        {"uri": world.text("gone.txt", None)},
        {"uri": "note:1", "text": "inline", "modality": "text"},
        {"uri": world.text("changed.txt", b"before")},
    ]
    assert world.backfill(rows) == 0
    (old,) = world.lake().state.products
    world.text("changed.txt", b"after it")

    with pytest.raises(ConfigError, match="no predecessor"):
        run_retokenize(world.configure(SECOND), "run.yaml", "words", "words-00000000")
    assert run_retokenize(world.configure(SECOND), "run.yaml", "words", None) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 messages" in said
    assert "1 messages stay as their predecessor has them: their content came with the message" in said

    state = world.lake().state
    new = next(key for key, each in state.products.items() if each.open)
    remade, before = world.rows(new), world.rows(old)
    told = ["uri", "version", "source_id", "partition", "offset", "item", "licence", "subject_key", "attributes"]
    kept = before.take([0, 1]).select(told).to_pylist()
    assert remade.select(told).to_pylist() == kept
    assert world.texts(old) == ["aa", "bb", "before", "inline"], "its rows stay"
    assert covered_messages(state, new) == 3
    codes = {letter.uri.rpartition("/")[2]: letter.failure.code for letter in world.letters("words")}
    assert codes == {"gone.txt": "fetch.not_found", "changed.txt": "fetch.superseded"}
    world.verified()

    version = state.version
    assert run_retokenize(world.configure(SECOND), "run.yaml", "words", None) == 0
    assert world.lake().state.version == version, "a second run finds nothing that it could do"
