from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from operators.errors import ConfigError
from operators.records import Modality
from operators.tokenize.base import Tokenizer, TokenKind, TokenSpec
from pipeline.app.draw_graph import GraphFormat, as_dot, as_mermaid, as_tree, parse_format
from pipeline.app.flow_graph import Kind, LaneGraph, graph_of
from pipeline.config import parse_config
from pipeline.graph import plan_lanes


class Pretended:
    """Knows what it is, and nothing else."""

    def __init__(self, modality: Modality, view: str) -> None:
        self.spec = TokenSpec(TokenKind.CODES, modality, view, ("t",), (4,), "uint16", (32, 32, 4))
        self.identity: Mapping[str, Any] = {"view": view}


def build(name: str, options: Mapping[str, Any]) -> Tokenizer:
    return Pretended(Modality.TEXT if name == "bytes" else Modality.IMAGE, options["view"])  # type: ignore[return-value]


def graphs(**image: Any) -> tuple[LaneGraph, ...]:
    products = {
        "fine": {"tokenizer": "rq", "options": {"view": "rgb8:256x256:cover"}},
        "coarse": {"tokenizer": "patches", "options": {"view": 'say "x" #1'}},
    }
    text = {"products": {"bytes": {"tokenizer": "bytes", "options": {"view": "utf8:64"}}}}
    lanes = {"image": {"topics": ["media.image"], "products": products, **image}, "text": text}
    config = parse_config({"lake": "s3://tokens/lake/", "lanes": lanes})
    return graph_of(plan_lanes(config, build), config.lake)


def drawn(graph: LaneGraph, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(as_tree(graph))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_lane_flows_from_its_topics_through_views_to_datasets() -> None:
    image, _ = graphs()
    kinds = {node.id: node.kind for node in (*image.sources, *image.datasets)}
    kinds |= {node.id: node.kind for process in image.processes for node in process.nodes}
    steps = {(kinds[edge.source], kinds[edge.target]) for edge in image.edges}
    assert steps == {
        (Kind.TOPIC, Kind.PREPARE),
        (Kind.PREPARE, Kind.TOKENIZER),
        (Kind.TOKENIZER, Kind.PACKERS),
        (Kind.PACKERS, Kind.DATASET),
    }
    assert [edge.label for edge in image.edges if edge.label] == ["rgb8:256x256:cover", 'say "x" #1']


def test_what_shares_a_process_is_said_to_be_fused() -> None:
    image, _ = graphs(workers={"min": 1, "max": 8})
    workers, packers = image.processes
    assert (workers.name, workers.label) == ("image/workers", "fused: 1–8 processes × 1 CPU")
    assert [node.label[0] for node in workers.nodes] == ["prepare", "rq", "patches"]
    assert packers.label == "1 process × 0 CPU"


def test_a_pool_of_its_own_shows_its_gpu_share() -> None:
    image, _ = graphs(workers={"cpus": 0.5}, tokenize={"max": 1, "gpus": 0.5}, packers=2)
    prepare, tokenize, packers = image.processes
    assert prepare.label == "0–4 processes × 0.5 CPU"
    assert tokenize.label == "0–1 process × 1 CPU + 0.5 GPU"
    assert [node.label[0] for node in tokenize.nodes] == ["rq", "patches"]
    assert packers.label == "2 processes × 0 CPU"


def test_the_tree_shows_processes_views_and_paths() -> None:
    shown = drawn(graphs()[0])
    assert "topic media.image, from earliest" in shown
    assert "image/workers  fused: 0–4 processes × 1 CPU" in shown
    assert "rgb8:256x256:cover → rq: codes 32×32×4 of uint16" in shown
    assert re.search(r"fine s3://tokens/lake/data/product=fine-[0-9a-f]{8}  revision 1", shown)


def test_a_lane_without_topics_says_who_reads_it() -> None:
    assert "a frozen listing: mediatok backfill" in drawn(graphs()[1])


def test_mermaid_names_every_node_once_and_no_other() -> None:
    text = as_mermaid(graphs())
    assert text.startswith("flowchart LR\n")
    defined = re.findall(r'^ +(\w+)(?:\[/|\[\(|\[)"', text, re.MULTILINE)
    used = {name for pair in re.findall(r"^  (\w+) -->(?:\|[^|]*\|)? (\w+)$", text, re.MULTILINE) for name in pair}
    assert len(defined) == len(set(defined))
    assert used <= set(defined)
    assert text.count("subgraph") == len(re.findall(r"^ +end$", text, re.MULTILINE)) == 2 + 4


def test_mermaid_has_no_quote_or_hash_that_would_end_a_label() -> None:
    assert '|"say #quot;x#quot; #35;1"|' in as_mermaid(graphs())


def test_dot_is_balanced_and_escapes_quotes() -> None:
    text = as_dot(graphs())
    assert text.startswith("digraph mediatok {")
    assert text.count("{") == text.count("}") == 1 + 2 + 4
    assert r'[label="say \"x\" #1"]' in text
    assert "shape=cylinder" in text


def test_a_format_that_there_is_not_is_refused() -> None:
    assert parse_format("dot") is GraphFormat.DOT
    with pytest.raises(ConfigError, match="one of tree, mermaid, dot, not 'svg'"):
        parse_format("svg")
