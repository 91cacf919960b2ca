"""``check``: all that is wrong, or odd, with the configurations of a cluster's nodes, at once."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_polars.onprem import cluster_rules, drift, node_rules, reach_rules, value_rules, versions
from airflow_provider_polars.onprem.findings import Finding
from airflow_provider_polars.onprem.node import NodeConfig


def check(
    nodes: Sequence[NodeConfig],
    server: tuple[int, int, int] = versions.NEWEST,
    described: Sequence[NodeConfig] | None = None,
) -> list[Finding]:
    """Return every breach and every warning, in the order of nodes, breaches first.

    :param nodes: all nodes of one cluster; or one alone, and nothing is said of those that are missing.
    :param server: version of the server that is to read them; default the newest known.
    :param described: the nodes as they are rendered from the description of the cluster, to compare with; default
        none.
    """
    found: list[Finding] = []
    for node in nodes:
        found += value_rules.findings(node, server)
        found += node_rules.findings(node)
    found += cluster_rules.findings(nodes)
    found += reach_rules.findings(nodes)
    if described is not None:
        found += drift.findings(nodes, described)
    order = {node.name: at for at, node in enumerate(nodes)}
    return sorted(dict.fromkeys(found), key=lambda finding: (finding.severity, order.get(finding.node, len(order))))
