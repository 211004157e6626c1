"""What the dashboard and the alerts ask of Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "infra" / "grafana" / "dashboards" / "mediatok.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "infra" / "prometheus" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
OURS = "ray_mediatok_"
VARIABLES = {"$__rate_interval": "1m", "$lane": ".*"}
"""What Grafana puts in."""


@dataclass(frozen=True)
class Query:
    """An expression, as Prometheus gets it.

    Attributes:
        where: the panel or alert that asks.
        text: what is shown of a series, with the labels that it names.
    """

    where: str
    expression: str
    text: str = ""

    @property
    def parsed(self) -> promql.Expr:
        """Raises ValueError where it is no PromQL."""
        return promql.parse(self.expression)

    def nodes(self) -> list[Any]:
        """All parts of it."""
        found: list[Any] = []
        promql.walk(self.parsed, found.append)
        return found

    def selectors(self) -> list[promql.VectorSelector]:
        """What it reads."""
        return [node for node in self.nodes() if isinstance(node, promql.VectorSelector)]

    def labels(self) -> set[str]:
        """That it matches, groups by or shows."""
        grouped = {
            label for node in self.nodes() if isinstance(node, promql.AggregateExpr) and node.modifier
            for label in node.modifier.labels
        }  # fmt: skip
        matched = {each.name for selector in self.selectors() for each in selector.matchers.matchers}
        shown = re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", self.text)
        return grouped | matched | set(shown)


def panels() -> list[dict[str, Any]]:
    """Those that draw something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[Query]:
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield Query(panel["title"], expression, target["legendFormat"])


def alert_queries() -> Iterator[Query]:
    for rule in RULES:
        yield Query(rule["alert"], rule["expr"], " ".join(rule["annotations"].values()))


def queries() -> list[Query]:
    return [*panel_queries(), *alert_queries()]


def metrics_used() -> set[str]:
    return {str(selector.name) for query in queries() for selector in query.selectors()}
