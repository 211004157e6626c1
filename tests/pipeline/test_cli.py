from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from operators.errors import StoreUnavailableError
from pipeline.cli import app, main
from pipeline.lake.lake import Lake
from pipeline.observe.status import RunStatus, State, write_status
from pipeline.source.embedded import EmbeddedBroker

GOLDEN = Path(__file__).parents[1] / "golden" / "lake-v1"
COMMANDS = (
    ["run"],
    ["check"],
    ["backfill"],
    ["publish"],
    ["skip"],
    ["demo"],
    ["report"],
    ["status"],
    ["tokenize"],
    ["detokenize"],
    ["windows"],
    ["tokenizers"],
    ["fit"],
    ["lake", "ls"],
    ["lake", "log"],
    ["lake", "verify"],
    ["lake", "card"],
    ["lake", "retokenize"],
    ["dlq", "ls"],
    ["dlq", "show"],
    ["dlq", "replay"],
    ["dlq", "copy"],
    ["catch-up"],
    ["simulate", "delivery"],
    ["graph"],
    ["plan"],
)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def mediatok(monkeypatch, capsys):
    """Runs the command as a shell would, 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["mediatok", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Two products of one name, rows, an open letter, an empty, voids."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "lake"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_shows_examples_line_by_line_in_80_columns(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0
    lines = [line.strip() for line in result.output.splitlines()]
    assert any(line in {"Example", "Examples"} for line in lines)
    assert any(line.startswith(f"mediatok {' '.join(command)}") for line in lines)
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_no_command_shows_what_there_is(mediatok) -> None:
    shown = mediatok("--help")
    assert shown.code == 0
    for command in COMMANDS:
        assert command[0] in shown.out


def test_the_version_is_the_distributions(mediatok) -> None:
    assert mediatok("--version").out.startswith("mediatok 0.")


@pytest.mark.parametrize("arguments", [["--help"], ["lake", "ls", str(GOLDEN)], ["dlq", "ls", str(GOLDEN)]])
def test_looking_imports_neither_ray_nor_torch(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from pipeline.cli import main\n"
        f"sys.argv = ['mediatok', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'ray', 'torch'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stderr.strip().endswith("[]"), done.stderr


def test_an_error_is_one_message_on_stderr_and_exit_code_2(mediatok, tmp_path) -> None:
    failed = mediatok("lake", "ls", tmp_path / "nowhere")
    assert failed.code == 2
    assert failed.out == ""
    assert failed.err.startswith("config.invalid: there is no lake at ")
    assert "Traceback" not in failed.err


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("lakee: x", ["lakee: unknown key; did you mean 'lake'?", "lanes: Field required"]),
        ("lake: x\nlanes: {image: {products: {rq: {tokenizr: a}}}}", ["did you mean 'tokenizer'?"]),
        ("- 1", ["expected a mapping"]),
        ("a: [", ["not YAML"]),
        ("lake: x\nlanes: {image: {products: {rq: {tokenizer: image-rq}}}}", ["kafka: missing"]),
        (
            "lake: x\nkafka: {}\nlanes: {image: {products: {rq: {tokenizer: image-rq}}}}",
            ["lanes.image.topics: a lane that runs on Kafka needs one"],
        ),
    ],
)
def test_run_says_what_is_wrong_with_a_config(mediatok, tmp_path, yaml: str, says: list[str]) -> None:
    (tmp_path / "c.yaml").write_text(yaml)
    failed = mediatok("run", tmp_path / "c.yaml")
    assert failed.code == 2
    for text in says:
        assert text in failed.err


def test_a_config_that_is_not_there_is_named(mediatok, tmp_path) -> None:
    assert "nowhere.yaml: there is no such file" in mediatok("run", tmp_path / "nowhere.yaml").err


def test_ctrl_c_ends_without_a_traceback(mediatok, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.app.inspect.read_status", interrupted)
    assert mediatok("status") == Ran(130, "", "")


# --- lake


def test_ls_shows_each_product_with_its_counts(mediatok, lake) -> None:
    shown = mediatok("lake", "ls", lake)
    assert shown.code == 0
    closed, opened, note = (line for line in shown.out.splitlines() if line.startswith("image-rq"))
    assert note.startswith("image-rq-5e6f7a8b: 8 messages are its predecessors' alone")
    assert closed.split() == ["image-rq-1a2b3c4d", "1", "closed", "5", "20", "18.4", "KiB", "0", "1", "1"]
    assert opened.split() == ["image-rq-5e6f7a8b", "2", "2", "8", "6.3", "KiB", "1", "0", "2"]
    (found,) = mediatok("lake", "ls", lake, "--json").lines
    assert found["version"] == 5
    assert [(each["name"], each["open"], each["files"], each["rows"]) for each in found["products"]] == [
        ("image-rq", False, 3, 5),
        ("image-rq", True, 1, 2),
    ]


def test_log_shows_what_the_newest_versions_added(mediatok, lake) -> None:
    shown = mediatok("lake", "log", lake, "--last", 3).out
    assert [line.split()[0] for line in shown.splitlines() if line[:1].isdigit()] == ["3", "4", "5"]
    assert "1 closed letters" in shown
    versions = mediatok("lake", "log", lake, "--json").lines
    assert [each["version"] for each in versions] == [1, 2, 3, 4, 5]
    assert versions[1] | {"rows": 4, "messages": 8, "letters": 2, "notes": ["1 empty", "1 void"]} == versions[1]


def test_verify_says_that_nothing_is_wrong_or_what(mediatok, lake) -> None:
    good = mediatok("lake", "verify", lake)
    assert (good.code, "nothing is wrong" in good.out) == (0, True)
    shard = next((lake / "data").rglob("part-2-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    bad = mediatok("lake", "verify", lake)
    assert bad.code == 1
    assert "shard_differs" in bad.out
    assert shard.name in bad.out
    (report,) = mediatok("lake", "verify", lake, "--json").lines
    assert "shard_differs" in [finding["kind"] for finding in report["findings"]]


def test_card_writes_card_and_live_lists_and_prints_the_card(mediatok, lake) -> None:
    (lake / "README.md").unlink()
    for path in (lake / "_meta/live").iterdir():
        path.unlink()
    shown = mediatok("lake", "card", lake)
    assert shown.code == 0
    assert (lake / "README.md").read_text() in shown.out
    assert sorted(path.name for path in (lake / "_meta/live").iterdir()) == [
        "image-rq-1a2b3c4d.json",
        "image-rq-5e6f7a8b.json",
    ]


def test_card_makes_no_lake_where_there_is_none(mediatok, tmp_path) -> None:
    assert mediatok("lake", "card", tmp_path / "nowhere").code == 2
    assert not (tmp_path / "nowhere").exists()


def test_store_options_for_a_folder_are_refused(mediatok, lake, tmp_path) -> None:
    (tmp_path / "c.yaml").write_text(
        "lake: x\nstorage: {file: {key: 1}}\nlanes: {image: {products: {rq: {tokenizer: image-rq}}}}"
    )
    assert "takes no store options" in mediatok("lake", "ls", lake, "-c", tmp_path / "c.yaml").err


# --- letters


def test_dlq_ls_shows_open_letters_and_how_many_of_each_code(mediatok, lake) -> None:
    shown = mediatok("dlq", "ls", lake)
    assert shown.out.startswith("golden-topic/0/13/0  decode.truncated\n  mem://golden-topic/13.png\n")
    assert shown.out.splitlines()[-1].split() == ["decode.truncated", "1"]
    (letter,) = mediatok("dlq", "ls", lake, "--json").lines
    assert (letter["origin"], letter["code"], letter["attempts"]) == ("golden-topic/0/13/0", "decode.truncated", 3)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--code", "decode.truncated"], 1),
        (["--code", "decode.*"], 1),
        (["--code", "fetch.not_found"], 0),
        (["--product", "image-rq"], 1),
        (["--product", "image-rq-5e6f7a8b"], 1),
    ],
)
def test_dlq_ls_filters(mediatok, lake, options: list[str], count: int) -> None:
    assert len(mediatok("dlq", "ls", lake, "--json", *options).lines) == count


def test_dlq_ls_of_a_product_that_is_not_there_says_which_are(mediatok, lake) -> None:
    assert "image-rq-1a2b3c4d" in mediatok("dlq", "ls", lake, "--product", "nothing").err


def test_dlq_show_shows_one_letter_whole(mediatok, lake) -> None:
    shown = mediatok("dlq", "show", lake, "golden-topic/0/13/0").out
    for text in ("the file ends after 17 bytes", 'value         {"uri": "..."}', "base64:AP9rZXk=", "Traceback ..."):
        assert text in shown
    (letter,) = mediatok("dlq", "show", lake, "golden-topic/0/13/0", "--json").lines
    assert letter["key"] == {"base64": "AP9rZXk="}
    assert letter["value"] == '{"uri": "..."}'


def test_what_a_message_says_cannot_drive_the_terminal(mediatok, lake) -> None:
    """The letter's header holds the bytes 1 and 2."""
    shown = mediatok("dlq", "show", lake, "golden-topic/0/13/0").out
    assert r"\x01\x02" in shown
    assert "\x01" not in shown


