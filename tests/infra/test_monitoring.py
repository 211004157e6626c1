"""Prometheus, its alerts and Grafana's dashboard against what mediatok declares. Nothing of it is started."""

from __future__ import annotations

import itertools
import re
from pathlib import PurePosixPath
from typing import Any

import promql_parser as promql
import pytest
import yaml

from pipeline.config import load_config
from pipeline.observe.metrics import METRICS, Metric, MetricKind
from tests.infra.monitoring import DASHBOARD, OURS, ROOT, RULES, Query, metrics_used, panels, queries

INFRA = ROOT / "infra"
PROMETHEUS: dict[str, Any] = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
RAYS_LABELS = {"Component"}
ROWS = ["Overview", "Lanes", "Pools", "Commits", "Faults"]

every_query = pytest.mark.parametrize("query", queries(), ids=lambda query: query.where)


def exported(metric: Metric) -> set[str]:
    """The names under which Prometheus sees it."""
    suffixes = ["_bucket", "_sum", "_count"] if metric.kind == MetricKind.HISTOGRAM else [""]
    return {f"ray_{metric.name}{suffix}" for suffix in suffixes}


def declared(name: str) -> Metric:
    (metric,) = [metric for metric in METRICS if name in exported(metric)]
    return metric


def calls_of(query: Query) -> list[tuple[str, list[Any]]]:
    """Its functions, and what they are called on."""
    return [(node.func.name, list(node.args)) for node in query.nodes() if isinstance(node, promql.Call)]


@every_query
def test_every_expression_is_promql(query: Query) -> None:
    assert query.selectors()


@every_query
def test_every_metric_is_declared_or_rays_own(query: Query) -> None:
    for name in (str(each.name) for each in query.selectors()):
        assert declared(name) if name.startswith(OURS) else name.startswith("ray_")


@every_query
def test_no_label_is_asked_for_that_a_metric_lacks(query: Query) -> None:
    ours = [str(each.name) for each in query.selectors() if str(each.name).startswith(OURS)]
    known = {str(label) for name in ours for label in declared(name).labels} | {"le"} | RAYS_LABELS
    assert query.labels() <= known


@every_query
def test_counters_and_histograms_are_read_by_their_growth_and_gauges_never(query: Query) -> None:
    grown = {
        str(argument.vector_selector.name)
        for function, arguments in calls_of(query)
        if function in {"rate", "increase"}
        for argument in arguments
        if isinstance(argument, promql.MatrixSelector)
    }
    for selector in query.selectors():
        name = str(selector.name)
        if name.startswith(OURS):
            assert (declared(name).kind != MetricKind.GAUGE) == (name in grown)


def test_every_metric_is_on_the_dashboard() -> None:
    used = metrics_used()
    assert {metric.name for metric in METRICS if not exported(metric) & used} == set()


def test_the_dashboard_has_its_rows_in_order_and_nothing_overlaps() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == ROWS
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    boxes = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for one, other in itertools.combinations(boxes, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
    assert all(box["x"] + box["w"] <= 24 for box in boxes)


def test_every_panel_asks_the_provisioned_source() -> None:
    provisioned = yaml.safe_load((INFRA / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    asked = [panel["datasource"] for panel in panels()]
    asked += [target["datasource"] for panel in panels() for target in panel["targets"]]
    asked += [each["datasource"] for each in DASHBOARD["templating"]["list"]]
    assert {(each["type"], each["uid"]) for each in asked} == {(source["type"], source["uid"])}
    assert source["url"] == f"http://prometheus:{COMPOSE['prometheus']['ports'][0].rpartition(':')[2]}"


def test_every_alert_says_what_is_the_matter_and_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names) >= 6
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Mediatok[A-Za-z]+", rule["alert"])
        assert set(rule["annotations"]) == {"summary", "action"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_prometheus_scrapes_the_port_on_which_the_example_config_shows_its_metrics() -> None:
    (job,) = PROMETHEUS["scrape_configs"]
    port = load_config(INFRA / "mediatok.example.yaml").ray.metrics_port
    assert job["static_configs"] == [{"targets": [f"mediatok:{port}"]}]
    assert COMPOSE["mediatok"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_compose_file_mounts_what_the_programs_are_told_to_read() -> None:
    mounts = {
        service: dict(volume.split(":")[1::-1] for volume in COMPOSE[service]["volumes"] if volume.startswith("./"))
        for service in ("prometheus", "grafana")
    }
    (config,) = [each for each in COMPOSE["prometheus"]["command"] if each.startswith("--config.file=")]
    at = PurePosixPath(config.partition("=")[2])
    assert (ROOT / mounts["prometheus"][str(at.parent)] / at.name).is_file()
    assert all((INFRA / "prometheus" / name).is_file() for name in PROMETHEUS["rule_files"])
    (provider,) = yaml.safe_load((INFRA / "grafana" / "provisioning" / "dashboards" / "mediatok.yml").read_text())[
        "providers"
    ]
    dashboards = ROOT / mounts["grafana"][provider["options"]["path"]]
    home = PurePosixPath(COMPOSE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert (dashboards / home.name).is_file()
    assert (ROOT / mounts["grafana"]["/etc/grafana/provisioning"]).is_dir()


def test_images_of_others_are_pinned_and_their_ports_are_this_machines_only() -> None:
    for service in COMPOSE.values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_a_misspelt_metric_and_broken_promql_would_be_noticed() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        declared("ray_mediatok_lag_mesages")
    with pytest.raises(ValueError, match="expected type"):
        Query("", "rate(ray_mediatok_messages_total)").selectors()
