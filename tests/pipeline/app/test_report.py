from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from operators.errors import ConfigError
from operators.records import Failure, Origin
from operators.tokenize.image_rq import ImageRqOptions, ImageRqTokenizer
from operators.tokenize.text_bytes import TextBytesOptions, TextBytesTokenizer
from pipeline.app.report import gather, write_report
from pipeline.cli import app, main
from pipeline.config import Config, parse_config
from pipeline.records import Letter
from tests.pipeline.app.report.lakes import make_lake, png, product_of, row, sha256

GOLDEN = Path(__file__).parents[2] / "golden" / "lake-v1"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """Two photographs, one of them gone since, a text, and a letter whose address is hostile."""
    images, texts = ImageRqTokenizer(ImageRqOptions(size=64)), TextBytesTokenizer(TextBytesOptions())
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "here.png").write_bytes(png(pixels))
    made = []
    for number, name in enumerate(("here.png", "gone.png")):
        uri, codes = (tmp_path / "media" / name).as_uri(), images.encode(pixels).values
        made.append(row(uri, codes, sha256=sha256(png(pixels)), text=f"the {name}", offset=number))
    word = texts.encode(np.frombuffer(b"word", np.uint8)).values
    key = product_of("image-rq", images).key
    failure = Failure("fetch.not_found", "fetch", HOSTILE)
    letter = Letter(key, Origin("log", 0, 5, 0), f"s3://b/{HOSTILE}", failure, "t", None, None, (), 1, 0)
    products = {"image-rq": (images, made), "text-bytes": (texts, [row("t", word, end=4, sha256=sha256(b"word"))])}
    return make_lake(tmp_path / "lake", products, [letter]).uri


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse_config(raw_config(tmp_path))


def raw_config(folder: Path) -> dict[str, object]:
    lanes = {"image": {"products": {"image-rq": {"tokenizer": "image-rq", "options": {"size": 64}}}}}
    return {"lake": str(folder / "lake"), "lanes": lanes, "fetch": {"roots": [str(folder / "media")]}}


def test_a_lake_becomes_a_page(lake: str, config: Config, tmp_path: Path) -> None:
    out = write_report(lake, tmp_path / "new" / "report.html", config=config)
    html = out.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert "the here.png" in html
    assert "fetch.not_found" in html
    assert HOSTILE not in html
    assert "No state folder was given" in html
    assert [path.name for path in out.parent.iterdir()] == ["report.html"], "nothing half-written is left"


def test_originals_are_shown_where_they_are_still_to_be_had(lake: str, config: Config) -> None:
    (gallery,) = gather(lake, config=config).galleries
    here, gone = gallery.cards
    assert here.original is not None
    assert here.versions[0] is not None
    assert here.versions[0].psnr_db is not None
    assert gone.original is None
    assert "fetch.not_found" in gone.why_no_original
    assert gone.versions[0] is not None
    assert gone.versions[0].pixels is not None


def test_without_a_config_reconstructions_stand_alone(lake: str) -> None:
    report = gather(lake)
    cards = report.galleries[0].cards
    assert all(card.original is None and "no config" in card.why_no_original for card in cards)
    assert all(card.versions[0] is not None and card.versions[0].pixels is not None for card in cards)
    assert report.readings[0].cards[0].versions[0] is not None
    assert report.readings[0].cards[0].versions[0].exact is True


def test_a_page_that_is_there_is_replaced(lake: str, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("old")
    write_report(lake, out)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_lake_whose_tokenizer_nobody_has_is_shown_all_the_same(tmp_path: Path) -> None:
    html = write_report(str(GOLDEN), tmp_path / "report.html").read_text(encoding="utf-8")
    assert "does not come along" in html
    assert ", closed" in html


def test_no_lake_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no lake"):
        write_report(str(tmp_path / "nowhere"), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_command_writes_it_and_says_where(lake: str, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps(raw_config(tmp_path)))
    out = tmp_path / "page.html"
    monkeypatch.setattr(sys, "argv", ["mediatok", "report", lake, "-c", str(tmp_path / "c.yaml"), "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert str(out) in capsys.readouterr().out
    assert out.stat().st_size > 10_000


def test_the_commands_help_fits_80_columns_and_shows_examples() -> None:
    result = CliRunner().invoke(app, ["report", "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert any(line.strip().startswith("mediatok report") for line in lines)
    assert all(len(line) <= 80 for line in lines)