@pytest.mark.parametrize("origin", ["golden-topic/0/13", "x", "golden-topic/0/-1/0", "/0/1/2"])
def test_what_is_no_origin_is_refused(mediatok, lake, origin: str) -> None:
    assert "is no origin" in mediatok("dlq", "show", lake, origin).err


def test_a_closed_letter_is_not_shown(mediatok, lake) -> None:
    failed = mediatok("dlq", "show", lake, "golden-topic/0/12/0")
    assert failed.code == 2
    assert "no open letter" in failed.err


# --- status


def test_status_shows_a_run_and_says_when_it_hangs(mediatok, tmp_path) -> None:
    now_s = time.time()
    status = RunStatus(State.RUNNING, "c.yaml", "out/lake", 4711, "here", now_s - 60, now_s, (), ())
    write_status(tmp_path, status)
    shown = mediatok("status", "--state", tmp_path)
    assert (shown.code, "running" in shown.out) == (0, True)
    write_status(tmp_path, replace(status, written_at_s=now_s - 600))
    assert mediatok("status", "--state", tmp_path).code == 1
    (read,) = mediatok("status", "--state", tmp_path, "--json").lines
    assert (read["state"], read["stale"]) == ("running", True)


def test_status_of_nothing_says_so(mediatok, tmp_path) -> None:
    assert "no run has written its status" in mediatok("status", "--state", tmp_path).err


