"""Logs: for people on a terminal, JSON lines elsewhere; the standard library's logging goes the same way.

`MEDIATOK_LOG=json|console` overrides. A line is written through the same rich `Console` as the progress display, so
that neither tears the other. Secrets are taken out of every line: by the name of a field, by what a value looks like,
and literally, where the configuration brought them (`hide`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from enum import StrEnum
from typing import Any, cast

import structlog
from rich.console import Console
from rich.text import Text

LOG_VARIABLE = "MEDIATOK_LOG"
HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"(^|[_.\-])(password|passwd|passphrase|secret|secrets|token|credential|credentials|authorization|api_?key|"
    r"access_?key(_?id)?|private_?key|secret_?key|jaas[_.]config|cookie)$",
    re.IGNORECASE,
)
_SECRET_TEXT = (
    # scheme://user:password@host
    (re.compile(r"(?P<keep>[a-z][a-z0-9+.\-]*://)[^/\s@'\"]+@", re.IGNORECASE), r"\g<keep>" + HIDDEN + "@"),
    # signed URLs and query parameters
    (
        re.compile(
            r"(?P<keep>[?&](?:X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-(?:Signature|Credential)|Signature|sig|"
            r"AWSAccessKeyId|token|access_token|api_?key|key)=)[^&\s'\"]+",
            re.IGNORECASE,
        ),
        r"\g<keep>" + HIDDEN,
    ),
    # password=…, 'sasl.password': '…', Authorization: Bearer …
    (
        re.compile(
            r"(?P<keep>(?:password|passwd|passphrase|secret|secret_?access_?key|access_?key_?id|api_?key|private_?key|"
            r"authorization)[\"']?\s*[=:]\s*[\"']?(?:(?:Bearer|Basic)\s+)?)[^\s\"',;&)}]+",
            re.IGNORECASE,
        ),
        r"\g<keep>" + HIDDEN,
    ),
)
_REPEATING = frozenset({"librdkafka", "pipeline.source.kafka"})
_AGAIN_AFTER_S = 10.0
_MOST_LINES = 256
_NUMBER = re.compile(r"\d+")
_SHORTEST_SECRET = 6
"""Shorter literals would black out half a log, and protect nothing."""


class LogStyle(StrEnum):
    """How lines look."""

    CONSOLE = "console"
    JSON = "json"


class Redactor:
    """Takes secrets out of text and of the fields of a log line."""

    def __init__(self) -> None:
        self._literals: list[str] = []

    def hide(self, values: Sequence[str]) -> None:
        """Never show these from now on, whatever they stand in."""
        forms = {form for value in values for form in (value, json.dumps(value)[1:-1], repr(value)[1:-1])}
        known = {form for form in forms if len(form) >= _SHORTEST_SECRET} | set(self._literals)
        # The longest first, so that no secret is left as the rest of a shorter one.
        self._literals = sorted(known, key=lambda form: (-len(form), form))

    def text(self, text: str) -> str:
        """The text without what is, or looks like, a secret."""
        for literal in self._literals:
            text = text.replace(literal, HIDDEN)
        for pattern, shown in _SECRET_TEXT:
            text = pattern.sub(shown, text)
        return text

    def value(self, name: str, value: object) -> object:
        """One field: hidden by its name, else inside its text."""
        if value is not None and not isinstance(value, bool | int | float) and _SECRET_NAME.search(name):
            return HIDDEN
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            pairs = cast("Mapping[object, object]", value).items()
            return {str(key): self.value(str(key), inner) for key, inner in pairs}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(name, inner) for inner in cast("Sequence[object]", value)]
        return value

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a structlog processor."""
        for name in list(event):
            if not name.startswith("_") and name != "exc_info":
                event[name] = self.value(name, event[name])
        return event


_redactor = Redactor()


def hide(*secrets: str) -> None:
    """Never show these in any log line of this process: secrets read from files or the environment."""
    _redactor.hide(secrets)


class _Repeats(logging.Filter):
    """Holds back what the Kafka client says again and again: of a broker that is down, dozens of lines a second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._said_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name not in _REPEATING or record.levelno < logging.WARNING:
            return True
        line = record.name, _NUMBER.sub("#", record.getMessage())
        now_s = self._clock()
        if now_s - self._said_s.get(line, -_AGAIN_AFTER_S) < _AGAIN_AFTER_S:
            return False
        if len(self._said_s) >= _MOST_LINES:
            self._said_s.clear()
        self._said_s[line] = now_s
        return True


class _ConsoleHandler(logging.Handler):
    """Writes above the progress display, if there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _redactor.text(self.format(record))
            if self._console.is_terminal:
                self._console.print(Text.from_ansi(line), soft_wrap=True)
            else:
                self._console.file.write(line + "\n")
                self._console.file.flush()
        except Exception:  # noqa: BLE001  (as in logging's own handlers: logging must not end a run)
            self.handleError(record)


def setup_logs(
    *,
    console: Console | None = None,
    style: LogStyle | None = None,
    level: str = "INFO",
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Console:
    """Configure structlog and logging for this process. May be called again; the last call holds.

    Args:
        console: where to; standard error if None. Give the same to `ProgressDisplay`.
        style: None: what `MEDIATOK_LOG` says, else console on a terminal and JSON elsewhere.
        level: lowest level shown; other libraries' lines from WARNING up only.
        environ: to look `MEDIATOK_LOG` up in; the process's own if None.
        clock: in seconds; lines of the Kafka client that differ in numbers only are shown once in 10 s.

    Returns:
        The console.

    Raises:
        ValueError: `MEDIATOK_LOG` is neither, or there is no such level.
    """
    console = console or Console(file=sys.stderr)
    style = style or _style(console, os.environ if environ is None else environ)
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(
            fmt="iso" if style == LogStyle.JSON else "%H:%M:%S", utc=style == LogStyle.JSON
        ),
        _redactor,
    ]
    last: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if style == LogStyle.JSON:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    else:
        last += [
            structlog.dev.ConsoleRenderer(
                colors=console.is_terminal,
                pad_event_to=24,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    handler = _ConsoleHandler(console)
    handler.addFilter(_Repeats(clock))
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=last))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _ConsoleHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for ours in ("pipeline", "operators", "mediatok"):
        logging.getLogger(ours).setLevel(level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return console


def _style(console: Console, environ: Mapping[str, str]) -> LogStyle:
    wish = environ.get(LOG_VARIABLE, "")
    if not wish:
        return LogStyle.CONSOLE if console.is_terminal else LogStyle.JSON
    if wish not in set(LogStyle):
        raise ValueError(f"{LOG_VARIABLE} is json or console, not {wish!r}")
    return LogStyle(wish)
