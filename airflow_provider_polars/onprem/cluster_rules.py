"""Rules between the nodes of a cluster. :mod:`reach_rules` has those about who reaches whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from airflow_provider_polars.onprem import keys
from airflow_provider_polars.onprem.findings import Finding, shown
from airflow_provider_polars.onprem.node import NodeConfig
from airflow_provider_polars.onprem.node_rules import found

Nodes = Sequence[NodeConfig]
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run")


def findings(nodes: Nodes) -> Iterator[Finding]:
    """Yield what is wrong or odd between nodes. Of one node alone, nothing is said of others that are not there."""
    for rule in RULES:
        yield from rule(nodes)


def leader_of(nodes: Nodes) -> NodeConfig | None:
    """Return the node that runs the scheduler, None unless there is exactly one."""
    leaders = [node for node in nodes if node.runs_scheduler]
    return leaders[0] if len(leaders) == 1 else None


def identities(nodes: Nodes) -> Iterator[Finding]:
    """One cluster id, another instance id on each node, one leader."""
    yield from _same(nodes, "cluster_id", "is of another cluster than {other}, which has {value}")
    yield from _same(nodes, keys.LEADER, "names another leader than {other}, which has {value}")
    seen: dict[str, NodeConfig] = {}
    for node in nodes:
        if node.instance in seen:
            rule = f"must be another on each node, and {seen[node.instance].name} has the same"
            yield found(node, "instance_id", rule, "Write the name of the node.")
        elif node.instance is not None:
            seen[node.instance] = node


def leaders(nodes: Nodes) -> Iterator[Finding]:
    """One node runs the scheduler, and it is the one that all name."""
    if len(nodes) < 2:
        return
    running = [node for node in nodes if node.runs_scheduler]
    for node in running[1:]:
        rule = f"must be true on one node of a cluster, and is on {running[0].name} too: each would be a cluster"
        yield found(node, "scheduler.enabled", rule, "Write scheduler.enabled = false on all but the leader.")
    if not running:
        rule = "must be true on one node of a cluster, and is on none of these"
        yield found(nodes[0], "scheduler.enabled", rule, "Switch it on on the leader, or add the leader's file.")
    names = {node.instance for node in nodes}
    for node in nodes:
        leader = node.value(keys.LEADER)
        if leader is not None and leader not in names:
            rule = "must be the instance_id of one of the nodes"
            known = ", ".join(shown("instance_id", name) for name in names if name) or "none"
            yield found(node, keys.LEADER, rule, f"Theirs are: {known}.")


def workers(nodes: Nodes) -> Iterator[Finding]:
    """As many workers run as queries wait for."""
    running = [node for node in nodes if node.runs_worker]
    if not running and len(nodes) > 1:
        yield found(nodes[0], "worker.enabled", "must be true on some node", "Switch it on where queries are to run.")
    for node in nodes:
        expected = node.value("scheduler.n_workers")
        if expected is None or not node.runs_scheduler or expected == len(running):
            continue
        fix = f"Write scheduler.n_workers = {len(running)}, or add the files that are missing."
        if expected > len(running):
            rule = f"workers are waited for, and {len(running)} of these nodes run one: queries would wait for ever"
            yield found(node, "scheduler.n_workers", rule, fix, "breach" if len(nodes) > 1 else "warning")
        else:
            rule = f"workers are waited for, and {len(running)} of these nodes run one: queries may start with fewer"
            yield found(node, "scheduler.n_workers", rule, fix, "warning")


def storage(nodes: Nodes) -> Iterator[Finding]:
    """Workers keep shuffled data and checkpoints in the same way, and shared kinds in the same place."""
    running = [node for node in nodes if node.runs_worker]
    for where in (keys.SHUFFLED, keys.CHECKPOINTS):
        having = [(node, place) for node in running if (place := node.location(where)) is not None]
        for node, place in having[1:]:
            first, other = having[0]
            same = place == other if place.is_shared else place.kind == other.kind
            if not same:
                rule = (
                    f"must be the same on all workers, and {first.name} has {other.kind}, {shown(where, other.place)}"
                )
                yield found(node, where, rule, "Write the same on all workers.")
    leader = leader_of(nodes)
    if leader is not None and leader.on("scheduler.checkpoint"):
        for node in running:
            if node.raw(keys.CHECKPOINTS) is None:
                shuffle = node.location(keys.SHUFFLED)
                shared = shuffle is not None and shuffle.is_shared
                rule = f"is required where checkpoints are on, as in {leader.name}"
                rule += ", though it does nothing where data is shuffled through shared storage" if shared else ""
                fix = f'Write {keys.CHECKPOINTS}.shared_filesystem.path = "/shared/checkpoints", or an object store.'
                yield found(node, keys.CHECKPOINTS, rule, fix, "warning" if shared else "breach")


def results(nodes: Nodes) -> Iterator[Finding]:
    """All nodes see the path that results go to."""
    for node in nodes:
        for where, kind in ((keys.RESULTS, "local"), (keys.SHUFFLED, "shared_filesystem")):
            place = node.location(where)
            if place is None or place.kind != kind or not place.place.startswith(tuple(f"{t}/" for t in TEMPORARY)):
                continue
            if len(nodes) > 1 or not node.runs_worker or not node.runs_scheduler:
                rule = (
                    "is in a folder that each machine has for itself, and must be the same for all nodes and the client"
                )
                yield found(
                    node, f"{where}.{kind}.path", rule, "Write a path on storage that all of them share.", "warning"
                )


def licences(nodes: Nodes) -> Iterator[Finding]:
    """Nodes have the licence that the leader has."""
    leader = leader_of(nodes)
    if leader is None or leader.raw(keys.LICENSE_FILE) is None:
        return
    for node in nodes:
        if node.raw(keys.LICENSE_FILE) is None:
            rule = f"has no path, and {leader.name} has an offline licence; whether workers need it is unverified"
            yield found(node, "license", rule, "Write the same as on the leader.", "warning")


def monitoring(nodes: Nodes) -> Iterator[Finding]:
    """Figures are sent where something receives them."""
    leader = leader_of(nodes)
    if leader is None or leader.on("observatory"):
        return
    for node in nodes:
        if node.on("monitoring"):
            rule = f"sends figures to the observatory, which {leader.name} does not run"
            yield found(
                node, "monitoring.enabled", rule, "Switch observatory.enabled on there, or this off.", "warning"
            )


def _same(nodes: Nodes, key: str, rule: str) -> Iterator[Finding]:
    having: list[tuple[NodeConfig, Any]] = [(node, value) for node in nodes if (value := node.value(key)) is not None]
    for node, value in having[1:]:
        first, expected = having[0]
        if value != expected:
            told = rule.format(other=first.name, value=shown(key, expected))
            yield found(node, key, told, "Write the same on all nodes.")


RULES: tuple[Callable[[Nodes], Iterator[Finding]], ...] = (
    identities,
    leaders,
    workers,
    storage,
    results,
    licences,
    monitoring,
)