# --- publish


def test_publish_delivers_and_says_what_it_left_out(mediatok, tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "b.txt").write_text("hello")
    (tmp_path / "c.bin").write_bytes(b"\x00\x01\xff\xfe")
    with EmbeddedBroker() as broker:
        broker.create(["in.image", "in.text"])
        done = mediatok("publish", tmp_path, "-b", broker.bootstrap, "--topic", "in.{modality}")
    assert done.code == 0
    assert "published 1 into in.image, 1 into in.text" in done.out
    assert "left out 1 that begin with bytes of no known kind of media:" in done.out
    assert "c.bin" in done.out


def test_publish_takes_its_broker_from_the_config(mediatok, tmp_path) -> None:
    (tmp_path / "b.txt").write_text("hello")
    with EmbeddedBroker() as broker:
        broker.create(["media.text"])
        (tmp_path / "c.yaml").write_text(
            f"lake: x\nkafka: {{bootstrap.servers: '{broker.bootstrap}'}}\n"
            "lanes: {image: {products: {rq: {tokenizer: image-rq}}}}"
        )
        done = mediatok("publish", tmp_path / "b.txt", "-c", tmp_path / "c.yaml")
    assert "published 1 into media.text" in done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x.png"], "no broker: give --bootstrap"),
        (["x.png", "-b", "localhost:1", "--topic", "{kind}"], "{modality} is the only placeholder"),
    ],
)
def test_publish_refuses_what_it_cannot_do(mediatok, arguments: list[str], says: str) -> None:
    failed = mediatok("publish", *arguments)
    assert failed.code == 2
    assert says in failed.err


# --- simulate, fit


def test_simulate_runs_schedules_and_counts(mediatok) -> None:
    done = mediatok("simulate", "delivery", "--seeds", 3)
    assert done.code == 0
    assert "holds: 3 schedules" in done.out


def test_fit_refuses_an_unknown_tokenizer_and_an_empty_folder(mediatok, tmp_path) -> None:
    out = tmp_path / "w"
    failed = mediatok("fit", "image-vq", "--media", tmp_path, "--out", out)
    assert "what can: audio-mdct, image-rq, text-bpe" in failed.err
    assert "none of 0 files" in mediatok("fit", "text-bpe", "--media", tmp_path, "--out", out).err


def test_fit_writes_a_vocabulary_with_its_card(mediatok, tmp_path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n\n".join(f"the {n}th paragraph of the text" for n in range(50)))
    out = tmp_path / "out" / "bpe.json"
    done = mediatok("fit", "text-bpe", "--media", tmp_path / "texts", "--out", out)
    assert done.code == 0
    assert f"options: {{weights: {out}}}" in done.out
    assert json.loads(out.read_text())["model"]["type"] == "BPE"
    assert "bytes a token" in out.with_suffix(".md").read_text()


def test_a_store_that_does_not_answer_is_one_message(mediatok, lake, monkeypatch) -> None:
    def silent(*_: object, **__: object) -> Lake:
        raise StoreUnavailableError("s3://b: no answer")

    monkeypatch.setattr(Lake, "open", silent)
    ran = mediatok("lake", "ls", lake)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "store.unavailable: s3://b: no answer",
        f"what to do: {StoreUnavailableError.advice}",
    ]
