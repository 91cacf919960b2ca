"""What Polars says about a plan before it runs."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from . import plans

_NODE = re.compile(r'^\s*(\d+) \[label="((?:[^"\\]|\\.)*)"', re.MULTILINE)
_EDGE = re.compile(r"^\s*(\d+) -> (\d+)", re.MULTILINE)


def plan(message: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Read a plan and resolve its columns, as far as that goes without running it.

    :param message: ``dot`` (whether texts are to be DOT), ``flags`` (bits of the optimizations, or None).
    :return: ``sink`` (kind), ``target``, ``ir`` and ``physical`` (texts), ``nodes`` (labels of the physical plan, roots
        first), ``roots`` (their number), ``edges`` (pairs: consumer and input, as positions among the nodes).
    :raises BaseException: whatever Polars raises for a plan that cannot run.
    """
    sink = plans.sink_of(data)
    if sink is None:
        raise pl.exceptions.InvalidOperationError("the plan has no sink: a cluster has nowhere to put its rows")
    if sink.kind == "Multiple":
        text = "several sinks"
        return {"sink": sink.kind, "target": "", "ir": text, "physical": text, "nodes": [text], "roots": 1, "edges": []}
    frame = plans.load(data)
    frame.collect_schema()
    flags = plans.optimizations(message["flags"])
    dot = _dot(frame, flags, "physical")
    graph = _graph(dot)
    return {
        "sink": sink.kind,
        "target": sink.target,
        "ir": _dot(frame, flags, "ir") if message["dot"] else frame.explain(optimizations=flags),
        "physical": dot if message["dot"] else "\n".join(graph["nodes"]),
        **graph,
    }


def _dot(frame: pl.LazyFrame, flags: pl.QueryOptFlags, stage: Any) -> str:
    return (
        frame.show_graph(raw_output=True, show=False, plan_stage=stage, engine="streaming", optimizations=flags) or ""
    )


def _graph(dot: str) -> dict[str, Any]:
    """Return the nodes and edges of Polars' own drawing, in which edges go from an input to its consumer."""
    labels = {node: label.replace("\\n", "\n").replace('\\"', '"') for node, label in _NODE.findall(dot)}
    edges = [(consumer, source) for source, consumer in _EDGE.findall(dot) if {consumer, source} <= labels.keys()]
    inputs = {source for _, source in edges}
    ordered = sorted(labels, key=lambda node: node in inputs)
    place = {node: index for index, node in enumerate(ordered)}
    return {
        "nodes": [labels[node] for node in ordered],
        "roots": len(labels.keys() - inputs),
        "edges": [(place[consumer], place[source]) for consumer, source in edges],
    }
