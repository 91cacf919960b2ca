"""``ClusterDescription``: a cluster in a few lines, from which the configuration of each node is rendered."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_polars.exceptions import ConfigurationError, nearest
from airflow_provider_polars.onprem import addresses, kinds, versions
from airflow_provider_polars.onprem.findings import shown
from airflow_provider_polars.onprem.keys import SERVICES, STORES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeDescription:
    """One node of a cluster.

    :param name: its ``instance_id``, and the name of its file.
    :param address: IP address or host name by which the other nodes reach it.
    :param ports: ports of its services by name: client, registration, receiver, rest, task, shuffle. Default: those
        of the server, 5051, 5050, 5049, 3001, 5052, 5053.
    :param settings: keys of this node's file, in the server's own words; they win over all others.
    """

    name: str
    address: str
    ports: Mapping[str, int] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def port(self, service: str) -> int:
        """Return the port of a service, by its name."""
        return self.ports.get(service, SERVICES[service].port)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterDescription:
    """A cluster in a few lines.

    :param cluster_id: its name; letters, digits, ``.``, ``_`` and ``-``.
    :param nodes: its nodes, one at least.
    :param license: path of an offline licence on the nodes; or a table with ``workspace_id``, ``client_id`` and
        ``cert_dir`` of an online one. The secret of that is never part of it.
    :param directory: folder of each node's own data; default ``/var/lib/polars``. What is kept there is in a folder
        of cluster and node.
    :param leader: name of the node with scheduler and observatory; default the first.
    :param leader_computes: whether queries are computed on the leader too; default True.
    :param server: version of the server; default the newest known.
    :param results: where results go that have no sink: a URL, a path that nodes and clients share, or a table in the
        server's own words; default nowhere, and each query needs a sink.
    :param shuffle: where data goes that queries exchange: a URL, a shared path, or a table in the server's own words;
        default a folder of each node's own.
    :param checkpoints: where checkpoints go, written as ``shuffle``; default none are made.
    :param observatory: whether the observatory runs, and all nodes send it figures; default True.
    :param max_metrics_bytes: bytes of figures that it keeps; default 104857600, as in the vendor's Helm chart.
    :param bind: ``"all"`` interfaces, or the node's ``"own"`` address alone; default ``"all"``.
    :param tls: ``certificate_key_file`` and ``private_key_file`` of the client service and of the observatory.
    :param jwks: ``url``, ``issuers`` and ``audience`` of the tokens that both ask for.
    :param settings: keys of all nodes' files, in the server's own words; they win over what is rendered.
    """

    cluster_id: str
    nodes: tuple[NodeDescription, ...]
    license: str | Mapping[str, Any]
    directory: str = "/var/lib/polars"
    leader: str = ""
    leader_computes: bool = True
    server: str = versions.shown(versions.NEWEST)
    results: str | Mapping[str, Any] | None = None
    shuffle: str | Mapping[str, Any] | None = None
    checkpoints: str | Mapping[str, Any] | None = None
    observatory: bool = True
    max_metrics_bytes: int = 104857600
    bind: str = "all"
    tls: Mapping[str, Any] | None = None
    jwks: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], name: str = "the description") -> ClusterDescription:
        """Return the cluster that a table describes: the fields of this class, ``nodes`` as a table of its own.

        A node is its address, or a table with ``address``, and ``first_port`` or ``ports``, and ``settings``.
        With ``first_port`` the six services have it and the five ports after it; it may also stand for all nodes.

        :param name: what messages call it.
        :raises ConfigurationError: with all that is wrong, one line each.
        """
        problems = _Problems()
        given = dict(data)
        shared = _ports(given.pop("ports", None), given.pop("first_port", None), "", problems)
        nodes = _nodes(given.pop("nodes", None), shared, problems)
        problems.unknown("", given, [*_FIELDS, "nodes", "ports", "first_port"])
        for field, check in _FIELDS.items():
            if field in given:
                problems.add(field, given[field], check(given[field]))
            elif field in ("cluster_id", "license"):
                problems.add(field, None, "is required")
        leader = given.get("leader", nodes[0].name if nodes else "")
        if nodes and isinstance(leader, str) and leader not in {node.name for node in nodes}:
            known = ", ".join(node.name for node in nodes)
            problems.add("leader", leader, f"must be one of the nodes: {known}")
        if problems.lines:
            raise ConfigurationError("\n".join(f"{name}: {line}" for line in problems.lines))
        return cls(nodes=nodes, **{**given, "leader": leader})


class _Problems:
    """What is wrong with a description, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, key: str, value: Any, problem: str | None) -> None:
        if problem is not None:
            self.lines.append(f"{key} ({shown(key, value)}) {problem}.")

    def unknown(self, where: str, given: Mapping[str, Any], known: list[str]) -> None:
        for key in given.keys() - set(known):
            close = nearest(key, known)
            hint = close if close != "." else f". Known are {', '.join(known)}."
            self.lines.append(f"{where}{key} is no key of a description{hint}")


