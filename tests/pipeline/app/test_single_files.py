"""`tokenize`, `detokenize` and `windows`: single files, without Ray."""

from __future__ import annotations

import json
import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from operators.errors import ConfigError, MediaError, NotFoundError
from operators.pack.schema import schema_facts
from operators.tokenize import registry
from pipeline.app.media_file import parse_options
from pipeline.cli import app
from tests.making.film import write_film
from tests.making.sound import speechlike, tone, write_sound

CLIPS = "clip:2s:2fps:32x32:8000-mono+40:text"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)).save(path)
    return path


def test_a_photographs_tokens_are_json_on_standard_output_and_turn_back_into_it(photo: Path, tmp_path: Path) -> None:
    out = run("tokenize", photo, "--option", "layers=2")
    found = json.loads(out)
    (window,) = found["windows"]
    assert window["shape"] == [32, 32, 2]
    assert found["axes"] == ["y", "x", "residual"]
    (tmp_path / "tokens.json").write_text(out)
    run("detokenize", tmp_path / "tokens.json", "--out", tmp_path / "again.png")
    image = np.asarray(Image.open(tmp_path / "again.png"))
    tokenizer = registry.build("image-rq", {"layers": 2})
    from operators.records import TokenSequence

    codes = np.asarray(window["codes"], np.uint16).reshape(32, 32, 2)
    assert np.array_equal(image, tokenizer.decode(TokenSequence(codes)))


def test_another_precision_tells_which_share_of_codes_it_changes_and_turns_back_all_the_same(
    photo: Path, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["tokenize", str(photo), "--precision", "bfloat16", "--out", str(tmp_path / "t")])
    assert result.exit_code == 0, result.output
    found = re.search(r"(\d+) of 4096 codes \([0-9.]+%\) are others than in float32", result.stderr)
    assert found
    exact = json.loads(run("tokenize", photo))["windows"][0]["codes"]
    rounded = json.loads((tmp_path / "t").read_text())
    changed = sum(a != b for a, b in zip(exact, rounded["windows"][0]["codes"], strict=True))
    assert changed == int(found[1]) > 0
    run("detokenize", tmp_path / "t", "--out", tmp_path / "again.png")
    assert Image.open(tmp_path / "again.png").size == (256, 256)


