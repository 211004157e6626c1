from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from operators.errors import ConfigError
from operators.fit.audio_mdct import SHIPPED, fit, main
from operators.fit.audio_sources import SOURCES
from operators.fit.mdct_codec import MdctFitSettings, fit_mdct_codec
from operators.fit.mdct_synthesis import SynthesisSettings
from operators.fit.sound_measures import log_spectral_distance_db, si_sdr_db, stoi
from operators.fit.sounds import read_sound, varied
from operators.models.checksum import sha256_of
from operators.models.mdct_codec import Group
from operators.tokenize.audio_mdct import AudioMdctOptions, AudioMdctTokenizer
from tests.making.sound import speechlike, tone, write_sound

RATE_HZ = 24000
SMALL = MdctFitSettings(
    codebook_size=64,
    groups=(Group(0, 16, 2), Group(16, 60, 1), Group(0, 16, 1)),
    iterations=3,
    synthesis=SynthesisSettings(width=16, steps=8, batch=2, frames=16),
)


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture
def media(tmp_path: Path) -> list[Path]:
    """Five recordings of the user's own at other rates, one of them damaged."""
    folder = tmp_path / "media"
    folder.mkdir()
    for index in range(4):
        write_sound(folder / f"{index}.wav", speechlike(2.0, 16_000, seed=index), 16_000)
    write_sound(folder / "stereo.flac", speechlike(2.0, 48_000, 2, seed=9), 48_000, "flac")
    (folder / "damaged.wav").write_bytes(b"no sound")
    return sorted(folder.iterdir())


def test_a_fit_on_the_user_s_recordings_gives_weights_that_tokenize(tmp_path: Path, media: list[Path]) -> None:
    told = list[tuple[str, float]]()
    held_out = write_sound(tmp_path / "held out.wav", speechlike(2.0, RATE_HZ, seed=77), RATE_HZ)
    report = fit(
        media,
        tmp_path / "mine" / "voices.safetensors",
        held_out=[held_out],
        settings=SMALL,
        licence="CC0",
        progress=lambda what, share: told.append((what, share)),
    )
    assert (report.fitted_on, set(report.refused)) == (5, {tmp_path / "media" / "damaged.wav"})
    assert report.fitted_on_s == pytest.approx(10, abs=0.01)
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert report.sha256 == sha256_of(report.weights)
    card = report.card.read_text()
    assert report.sha256 in card
    assert "CC0" in card
    tokenizer = AudioMdctTokenizer(AudioMdctOptions(codebooks=5, weights=str(report.weights)))
    assert tokenizer.spec.codebook_sizes == (64,) * 5
    sound = read_sound(held_out, RATE_HZ)
    back = tokenizer.decode(tokenizer.encode(sound))[: len(sound), 0]
    rows = report.quality["held out.wav"]
    assert [row.codebooks for row in rows] == [1, 3, 4, 5]
    assert si_sdr_db(sound, back) == pytest.approx(rows[-1].si_sdr_db, abs=1e-3)
    assert rows[0].si_sdr_db < rows[1].si_sdr_db < rows[-1].si_sdr_db
    assert rows[-1].log_spectral_distance_db < rows[0].log_spectral_distance_db


def test_a_tenth_is_held_out_where_nothing_else_is_given(tmp_path: Path, media: list[Path]) -> None:
    sounding = [path for path in media if path.name != "damaged.wav"]
    report = fit(sounding, tmp_path / "own.safetensors", settings=SMALL)
    assert report.fitted_on == 4
    assert len(report.quality) == 1


def test_the_same_seed_gives_the_same_weights() -> None:
    sounds = [speechlike(3.0, RATE_HZ, seed=seed)[:, 0] for seed in range(2)]
    first, again = (fit_mdct_codec(sounds, SMALL).tensors() for _ in range(2))
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name


def test_many_short_recordings_are_enough() -> None:
    sounds = [speechlike(0.15, RATE_HZ, seed=seed)[:, 0] for seed in range(20)]
    assert fit_mdct_codec(sounds, SMALL).codebook_count == 5


def test_what_can_not_be_fitted_on_is_refused(tmp_path: Path, media: list[Path]) -> None:
    damaged = [path for path in media if path.name == "damaged.wav"]
    with pytest.raises(ConfigError, match="none of 1 files"):
        fit(damaged, tmp_path / "x.safetensors", settings=SMALL)
    with pytest.raises(ConfigError, match="too few"):
        fit_mdct_codec([speechlike(0.5, RATE_HZ)[:, 0]], SMALL)


def test_known_folders_are_named_with_their_terms(tmp_path: Path) -> None:
    folder, held_out = tmp_path / "festvox-ru", tmp_path / "librivox"
    folder.mkdir()
    held_out.mkdir()
    for seed in range(4):
        write_sound(folder / f"{seed}.wav", speechlike(2.0, 16_000, seed=seed), 16_000)
    write_sound(held_out / "1.wav", speechlike(2.0, 16_000, seed=9), 16_000)
    report = fit(
        sorted(folder.iterdir()), tmp_path / "w.safetensors", held_out=list(held_out.iterdir()), settings=SMALL
    )
    card = report.card.read_text()
    assert SOURCES["festvox-ru"].terms in card
    assert "the user's own" not in card
    (rows,) = report.quality.values()
    assert rows[-1].stoi is not None
    assert rows[-1].stoi > 0.5


def test_recordings_are_varied_in_loudness_and_speed() -> None:
    sound = tone(1.0, RATE_HZ)[:, 0]
    found = [varied(sound, np.random.default_rng(seed)) for seed in range(20)]
    peaks = [float(np.abs(each).max()) for each in found]
    assert 0.15 < min(peaks) < 0.5 < max(peaks) <= 1
    assert min(map(len, found)) < RATE_HZ < max(map(len, found))


def test_measures_tell_near_from_far() -> None:
    sound = speechlike(2.0, RATE_HZ)[:, 0]
    noise = np.random.default_rng(0).normal(0, 0.01, len(sound)).astype(np.float32)
    near, far = sound + noise, sound + 10 * noise
    assert si_sdr_db(sound, near) - si_sdr_db(sound, far) == pytest.approx(20, abs=0.5)
    assert si_sdr_db(sound, 0.5 * near) == pytest.approx(si_sdr_db(sound, near), abs=0.01)
    assert log_spectral_distance_db(sound, sound) == 0
    assert log_spectral_distance_db(sound, near) < log_spectral_distance_db(sound, far)
    found = [stoi(sound, each, RATE_HZ) for each in (sound, near, far)]
    assert found[0] == pytest.approx(1)
    assert found == sorted(found, key=lambda value: -(value or 0))


def test_the_command_line_wants_something_to_fit_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "w.safetensors")])
    assert "--media" in capsys.readouterr().err


def test_the_shipped_card_describes_the_shipped_weights() -> None:
    card = SHIPPED.with_suffix(".md").read_text()
    assert sha256_of(SHIPPED) in card
    assert SHIPPED.stat().st_size < 2.5e6
    assert all(source.terms in card for source in SOURCES.values())
