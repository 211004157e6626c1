from __future__ import annotations

import math
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.app.report.originals import Originals
from pipeline.app.report.sounds import (
    LONGEST_S,
    MOST_COLUMNS,
    PCM_BYTES,
    SHORTEST_S,
    SOUNDS,
    codes_picture,
    listenings,
    shown_s,
)
from pipeline.config import parse_config
from tests.pipeline.app.report.lakes import LANES, Sounds, product_rows, row, sha256


def windows(uri: str, levels: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    """Levels `[T]` in windows of a second (100 frames), the last one shorter."""
    made = []
    for index in range(-(-len(levels) // 100)):
        part = levels[index * 100 : (index + 1) * 100]
        codes = np.stack([part, np.zeros_like(part)], axis=-1).astype(np.uint16)
        start = index * 1000
        columns = {"window_index": index, "start": start, "end": start + 10 * len(part), "rate_num": 1000}
        made.append(row(uri, codes, **{**columns, "rate_den": 1, "duration": len(levels) / 100, **more}))
    return made


def test_windows_are_joined_and_decoded_as_one() -> None:
    levels = np.arange(250) % 16
    rows = product_rows("sounds", Sounds(), windows("a", levels, text="a ramp"))
    (listening,) = listenings([rows], Originals(None))
    (card,) = listening.cards
    assert (listening.products, card.caption, card.rate_hz, card.duration_s) == (("sounds",), "a ramp", 1000, 2.5)
    (version,) = card.versions
    assert np.array_equal(version.samples, np.repeat(levels / 16, 10).astype(np.float32))
    assert card.shown_s == 2.5
    assert version.n_tokens == 500
    assert version.bits_per_s == pytest.approx(100 * (4 + 2))
    assert version.codes.shape == (2, 250)
    assert np.array_equal(version.codes[0], (levels / 16).astype(np.float32))


def test_only_the_beginning_is_heard_and_only_its_windows_decoded() -> None:
    rows = product_rows("sounds", Sounds(), windows("a", np.ones(3000)))
    card = listenings([rows], Originals(None))[0].cards[0]
    assert card.duration_s == 30.0
    assert card.shown_s == LONGEST_S
    assert card.versions[0].samples.shape == (LONGEST_S * 1000,)
    assert card.versions[0].n_tokens == 2 * LONGEST_S * 100


def test_what_a_codec_adds_beyond_the_end_is_cut() -> None:
    whole = windows("a", np.ones(50))
    whole[0]["end"] = 493
    card = listenings([product_rows("sounds", Sounds(), whole)], Originals(None))[0].cards[0]
    assert card.versions[0].samples.shape == (493,)


def test_original_and_reconstruction_are_compared(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 16, 200)
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(1000)
        file.writeframes(np.repeat(levels * 2048, 10).astype(np.int16).tobytes())
    originals = Originals(parse_config({"lake": "lake", "lanes": LANES, "fetch": {"roots": [str(tmp_path)]}}))
    rows = product_rows("sounds", Sounds(), windows(path.as_uri(), levels, sha256=sha256(path.read_bytes())))
    wrong = product_rows("wrong", Sounds(), windows(path.as_uri(), levels[::-1], sha256=sha256(path.read_bytes())))
    card = listenings([rows, wrong], originals)[0].cards[0]
    assert card.why_no_original == ""
    assert np.array_equal(card.original, card.versions[0].samples)
    assert card.versions[0].si_sdr_db == math.inf
    assert card.versions[0].log_spectral_db == 0.0
    assert card.versions[1].si_sdr_db < 0
    assert card.versions[1].log_spectral_db > 1


def test_a_sound_stays_without_original_and_without_way_back() -> None:
    rows = product_rows("sounds", Sounds(), windows("a", np.ones(50)), inverse=False, why_not="other weights")
    card = listenings([rows], Originals(None))[0].cards[0]
    assert card.original is None
    assert "no config" in card.why_no_original
    assert (card.versions[0].samples, card.versions[0].why_not) == (None, "other weights")
    assert card.shown_s == 0.5


def test_a_long_sound_has_a_picture_of_its_codes_that_is_not_too_wide() -> None:
    rows = product_rows("sounds", Sounds(), windows("a", np.ones(50)))
    assert codes_picture(rows, np.zeros((10 * MOST_COLUMNS + 1, 2), np.uint16)).shape[1] <= MOST_COLUMNS
    assert codes_picture(rows, np.zeros(7, np.uint16)).shape == (1, 7)
    bare = replace(rows, spec=replace(rows.spec, codebook_sizes=()))
    assert codes_picture(bare, np.zeros((7, 2), np.uint16)) is None


def test_what_is_heard_of_all_sounds_fits_the_budget() -> None:
    for groups in ([(16_000, 1)], [(24_000, 2)], [(24_000, 1), (16_000, 2)]):
        heard_s = shown_s(groups)
        assert SHORTEST_S < heard_s <= LONGEST_S
        assert sum(2 * hz * SOUNDS * (count + 1) for hz, count in groups) * heard_s <= PCM_BYTES * 1.0001
    assert shown_s([(1000, 1)]) == LONGEST_S
    assert shown_s([(192_000, 9)]) == SHORTEST_S
    assert shown_s([]) == LONGEST_S
