from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from operators.errors import ConfigError
from operators.records import Modality, WindowBatch
from pipeline.app.build import plan
from pipeline.app.plan.command import work_of
from pipeline.app.plan.hop import between_nodes_s, hop_of
from pipeline.app.plan.measure import Clock, Work, measure
from pipeline.app.plan.measured import Call, cost_of
from pipeline.app.plan.samples import samples_of
from pipeline.config import parse_config
from pipeline.runtime.worker import CallReport
from tests.making.film import write_film


def work(tmp_path: Path, media: Path, modality: str, tokenizer: str, **changes: Any) -> Work:
    lanes = {modality: {"products": {"a": {"tokenizer": tokenizer}}}}
    config = parse_config({"lake": "x", "state": str(tmp_path / "state"), "lanes": lanes})
    (lane,) = plan(config)
    made = work_of(lane, config, samples_of(Modality(modality), media, tmp_path), tmp_path, seconds=0.05)
    return replace(made, **changes)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text("The North Wind and the Sun. " * 10)
    return folder


def test_a_lane_of_texts_is_measured_by_its_own_workers(tmp_path: Path, texts: Path) -> None:
    found = measure(work(tmp_path, texts, "text", "text-bytes", prepare_batch=4))
    (key,) = found.tokenize
    assert found.prepare.calls >= 2
    assert found.prepare.references == 4 * found.prepare.calls
    assert found.prepare.reference_s > 0
    assert found.tokenize[key].reference_s > 0
    assert (found.windows, found.window_bytes, found.tokens[key]) == (1.0, 280.0, pytest.approx(280, abs=2))
    assert found.media_s == 0.0
    assert (found.device, found.refused) == ("cpu", {})


def test_what_cannot_be_decoded_is_left_out_and_counted(tmp_path: Path, texts: Path) -> None:
    (texts / "broken.txt").write_bytes(b"\x00\x01\x80" * 100)
    found = measure(work(tmp_path, texts, "text", "text-bytes"))
    assert found.refused == {"decode.not_text": 1}


def test_a_lane_of_which_nothing_can_be_decoded_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="none of 1 samples can be prepared"):
        measure(work(tmp_path, tmp_path / "broken.jpg", "image", "image-patches"))


def test_images_give_windows_of_one_size(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "a.png")
    found = measure(work(tmp_path, tmp_path / "a.png", "image", "image-patches", prepare_batch=2))
    assert found.windows == 1.0
    assert found.window_bytes == 256 * 256 * 3
    assert found.put_s > 0


def test_a_film_in_several_segments_is_one_reference(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", 4.0)
    found = measure(work(tmp_path, tmp_path / "film.mp4", "video", "video-interleaved"))
    assert found.media_s == pytest.approx(4.0, abs=0.1)
    assert 0 < found.prepare.references <= found.prepare.calls
    assert found.tokens[next(iter(found.tokens))] > 0


def test_the_demo_stands_in_where_a_folder_has_none_of_a_modality(tmp_path: Path, texts: Path) -> None:
    own, borrowed = samples_of(Modality.TEXT, texts, tmp_path), samples_of(Modality.IMAGE, texts, tmp_path)
    assert (own.own, len(own.references)) == (True, 4)
    assert not borrowed.own
    assert len(borrowed.references) == 20


def test_the_error_of_a_cost_shrinks_with_calls_and_needs_two() -> None:
    assert cost_of([Call(32, 1.0)]).error is None
    few = cost_of([Call(32, 1.0), Call(32, 1.2)] * 2)
    many = cost_of([Call(32, 1.0), Call(32, 1.2)] * 200)
    assert (few.reference_s, many.reference_s) == (pytest.approx(1.1 / 32), pytest.approx(1.1 / 32))
    assert few.error is not None
    assert many.error is not None
    assert many.error < few.error / 5


def test_calls_of_different_sizes_at_one_speed_are_sure() -> None:
    assert cost_of([Call(n, 0.01 * n) for n in (1, 7, 32, 64)]).error == pytest.approx(0, abs=1e-9)


def test_time_that_others_had_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = iter([10.0, 10.5, 20.0, 25.0])
    monkeypatch.setattr("pipeline.app.plan.measure._waited_s", lambda: next(waited))
    clock = Clock()
    clock.begin()
    assert clock.end(CallReport(2.0)) == 1.5
    clock.begin()
    assert clock.end(CallReport(2.0)) == 0.0
    assert clock.stolen == pytest.approx(2.5 / 4)


def test_a_hop_is_measured_on_the_windows_themselves() -> None:
    ones = np.ones(64, dtype=np.int64)
    batch = WindowBatch("rgb8:64x64:cover", np.zeros((64, 64, 64, 3), np.uint8), ones)
    hop = hop_of([{"view": batch}])
    assert hop.put_s > 0
    assert hop.get_s > 0
    assert between_nodes_s(1e9, 0.1) > between_nodes_s(1e6, 0.1) > 0
