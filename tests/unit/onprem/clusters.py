"""Clusters of the tests: one that is right, changes of it, and what is then found."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from airflow_provider_polars.onprem import versions
from airflow_provider_polars.onprem.checking import check
from airflow_provider_polars.onprem.description import ClusterDescription
from airflow_provider_polars.onprem.node import NodeConfig
from airflow_provider_polars.onprem.rendering import render

GONE = object()
"""As a value: the key is taken out."""

ADDRESSES = {"node-1": "10.0.0.11", "node-2": "10.0.0.12", "node-3": "10.0.0.13"}
Changes = Mapping[str, Mapping[str, Any]]


def described(size: int = 3, **fields: Any) -> dict[str, Any]:
    """Return the description of a cluster, as it stands in a file."""
    known = {
        "cluster_id": "sales",
        "license": "/etc/polars/license.json",
        "nodes": dict(list(ADDRESSES.items())[:size]),
    }
    return known | fields


def rendered(size: int = 3, **fields: Any) -> list[NodeConfig]:
    return render(ClusterDescription.from_dict(described(size, **fields)))


def put(data: dict[str, Any], path: str, value: Any) -> None:
    """Set a key of nested tables, or take it out."""
    *sections, name = path.split(".")
    for section in sections:
        data = data.setdefault(section, {})
    if value is GONE:
        del data[name]
    else:
        data[name] = value


def changed(nodes: list[NodeConfig], changes: Changes) -> list[NodeConfig]:
    """Return nodes with keys set or taken out; ``"*"`` stands for each node."""
    result = []
    for node in nodes:
        data = copy.deepcopy(dict(node.data))
        for name in ("*", node.name):
            for path, value in changes.get(name, {}).items():
                put(data, path, value)
        result.append(NodeConfig(data, node.name))
    return result


def found(nodes: list[NodeConfig], server: tuple[int, int, int] = versions.NEWEST) -> list[tuple[str, str, str]]:
    """Return severity, node and key of each finding."""
    return [(finding.severity, finding.node, finding.key) for finding in check(nodes, server)]