def test_arrow_rows_are_those_of_a_lake(photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    run("tokenize", photo, "--format", "arrow", "--out", path)
    with pa.OSFile(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    assert schema_facts(table.schema)["modality"] == "image"
    (row,) = table.to_pylist()
    assert (row["width"], row["height"], row["window_count"]) == (400, 300, 1)
    assert row["uri"] == photo.as_uri()
    run("detokenize", path, "--out", tmp_path / "again.png")
    assert Image.open(tmp_path / "again.png").size == (256, 256)


@pytest.mark.parametrize("form", ["json", "arrow"])
def test_a_text_comes_back_byte_for_byte(form: str, tmp_path: Path) -> None:
    text = "Good day, καλημέρα, 早上好 " * 50
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    run("tokenize", tmp_path / "a.txt", "-t", "text-bpe", "-o", "window_bytes=64", "-f", form, "--out", tmp_path / "t")
    run("detokenize", tmp_path / "t", "--out", tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("form", ["json", "arrow"])
def test_sound_turns_into_tokens_and_back_into_a_wav_without_seams(form: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.flac", speechlike(3.0, 44_100), 44_100, "flac")
    run("tokenize", path, "-o", "window_s=1", "-f", form, "--out", tmp_path / "t")
    run("detokenize", tmp_path / "t", "--out", tmp_path / "back.wav")
    run("tokenize", path, "-f", form, "--out", tmp_path / "whole")
    run("detokenize", tmp_path / "whole", "--out", tmp_path / "whole.wav")
    with wave.open(str(tmp_path / "back.wav")) as back, wave.open(str(tmp_path / "whole.wav")) as whole:
        assert (back.getframerate(), back.getnchannels(), back.getnframes()) == (24_000, 1, 72_000)
        assert back.readframes(72_000) == whole.readframes(72_000)


@pytest.mark.parametrize("form", ["json", "arrow"])
def test_a_film_turns_into_a_folder_of_pictures_sound_and_subtitles(form: str, tmp_path: Path) -> None:
    cues = [(0.5, 1.0, "one"), (2.2, 2.9, "two")]
    path = write_film(tmp_path / "a.mp4", 3.0, sound=speechlike(3.0, 48_000), subtitles=cues)
    run("tokenize", path, "-o", "frames_hz=2", "-o", "clip_s=2", "-f", form, "--out", tmp_path / "t")
    run("detokenize", tmp_path / "t", "--out", tmp_path / "back")
    assert len(list((tmp_path / "back").glob("*.png"))) == 6
    with wave.open(str(tmp_path / "back" / "sound.wav")) as sound:
        assert sound.getnframes() == pytest.approx(72_000, abs=1_500)
    assert [cue["text"] for cue in json.loads((tmp_path / "back" / "cues.json").read_text())] == ["one", "two"]


def test_windows_are_what_the_tokenizer_sees_with_their_times(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 3.0, sound=tone(3.0, 48_000), subtitles=[(0.5, 1.0, "one")])
    run("windows", path, "--out", tmp_path / "seen", "--view", CLIPS)
    listing = json.loads((tmp_path / "seen" / "windows.json").read_text())
    assert [(round(w["start_s"], 6), round(w["end_s"], 1)) for w in listing["windows"]] == [(0.0, 2.0), (2.0, 3.0)]
    first: dict[str, Any] = listing["windows"][0]
    assert [frame["sampled_s"] for frame in first["frames"]] == [0.0, 0.5, 1.0, 1.5]
    assert first["cues"] == [{"start_s": 0.5, "end_s": 1.0, "text": "one", "language": "eng"}]
    assert Image.open(tmp_path / "seen" / first["frames"][2]["file"]).size == (32, 32)
    with wave.open(str(tmp_path / "seen" / first["sound"])) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (8_000, 16_000)


def test_windows_of_sound_pictures_and_texts(photo: Path, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tone(2.5), 16_000)
    run("windows", path, "--out", tmp_path / "heard", "--view", "pcm:8000:stereo:8000+100")
    lengths = []
    for file in sorted((tmp_path / "heard").glob("*.wav")):
        with wave.open(str(file)) as sound:
            lengths.append((sound.getnchannels(), sound.getnframes()))
    assert lengths == [(2, 8_000), (2, 8_000), (2, 4_000)]
    run("windows", photo, "--out", tmp_path / "seen", "-t", "image-rq", "-o", "size=64")
    assert Image.open(tmp_path / "seen" / "00000.png").size == (64, 64)
    (tmp_path / "b.txt").write_text("twelve bytes")
    run("windows", tmp_path / "b.txt", "--out", tmp_path / "read", "--view", "utf8:8")
    assert (tmp_path / "read" / "00001.txt").read_text() == "ytes"


def test_the_sound_of_a_film_can_be_had_alone(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 1.0, sound=tone(1.0, 48_000))
    run("windows", path, "--out", tmp_path / "heard", "--view", "pcm:8000:mono:8000+0")
    assert len(list((tmp_path / "heard").glob("*.wav"))) >= 1


def test_what_is_wrong_is_said(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.png"):
        run("tokenize", tmp_path / "none.png")
    with pytest.raises(ConfigError, match="--format"):
        run("tokenize", photo, "--format", "csv")
    with pytest.raises(ConfigError, match="takes text"):
        run("windows", photo, "--out", tmp_path / "x", "--view", "utf8:9")
    (tmp_path / "no.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="no file of tokens"):
        run("detokenize", tmp_path / "no.json")
    (tmp_path / "blob").write_bytes(b"\0\1\2\3" * 99)
    with pytest.raises(ConfigError, match="neither its name nor its first bytes"):
        run("tokenize", tmp_path / "blob")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(MediaError):
        run("tokenize", tmp_path / "cut.jpg")


def test_tokens_of_other_weights_ask_for_them(photo: Path, tmp_path: Path) -> None:
    found = json.loads(run("tokenize", photo))
    found["tokenizer"]["weights_sha256"] = "0" * 64
    (tmp_path / "t.json").write_text(json.dumps(found))
    with pytest.raises(ConfigError, match="--tokenizer"):
        run("detokenize", tmp_path / "t.json")
    run("detokenize", tmp_path / "t.json", "--tokenizer", "image-rq", "--out", tmp_path / "again.png")
    assert (tmp_path / "again.png").is_file()


def test_options_are_yaml() -> None:
    assert parse_options(["layers=2", "size=[256, 320]", "weights=/a b.safetensors"]) == {
        "layers": 2,
        "size": [256, 320],
        "weights": "/a b.safetensors",
    }
    with pytest.raises(ConfigError, match="name=value"):
        parse_options(["layers"])


def test_the_tokenizers_are_listed_with_all_that_was_asked_for() -> None:
    listed = {each["name"]: each for each in json.loads(run("tokenizers", "--json"))}
    assert {"image-rq", "audio-mdct", "video-interleaved", "text-bpe"} <= listed.keys()
    for each in listed.values():
        assert each["kind"] in {"codes", "embeddings"}
        assert each["licence"]
        assert each["weights"]
    assert listed["audio-mdct"]["bits_per_second"] == 6000
    assert "75 Hz" in run("tokenizers")
