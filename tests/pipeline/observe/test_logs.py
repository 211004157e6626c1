from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog
from rich.console import Console
from rich.progress import Progress

from pipeline.observe import logs
from pipeline.observe.logs import HIDDEN, LogStyle, Redactor, setup_logs


@dataclass
class Sink:
    console: Console
    out: io.StringIO

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    @property
    def json(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]


def sink(*, terminal: bool = False) -> Sink:
    out = io.StringIO()
    return Sink(Console(file=out, force_terminal=terminal, width=80, color_system=None), out)


def fail(error: Exception) -> None:
    raise error


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_elsewhere_than_on_a_terminal_a_line_is_json() -> None:
    to = sink()
    setup_logs(console=to.console, environ={})
    structlog.get_logger("pipeline.flow").bind(lane="image").info("scaled", workers=3, tokens=7)
    (line,) = to.json
    assert line.pop("timestamp")
    assert line == {
        "event": "scaled",
        "lane": "image",
        "level": "info",
        "logger": "pipeline.flow",
        "tokens": 7,
        "workers": 3,
    }


def test_on_a_terminal_it_is_for_people() -> None:
    to = sink(terminal=True)
    setup_logs(console=to.console, environ={})
    structlog.get_logger("pipeline.flow").info("[bold]scaled[/bold]", workers=3, text="x" * 200)
    (line,) = to.lines
    assert "[info" in line
    assert "[bold]scaled[/bold]" in line
    assert "workers=3" in line


@pytest.mark.parametrize(("wish", "terminal", "is_json"), [("json", True, True), ("console", False, False)])
def test_the_environment_overrides(wish: str, terminal: bool, is_json: bool) -> None:
    to = sink(terminal=terminal)
    setup_logs(console=to.console, environ={"MEDIATOK_LOG": wish})
    structlog.get_logger("pipeline").info("hello")
    assert to.lines[0].startswith("{") == is_json


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="'xml'"):
        setup_logs(console=sink().console, environ={"MEDIATOK_LOG": "xml"})


def test_the_standard_librarys_lines_and_warnings_come_the_same_way() -> None:
    to = sink()
    setup_logs(console=to.console, style=LogStyle.JSON)
    logging.getLogger("s3fs").warning("slow: %d s", 3)
    logging.getLogger("s3fs").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old ways", stacklevel=1)
    assert [line["level"] for line in to.json] == ["warning", "warning"]
    assert to.json[0]["event"] == "slow: 3 s"
    assert "old ways" in str(to.json[1]["event"])


def test_levels_hold_and_a_second_call_replaces_the_first() -> None:
    first, second = sink(), sink()
    setup_logs(console=first.console, style=LogStyle.JSON)
    setup_logs(console=second.console, style=LogStyle.JSON, level="ERROR")
    structlog.get_logger("pipeline.a").warning("quiet")
    structlog.get_logger("pipeline.a").error("loud")
    assert first.lines == []
    assert [line["event"] for line in second.json] == ["loud"]


def test_what_the_kafka_client_repeats_is_shown_once_in_a_while() -> None:
    to, now_s = sink(), 0.0
    setup_logs(console=to.console, style=LogStyle.JSON, clock=lambda: now_s)
    client, ours = logging.getLogger("librdkafka"), structlog.get_logger("pipeline.source.kafka")
    for number in range(50):
        client.error("FAIL: connection refused (after %d ms)", number)
        ours.warning("kafka", error="_TRANSPORT", message=f"connection refused (after {number} ms)")
        structlog.get_logger("pipeline.runtime.desk").warning("again", number=1)
    ours.warning("kafka", error="_SSL", message="another thing")
    assert [line["logger"] for line in to.json].count("librdkafka") == 1
    assert [line.get("error") for line in to.json if line["event"] == "kafka"] == ["_TRANSPORT", "_SSL"]
    assert [line["event"] for line in to.json].count("again") == 50
    now_s = 11.0
    client.error("FAIL: connection refused (after %d ms)", 0)
    assert [line["logger"] for line in to.json].count("librdkafka") == 2


def test_an_exception_keeps_its_stack_on_one_line() -> None:
    to = sink()
    setup_logs(console=to.console, style=LogStyle.JSON)
    try:
        fail(RuntimeError("the reason"))
    except RuntimeError:
        structlog.get_logger("pipeline").exception("broke")
    (line,) = to.json
    assert "RuntimeError: the reason" in str(line["exception"])


def test_a_line_does_not_tear_the_progress_display() -> None:
    to = sink(terminal=True)
    setup_logs(console=to.console, environ={})
    with Progress(console=to.console, auto_refresh=False) as progress:
        progress.add_task("image", total=10)
        progress.refresh()
        structlog.get_logger("pipeline").info("between")
    between = next(line for line in to.lines if "between" in line)
    # The line of the bar is erased before the log line takes its place, and drawn anew below it.
    assert between.startswith("\x1b[2K")
    assert "image" not in between
    assert "image" in to.out.getvalue().split("between")[1]


SECRET = 'pa"ss\\word-1234'


@pytest.mark.parametrize("style", LogStyle)
def test_a_known_secret_never_shows_however_it_is_quoted(style: LogStyle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_redactor", Redactor())
    to = sink()
    logs.hide(SECRET, "ab")
    setup_logs(console=to.console, style=style)
    log = structlog.get_logger("pipeline")
    log.info(f"using {SECRET}", where=[{"deep": SECRET}], able="ab")
    log.info("using %s", SECRET)
    logging.getLogger("other").error("%r", SECRET)
    try:
        fail(ValueError(SECRET))
    except ValueError:
        log.exception("broke")
    assert "word-1234" not in to.out.getvalue()
    assert to.out.getvalue().count(HIDDEN) >= 5
    assert "able" in to.out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@host/path",
        "amqp://hunter2@host",
        "s3 GET https://h/k?X-Amz-Signature=hunter2&x=1",
        "https://h/k?x=1&token=hunter2",
        "sasl.password=hunter2",
        "{'sasl.password': 'hunter2'}",
        '{"aws_secret_access_key": "hunter2"}',
        "Authorization: Bearer hunter2",
    ],
)
def test_what_looks_like_a_secret_is_hidden_in_any_text(text: str) -> None:
    shown = Redactor().text(text)
    assert "hunter2" not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("sasl.password", "x", HIDDEN),
        ("password", ["x"], HIDDEN),
        ("aws_secret_access_key", "x", HIDDEN),
        ("token", "x", HIDDEN),
        ("config", {"ssl.key.password": "x", "acks": "all"}, {"ssl.key.password": HIDDEN, "acks": "all"}),
        ("tokens", 1024, 1024),
        ("token", 17, 17),
        ("tokenizer", "image-rq", "image-rq"),
        ("key", "photos/1.jpg", "photos/1.jpg"),
        ("password", None, None),
        ("uri", "s3://bucket/a?versionId=3", "s3://bucket/a?versionId=3"),
    ],
)
def test_fields_are_hidden_by_name_and_tokens_are_not_secrets(name: str, value: object, shown: object) -> None:
    assert Redactor().value(name, value) == shown
