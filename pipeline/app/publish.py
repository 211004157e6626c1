"""`mediatok publish`: references to files, one message each, into Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from operators.errors import ConfigError
from operators.records import Modality
from pipeline.config import load_config
from pipeline.observe import units
from pipeline.refs.modality import Unrecognised
from pipeline.source.media_files import Outgoing, Unclaimed, media_messages
from pipeline.source.publish import PublishReport, publish

PLACEHOLDER = "{modality}"
_SHOWN = 10
_REASONS = {
    Unrecognised.NO_CONTENT: "say nothing of their kind, neither by name nor by content",
    Unrecognised.BINARY: "begin with bytes of no known kind of media",
}


def publish_paths(media: Sequence[str], bootstrap: str | None, topic_template: str, config: Path | None) -> int:
    """Publish, show how far it is, say what was delivered and what was left out. Exit code 1 if that is everything.

    Args:
        media: files, folders, URIs.
        bootstrap: the broker's address; None: the config's.
        topic_template: "{modality}" stands for a message's.
        config: whose Kafka properties to take.

    Raises:
        ConfigError: no broker is named, no such file, no such topic.
        SourceUnavailableError: the broker does not answer.
    """
    properties = (load_config(config).kafka or {}) if config else {}
    broker = bootstrap or properties.get("bootstrap.servers")
    if not isinstance(broker, str):
        raise ConfigError("no broker: give --bootstrap HOST:PORT, or a --config whose kafka has bootstrap.servers")
    topic_of(topic_template, Modality.IMAGE)
    console = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[sent]} sent, {task.fields[delivered]} delivered"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bars:
        task = bars.add_task("publish", total=None, sent=0, delivered=0)
        report = publish(
            media_messages(media),
            broker,
            lambda message: _topic(topic_template, message),
            properties,
            on_progress=lambda sent, delivered: bars.update(task, sent=sent, delivered=delivered),
        )
    _print(report)
    return 0 if report.messages or not report.unclaimed else 1


def topic_of(template: str, modality: Modality) -> str:
    """A template with its placeholder filled.

    Raises:
        ConfigError: it has another placeholder.
    """
    topic = template.replace(PLACEHOLDER, modality.value)
    if "{" in topic or "}" in topic:
        raise ConfigError(f"--topic {template!r}: {PLACEHOLDER} is the only placeholder there is")
    return topic


def _topic(template: str, message: Outgoing) -> str:
    return topic_of(template, message.modality)


def _print(report: PublishReport) -> None:
    console = Console()
    into = ", ".join(f"{units.count(count)} into {topic}" for topic, count in sorted(report.delivered.items()))
    console.print(Text(f"published {into or 'nothing'} ({units.size(report.size_bytes)})"), soft_wrap=True)

    def reason_of(file: Unclaimed) -> Unrecognised:
        return file.reason

    for reason, group in groupby(sorted(report.unclaimed, key=reason_of), key=reason_of):
        files = list(group)
        console.print(Text(f"left out {units.count(len(files))} that {_REASONS[reason]}:", style="yellow"))
        for file in files[:_SHOWN]:
            console.print(Text(f"  {file.uri}"), soft_wrap=True)
        if len(files) > _SHOWN:
            console.print(f"  and {units.count(len(files) - _SHOWN)} more")
