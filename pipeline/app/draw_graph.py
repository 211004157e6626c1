"""`mediatok graph`: a config's lanes as a tree for the terminal, or as Mermaid or Graphviz text for documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from operators.errors import ConfigError
from pipeline.app.build import plan
from pipeline.app.flow_graph import Kind, LaneGraph, Node, Process, graph_of
from pipeline.config import Config


class GraphFormat(StrEnum):
    """How to draw."""

    TREE = "tree"
    MERMAID = "mermaid"
    DOT = "dot"


_MERMAID: Mapping[Kind, tuple[str, str]] = {
    Kind.TOPIC: ("[/", "/]"),
    Kind.PREPARE: ("[", "]"),
    Kind.TOKENIZER: ("[", "]"),
    Kind.PACKERS: ("[", "]"),
    Kind.DATASET: ("[(", ")]"),
}
_DOT: Mapping[Kind, str] = {
    Kind.TOPIC: "parallelogram",
    Kind.PREPARE: "box",
    Kind.TOKENIZER: "box",
    Kind.PACKERS: "box",
    Kind.DATASET: "cylinder",
}


def parse_format(name: str) -> GraphFormat:
    """As given on the command line.

    Raises:
        ConfigError: there is no such format.
    """
    if name not in set(GraphFormat):
        raise ConfigError(f"--format: must be one of {', '.join(GraphFormat)}, not {name!r}")
    return GraphFormat(name)


def show_graph(config: Config, form: GraphFormat) -> int:
    """Print a config's graph. Returns the exit code.

    Raises:
        ConfigError: a tokenizer can't be built.
    """
    graphs = graph_of(plan(config), config.lake)
    match form:
        case GraphFormat.MERMAID:
            print(as_mermaid(graphs))  # noqa: T201  text for a document
        case GraphFormat.DOT:
            print(as_dot(graphs))  # noqa: T201
        case GraphFormat.TREE:
            console = Console()
            for graph in graphs:
                console.print(as_tree(graph))
    return 0


def as_tree(graph: LaneGraph) -> Tree:
    """What flows, top to bottom; a branch a process."""
    modality = "" if graph.name == graph.modality else f", {graph.modality}"
    tree = Tree(Text.assemble(("lane ", "dim"), (graph.name, "bold"), (modality, "dim")))
    reads = tree.add(Text("reads", style="dim"))
    for source in graph.sources:
        reads.add(Text(", ".join(source.label)))
    labels = _labels(graph)
    for process in graph.processes:
        branch = tree.add(Text.assemble((process.name, "cyan"), f"  {process.label}"))
        for node in process.nodes:
            view = f"{labels[node.id]} → " if labels.get(node.id) else ""
            branch.add(Text.assemble((view, "dim"), f"{node.label[0]}: {', '.join(node.label[1:])}"))
    writes = tree.add(Text("writes", style="dim"))
    for dataset in graph.datasets:
        name, path, *rest = dataset.label
        writes.add(Text.assemble((name, "bold"), f" {path}", (f"  {', '.join(rest)}", "dim")))
    return tree


def as_mermaid(graphs: Sequence[LaneGraph]) -> str:
    """A Mermaid flowchart: a box a lane, in it a box a process."""
    return "\n".join(["flowchart LR", *(line for graph in graphs for line in _mermaid(graph))])


def as_dot(graphs: Sequence[LaneGraph]) -> str:
    """A Graphviz digraph: a cluster a lane, in it a cluster a process."""
    lines = [line for graph in graphs for line in _dot(graph)]
    return "\n".join(["digraph mediatok {", "  rankdir=LR", "  node [fontname=sans]", *lines, "}"])


def _mermaid(graph: LaneGraph) -> Iterator[str]:
    def node(each: Node, indent: str) -> str:
        left, right = _MERMAID[each.kind]
        return f"{indent}{each.id}{left}{_quoted('<br/>'.join(each.label))}{right}"

    yield f"  subgraph {_lane_id(graph)}[{_quoted(f'lane {graph.name}')}]"
    yield from (node(source, "    ") for source in graph.sources)
    for process in graph.processes:
        yield f"    subgraph {process.id}[{_quoted(_title(process))}]"
        yield from (node(each, "      ") for each in process.nodes)
        yield "    end"
    yield from (node(dataset, "    ") for dataset in graph.datasets)
    yield "  end"
    for edge in graph.edges:
        label = f"|{_quoted(edge.label)}|" if edge.label else ""
        yield f"  {edge.source} -->{label} {edge.target}"


def _dot(graph: LaneGraph) -> Iterator[str]:
    def node(each: Node, indent: str) -> str:
        label = "\\n".join(_escaped(line) for line in each.label)
        return f'{indent}{each.id} [shape={_DOT[each.kind]}, label="{label}"]'

    yield f"  subgraph cluster_{_lane_id(graph)} {{"
    yield f'    label="{_escaped(f"lane {graph.name}")}"'
    yield from (node(source, "    ") for source in graph.sources)
    for process in graph.processes:
        yield f"    subgraph cluster_{process.id} {{"
        yield f'      label="{_escaped(_title(process))}"'
        yield from (node(each, "      ") for each in process.nodes)
        yield "    }"
    yield from (node(dataset, "    ") for dataset in graph.datasets)
    yield "  }"
    for edge in graph.edges:
        label = f' [label="{_escaped(edge.label)}"]' if edge.label else ""
        yield f"  {edge.source} -> {edge.target}{label}"


def _labels(graph: LaneGraph) -> dict[str, str]:
    """By node, the view that flows into it."""
    return {edge.target: edge.label for edge in graph.edges if edge.label}


def _title(process: Process) -> str:
    return f"{process.name}, {process.label}"


def _lane_id(graph: LaneGraph) -> str:
    return graph.processes[0].id.partition("_")[0]


def _quoted(text: str) -> str:
    """Mermaid has no escapes but entities."""
    return f'"{text.replace("#", "#35;").replace(chr(34), "#quot;")}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
