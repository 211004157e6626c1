from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.app.report.originals import Originals, mono
from pipeline.app.report.rows import NotShownError
from pipeline.config import parse_config
from tests.pipeline.app.report.lakes import LANES, Films, Pictures, Sounds, png, product_rows, row, sha256


@pytest.fixture
def originals(tmp_path: Path) -> Originals:
    return Originals(parse_config({"lake": "lake", "lanes": LANES, "fetch": {"roots": [str(tmp_path)]}}))


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[bytes], dict[str, Any]]:
    """Write a file; gives the columns that tell of it."""

    def write(content: bytes) -> dict[str, Any]:
        path = tmp_path / f"{sha256(content)[:8]}.bin"
        path.write_bytes(content)
        return {"uri": path.as_uri(), "sha256": sha256(content)}

    return write


def picture(**columns: Any) -> Any:
    return product_rows("image", Pictures(), [row(tokens=np.zeros((2, 2, 2), np.uint16), **columns)])


def test_an_image_is_cut_as_its_product_cut_it(originals, keep) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 3), np.uint8)
    assert np.array_equal(originals.image(picture(**keep(png(pixels))), 0), pixels[:, 4:12])


def test_other_bytes_under_the_same_name_are_no_original(originals, keep) -> None:
    found = {**keep(png(np.zeros((8, 8, 3), np.uint8))), "sha256": "of what was there before"}
    with pytest.raises(NotShownError, match="its sha256 is another one"):
        originals.image(picture(**found), 0)


def test_what_is_gone_or_not_allowed_is_named(originals, tmp_path: Path) -> None:
    with pytest.raises(NotShownError, match=r"fetch\.not_found"):
        originals.image(picture(uri=(tmp_path / "gone.png").as_uri()), 0)
    with pytest.raises(NotShownError, match=r"reference\.refused.*below no allowed folder"):
        originals.image(picture(uri="file:///etc/passwd"), 0)


def test_what_can_not_be_decoded_any_more_is_named(originals, keep) -> None:
    with pytest.raises(NotShownError, match=r"decode\.not_an_image"):
        originals.image(picture(**keep(b"no picture")), 0)


def test_without_a_config_nothing_is_fetched(keep) -> None:
    with pytest.raises(NotShownError, match="no config says what may be"):
        Originals(None).image(picture(**keep(png(np.zeros((8, 8, 3), np.uint8)))), 0)


def test_a_sound_comes_at_its_tokenizers_rate_from_its_start(originals, keep) -> None:
    samples = (np.sin(np.arange(2500) / 9) * 20_000).astype(np.int16)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(1000)
        file.writeframes(samples.tobytes())
    rows = product_rows("sound", Sounds(), [row(tokens=np.zeros((1, 2), np.uint16), **keep(out.getvalue()))])
    heard = originals.sound(rows, 0, 2.0)
    assert heard.shape == (2500,)
    assert np.abs(heard - samples / 32768).max() < 1e-4


def test_a_film_comes_as_its_view_samples_it(originals, keep, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as container:
        pictures = container.add_stream("ffv1", rate=10, width=16, height=16, pix_fmt="bgr0")
        sound = container.add_stream("pcm_s16le", rate=1000, layout="mono")
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), number * 10, np.uint8), "rgb24")
            container.mux(pictures.encode(frame.reformat(format="bgr0")))
        heard = av.AudioFrame.from_ndarray(np.full((1, 2000), 8192, np.int16), "s16", "mono")
        heard.sample_rate = 1000
        container.mux(sound.encode(heard))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    rows = product_rows("film", Films(), [row(tokens=np.zeros(0, np.uint16), **keep(path.read_bytes()))])
    film = originals.film(rows, 0, 2.0)
    assert [at_s for at_s, _ in film.frames] == [0.0, 0.5, 1.0, 1.5]
    assert [int(pixels[4, 4, 0]) for _, pixels in film.frames] == [0, 50, 100, 150]
    assert film.frames[0][1].shape == (8, 8, 3)
    assert film.rate_hz == 1000
    assert film.sound is not None
    assert film.sound.shape == (2000,)
    assert film.sound == pytest.approx(0.25, abs=1e-3)


def test_channels_are_mixed() -> None:
    assert mono(np.asarray([[0.0, 1.0], [1.0, 0.0]])).tolist() == [0.5, 0.5]
    assert mono(np.asarray([0.25])).dtype == np.float32
