"""``render``: the configuration of each node of a cluster that is described in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem import addresses, checking, keys, versions
from airflow_provider_polars.onprem.addresses import Address
from airflow_provider_polars.onprem.description import ClusterDescription, NodeDescription
from airflow_provider_polars.onprem.findings import shown
from airflow_provider_polars.onprem.node import NodeConfig

LICENSE_TABLES = (0, 4, 0)
"""The server from which on the licence is a table; before, it is a path."""


def render(cluster: ClusterDescription) -> list[NodeConfig]:
    """Return the configuration of each node, named after it, in the order of the description.

    :raises ConfigurationError: if the server that is aimed at does not know a key, or if the files break a rule,
        as ``settings`` or addresses may have them do: with every key.
    """
    server = versions.parse(cluster.server)
    nodes = [NodeConfig(_node(cluster, node, server), node.name) for node in cluster.nodes]
    problems = [line for node in nodes for line in _too_new(node, server)]
    problems += [str(finding) for finding in checking.check(nodes, server) if finding.severity == "breach"]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return nodes


def variables(node: NodeConfig) -> list[str]:
    """Return the environment variables that the server needs beside this file, for what is kept out of it."""
    online = "license.on_prem"
    if not node.is_leader or node.raw(online) is None or not node.on(online):
        return []
    needed = [f"{online}.{name}" for name in ("workspace_id", "client_id", "client_secret")]
    return [keys.variable(key) for key in needed if node.raw(key) is None]


def _node(cluster: ClusterDescription, node: NodeDescription, server: tuple[int, int, int]) -> dict[str, Any]:
    leads = node.name == cluster.leader
    data: dict[str, Any] = {"cluster_id": cluster.cluster_id, "instance_id": node.name}
    data["license"] = _license(cluster, leads, server)
    data["static_leader"] = _static_leader(cluster)
    data["scheduler"] = _scheduler(cluster, node) if leads else {"enabled": False}
    data["worker"] = _worker(cluster, node) if cluster.leader_computes or not leads else {"enabled": False}
    data["observatory"] = _observatory(cluster, node) if leads and cluster.observatory else {"enabled": False}
    data["monitoring"] = {"enabled": cluster.observatory}
    return _merged(_merged(data, cluster.settings), node.settings)


def _license(cluster: ClusterDescription, leads: bool, server: tuple[int, int, int]) -> str | dict[str, Any]:
    if isinstance(cluster.license, Mapping):
        return {"on_prem": {"enabled": True} | (dict(cluster.license) if leads else {})}
    if server < LICENSE_TABLES:
        return cluster.license
    return {"on_prem_enterprise": {"license_path": cluster.license}}


def _static_leader(cluster: ClusterDescription) -> dict[str, Any]:
    leader = next(node for node in cluster.nodes if node.name == cluster.leader)
    return {
        "leader_instance_id": leader.name,
        "scheduler_service": {"public_addr": _own(leader, "registration")},
        "observatory_service": {"public_addr": _own(leader, "receiver")},
    }


def _scheduler(cluster: ClusterDescription, node: NodeDescription) -> dict[str, Any]:
    section: dict[str, Any] = {
        "enabled": True,
        "n_workers": len(cluster.nodes) - (0 if cluster.leader_computes else 1),
        "client_service": _listening(cluster, node, "client") | _access(cluster),
        "worker_service": _listening(cluster, node, "registration"),
    }
    if cluster.results is not None:
        section["anonymous_result_location"] = _place(cluster.results, "local")
        if "local" in section["anonymous_result_location"]:
            section["allow_local_sinks"] = True
    if cluster.checkpoints is not None:
        section["checkpoint"] = {"enabled": True}
    return section


def _worker(cluster: ClusterDescription, node: NodeDescription) -> dict[str, Any]:
    own = {"local": {"path": f"{cluster.directory.rstrip('/')}/{cluster.cluster_id}/{node.name}/shuffle"}}
    shuffle = own if cluster.shuffle is None else _place(cluster.shuffle, "shared_filesystem")
    section: dict[str, Any] = {"enabled": True, "shuffle_location": shuffle}
    section["task_service"] = _listening(cluster, node, "task") | {"public_addr": _own(node, "task")}
    if "local" in shuffle:
        section["shuffle_service"] = _listening(cluster, node, "shuffle") | {"public_addr": _own(node, "shuffle")}
    if cluster.checkpoints is not None:
        section["checkpoint_location"] = _place(cluster.checkpoints, "shared_filesystem")
    return section


def _observatory(cluster: ClusterDescription, node: NodeDescription) -> dict[str, Any]:
    return {
        "enabled": True,
        "max_metrics_bytes_total": cluster.max_metrics_bytes,
        "service": _listening(cluster, node, "receiver"),
        "rest_api": {"enabled": True, "service": _listening(cluster, node, "rest") | _access(cluster)},
    }


def _access(cluster: ClusterDescription) -> dict[str, Any]:
    """Return TLS and tokens of a service that clients reach."""
    tls = {} if cluster.tls is None else {"connection": {"tls": dict(cluster.tls)}}
    return tls | ({} if cluster.jwks is None else {"auth": {"jwks": dict(cluster.jwks)}})


def _listening(cluster: ClusterDescription, node: NodeDescription, service: str) -> dict[str, Any]:
    if cluster.bind == "own":
        return {"bind_addr": _own(node, service)}
    return {"bind_addr": Address(addresses.ALL_INTERFACES, node.port(service)).as_toml()}


def _own(node: NodeDescription, service: str) -> str | dict[str, Any]:
    return addresses.of_host(node.address, node.port(service)).as_toml()


def _place(place: str | Mapping[str, Any], of_path: str) -> dict[str, Any]:
    """Return a location; ``of_path`` is the kind that a path is of."""
    if isinstance(place, Mapping):
        return _merged({}, place)
    for kind, url in keys.STORES.items():
        if url.problem(place) is None:
            return {kind: {"url": place}}
    return {of_path: {"path": place}}


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``under`` with the values of ``over``, table by table."""
    result = {key: _merged({}, value) if isinstance(value, Mapping) else value for key, value in under.items()}
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping):
            result[key] = _merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _too_new(node: NodeConfig, server: tuple[int, int, int]) -> list[str]:
    return [
        f"{node.name}: {key.path} ({shown(key.path, node.raw(key.path))}) is read by servers from "
        f"{versions.shown(key.since)} on, and the description is for {versions.shown(server)}. "
        "Take a newer server, or leave out what asks for it."
        for key in keys.ALL
        if key.since > server and node.raw(key.path) is not None
    ]
