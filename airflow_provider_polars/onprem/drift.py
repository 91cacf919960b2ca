"""What files of nodes say otherwise than the description of their cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_polars.onprem import keys
from airflow_provider_polars.onprem.findings import Finding, shown
from airflow_provider_polars.onprem.node import NodeConfig


def findings(nodes: Sequence[NodeConfig], described: Sequence[NodeConfig]) -> Iterator[Finding]:
    """Yield a breach for each key that is not as the description has it, and for nodes that are missing or too many.

    :param described: the nodes as they are rendered from the description.
    """
    expected = {node.instance: node for node in described}
    for node in nodes:
        wanted = expected.pop(node.instance, None)
        if wanted is None:
            rule = "is none of the nodes of the description, or a second file of one"
            told = shown("instance_id", node.raw("instance_id"))
            yield Finding(node.name, "instance_id", told, rule, "Correct it, or describe the node.")
            continue
        here, there = dict(_leaves(node.data)), dict(_leaves(wanted.data))
        for path in sorted(here.keys() | there.keys()):
            given, right = here.get(path), there.get(path)
            if type(given) is not type(right) or given != right:
                rule = f"is {shown(path, right)} by the description"
                yield Finding(node.name, path, shown(path, given), rule, "Render the files again, or correct it.")
    for name in expected:
        rule = "is described, and has no file here"
        yield Finding(str(name), "instance_id", shown("instance_id", name), rule, "Give its file too, or render it.")


def _leaves(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        path = f"{at}.{name}" if at else name
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield (keys.LICENSE_FILE if path == "license" else path), value