def _nodes(table: Any, shared: dict[str, int], problems: _Problems) -> tuple[NodeDescription, ...]:
    if not isinstance(table, Mapping) or not table:
        problems.add("nodes", table, 'must be a table of at least one node: [nodes] node-1 = "10.0.0.11"')
        return ()
    found = []
    for name, value in table.items():
        where = f"nodes.{name}"
        entry = dict(value) if isinstance(value, Mapping) else {"address": value}
        problems.unknown(f"{where}.", entry, ["address", "ports", "first_port", "settings"])
        problems.add(where, name, None if _NAME.fullmatch(name) else f"must have a name like node-1; {name!r} is none")
        problems.add(f"{where}.address", entry.get("address"), _host_problem(entry.get("address")))
        settings = entry.get("settings", {})
        problems.add(f"{where}.settings", settings, _table_problem(settings))
        own = _ports(entry.get("ports"), entry.get("first_port"), f"{where}.", problems)
        found.append(
            NodeDescription(name=name, address=entry.get("address", ""), ports=shared | own, settings=settings)
        )
    return tuple(found)


def _ports(given: Any, first: Any, where: str, problems: _Problems) -> dict[str, int]:
    """Return the ports of services by name; single ones win over ``first_port``."""
    found: dict[str, int] = {}
    if first is not None:
        last = 65535 - len(SERVICES) + 1
        if isinstance(first, bool) or not isinstance(first, int) or not 1 <= first <= last:
            problems.add(f"{where}first_port", first, f"must be a whole number from 1 to {last}")
        else:
            found = {service: first + at for at, service in enumerate(SERVICES)}
    if given is None:
        return found
    if not isinstance(given, Mapping):
        problems.add(f"{where}ports", given, "must be a table, such as { client = 6051 }")
        return found
    problems.unknown(f"{where}ports.", given, list(SERVICES))
    for service, port in given.items():
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
            problems.add(f"{where}ports.{service}", port, "must be a whole number from 1 to 65535")
        else:
            found[service] = port
    return found


def _host_problem(value: Any) -> str | None:
    try:
        host = addresses.of_host(value) if isinstance(value, str) else addresses.Address()
    except ConfigurationError:
        host = addresses.Address()
    return "must be the IP address or the host name of the node" if host.is_any else None


def _table_problem(value: Any) -> str | None:
    return None if isinstance(value, Mapping) else "must be a table in the server's own words"


def _name_problem(value: Any) -> str | None:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return None
    return "must be a name of letters, digits, '.', '_' and '-'"


def _version_problem(value: Any) -> str | None:
    try:
        versions.parse(value)
    except ConfigurationError as error:
        return f"is no version to write for: {str(error).rstrip('.')}"
    return None


def _absolute_problem(value: Any) -> str | None:
    problem = kinds.PATH.problem(value)
    return "must be an absolute path" if problem is None and not value.startswith("/") else problem


def _place_problem(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return None
    if isinstance(value, str) and "://" in value:
        return None if any(url.problem(value) is None for url in STORES.values()) else _STORE_RULE
    return _absolute_problem(value)


def _license_problem(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return _absolute_problem(value)
    if "client_secret" in value:
        return "must not hold the client_secret: set the variable PC_CUBLET__license__on_prem__client_secret"
    unknown = value.keys() - {"workspace_id", "client_id", "cert_dir"}
    return f"has an unknown key {min(unknown)!r}; known are workspace_id, client_id, cert_dir" if unknown else None


_STORE_RULE = "must be an absolute path, or a URL of an object store: s3://, gs:// or az://"
_FIELDS: dict[str, Callable[[Any], str | None]] = {
    "cluster_id": _name_problem,
    "license": _license_problem,
    "directory": _absolute_problem,
    "leader": _name_problem,
    "leader_computes": kinds.FLAG.problem,
    "server": _version_problem,
    "results": _place_problem,
    "shuffle": _place_problem,
    "checkpoints": _place_problem,
    "observatory": kinds.FLAG.problem,
    "max_metrics_bytes": kinds.BYTES.problem,
    "bind": kinds.choice("all", "own").problem,
    "tls": _table_problem,
    "jwks": _table_problem,
    "settings": _table_problem,
}
