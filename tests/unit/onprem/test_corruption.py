"""Whatever is rendered is accepted, and every change of a single key is found or does no harm."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem import description, files, keys, kinds, rendering, versions
from airflow_provider_polars.onprem.checking import check
from airflow_provider_polars.onprem.description import ClusterDescription
from airflow_provider_polars.onprem.findings import Finding
from airflow_provider_polars.onprem.keys import (
    CHECKPOINTS,
    CLIENT,
    KEYS,
    LEADER_OBSERVATORY,
    LICENSE_FILE,
    REST,
    RESULTS,
    SHUFFLE,
    SHUFFLED,
    TASK,
)
from airflow_provider_polars.onprem.node import NodeConfig
from tests.unit.onprem.clusters import GONE, put
from tests.unit.onprem.tables import VALUES, tables

PLACES = ["s3://lake/x", "gs://lake/x", "az://lake/x", "/shared/x"]
TLS = {"certificate_key_file": "/tls/cert.pem", "private_key_file": "/tls/key.pem"}
JWKS = {"url": "https://keys.example.com", "issuers": "https://issuer.example.com", "audience": "polars"}

CHOICES = {
    LICENSE_FILE: "any path may be right; on another machine nobody sees whether a file is there",
    "license.on_prem.enabled": "a leader without a licence is found; whether workers need one is unverified",
    "license.on_prem.workspace_id": "any workspace may be right",
    "license.on_prem.client_id": "any service account may be right",
    CLIENT.bind: "clients are told its port, and no file of a node is",
    REST.bind: "people are told its port, and no file of a node is",
    "scheduler.n_workers": "without it queries wait for no worker; a wrong number is found",
    "observatory.max_metrics_bytes_total": "any size may be right",
    "observatory.rest_api.enabled": "a cluster works without the REST API",
    "monitoring.enabled": "a cluster works without the figures of a node",
    "scheduler.checkpoint.enabled": "a cluster works without checkpoints",
    "scheduler.allow_local_sinks": "whether users may write local files is a choice; results in one are looked after",
    **{f"{where}.local.path": "a folder of the node's own" for where in (RESULTS, SHUFFLED)},
    **{f"{RESULTS}.{store}.url": "results may be anywhere" for store in keys.STORES},
    **{
        f"{service.section}.{key}": "nothing in the files says which certificates and tokens are right"
        for service in (CLIENT, REST)
        for key in (*(f"connection.tls.{name}" for name in TLS), *(f"auth.jwks.{name}" for name in JWKS))
    },
}
"""Keys of which another value that is possible by itself does no harm that a file could tell, and why."""


@st.composite
def descriptions(draw: st.DrawFn) -> dict[str, Any]:
    """Descriptions of clusters of up to four nodes, on machines of their own or all on one."""
    size = draw(st.integers(1, 4))
    one_machine, named = draw(st.booleans()), draw(st.booleans())
    nodes: dict[str, Any] = {}
    for at in range(size):
        address = "10.0.0.11" if one_machine else f"node-{at}.example.com" if named else f"10.0.0.{at + 11}"
        nodes[f"node-{at}"] = {"address": address} | ({"first_port": 20000 + 10 * at} if one_machine else {})
    server = draw(st.sampled_from([versions.shown(release.server) for release in versions.RELEASES] + ["0.2", "0.8"]))
    known = versions.parse(server)
    places = PLACES if known >= (0, 4, 0) else ["s3://lake/x", "/shared/x"]
    licenses: list[Any] = ["/etc/polars/license.json"]
    if known >= (0, 4, 0):
        licenses.append({"workspace_id": "w", "client_id": "c"})
    given: dict[str, Any] = {
        "cluster_id": "sales",
        "server": server,
        "nodes": nodes,
        "leader": f"node-{draw(st.integers(0, size - 1))}",
        "leader_computes": size == 1 or draw(st.booleans()),
        "license": draw(st.sampled_from(licenses)),
        "observatory": draw(st.booleans()),
        "bind": draw(st.sampled_from(["all", "own"])),
    }
    for key in ("results", "shuffle", *(["checkpoints"] if known >= (0, 6, 3) else [])):
        if draw(st.booleans()):
            given[key] = draw(st.sampled_from(places))
    if known >= (0, 8, 0) and draw(st.booleans()):
        given["tls"] = TLS
        given |= {"jwks": JWKS} if draw(st.booleans()) else {}
    return given


def leaves(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        path = f"{at}.{name}" if at else name
        if isinstance(value, Mapping) and path not in KEYS:
            yield from leaves(value, path)
        else:
            yield path, value


def others(path: str, value: Any) -> list[Any]:
    """Return values that a key could have as well, were it not for the rest of the cluster."""
    kind = KEYS[LICENSE_FILE if path == "license" else path].kind
    if kind is kinds.FLAG:
        return [not value]
    if kind.name in (kinds.COUNT.name, kinds.BYTES.name):
        return [value + 1, value * 3]
    if kind is kinds.ADDRESS:
        table = {"ip": "10.9.9.9", "port": 7} if isinstance(value, str) else {**value, "hostname": "elsewhere"}
        port = {**value, "port": 5051} if isinstance(value, Mapping) else f"{value.rpartition(':')[0]}:5051"
        return [table, port]
    if kind is kinds.PATH:
        return [f"{value}-other"]
    return [f"{value}x"]


def impossible() -> list[Any]:
    """Return values that a key can never have."""
    return ["", "${NAME}", 5.5, [5], {"zzz": 1}]


def no_harm(nodes: list[NodeConfig], before: NodeConfig, after: NodeConfig, path: str) -> str | None:
    """Return why a change makes no difference, or is one that files cannot judge; None if it does harm."""
    known = LICENSE_FILE if path == "license" else path
    workers = [node for node in nodes if node.runs_worker]
    if known in CHOICES:
        return CHOICES[known]
    if after.raw(known) is None and after.value(known) == before.value(known):
        return "the server's default is the same"
    if known.endswith("_addr") and ways(after) == ways(before):
        return "each service is found at the same address"
    if known == "cluster_id" and len(nodes) == 1:
        return "a node alone may be of any cluster"
    if known == "instance_id" and not before.is_leader:
        return "any name is right that no other node has"
    if known.startswith((SHUFFLED, CHECKPOINTS)) and len(workers) == 1:
        return "a worker alone shares its data with nobody"
    if known == LEADER_OBSERVATORY and len(nodes) == 1 and not before.on("observatory"):
        return "nothing is sent to the observatory"
    if known == TASK.public and SHUFFLE not in before.services and before.bind(TASK).is_any:
        return "nothing else in the files says where this node is: the description does"
    return None


def ways(node: NodeConfig) -> list[Any]:
    """Return the port that each service listens on, and where others look for it."""
    listening = [node.bind(service).port for service in node.services]
    return [listening, *(node.public(service) for service in node.services if service in (TASK, SHUFFLE))]


@settings(max_examples=40, deadline=None)
@given(descriptions())
def test_whatever_is_rendered_is_accepted_and_is_the_same_after_a_round_trip(data: dict[str, Any]) -> None:
    cluster = ClusterDescription.from_dict(data)
    nodes = rendering.render(cluster)
    read = [NodeConfig(files.loads(files.dumps(node.data), node.name), node.name) for node in nodes]
    assert read == nodes
    findings = check(read, versions.parse(cluster.server), described=nodes)
    assert [finding for finding in findings if finding.severity == "breach"] == []
    addresses = [entry["address"] for entry in data["nodes"].values()]
    if len(set(addresses)) == len(addresses) or data["bind"] == "own":
        assert findings == []


@settings(max_examples=40, deadline=None)
@given(descriptions(), st.data())
def test_a_change_of_a_single_key_is_found_or_does_no_harm(described: dict[str, Any], data: st.DataObject) -> None:
    nodes = rendering.render(ClusterDescription.from_dict(described))
    server = versions.parse(described["server"])
    at = data.draw(st.integers(0, len(nodes) - 1))
    path, value = data.draw(st.sampled_from(sorted(leaves(nodes[at].data), key=str)))
    before = check(nodes, server)
    changes: dict[str, list[Any]] = {
        "gone": [GONE],
        "misspelled": [value],
        "impossible": impossible(),
        "other": others(path, value),
    }
    for change, values in changes.items():
        for new in (new for new in values if change == "misspelled" or new != value):
            table = copy.deepcopy(dict(nodes[at].data))
            put(table, path, GONE if change == "misspelled" else new)
            if change == "misspelled":
                put(table, f"{path}z", new)
            changed = [*nodes[:at], NodeConfig(table, nodes[at].name), *nodes[at + 1 :]]
            new_findings = set(check(changed, server)) - set(before)
            told = f"{change}: {nodes[at].name}: {path}: {value!r} -> {new!r}"
            maybe = change in ("gone", "other")
            assert new_findings or (maybe and no_harm(nodes, nodes[at], changed[at], path)), told
            assert drifted(changed, nodes, server), told


def drifted(changed: list[NodeConfig], nodes: list[NodeConfig], server: tuple[int, int, int]) -> list[Finding]:
    """Return the breaches of a comparison with the description, which finds each change."""
    return [finding for finding in check(changed, server, described=nodes) if finding.severity == "breach"]


@settings(max_examples=40, deadline=None)
@given(st.lists(tables(), min_size=1, max_size=3))
def test_whatever_files_hold_the_rules_do_not_stumble(contents: list[dict[str, Any]]) -> None:
    nodes = [NodeConfig(data, f"node-{at}") for at, data in enumerate(contents)]
    findings = check(nodes, versions.OLDEST, described=nodes)
    assert any(finding.severity == "breach" for finding in findings)
    assert all(finding.rule and finding.fix.endswith((".", "?")) and str(finding) for finding in findings)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from([*description._FIELDS, "nodes", "ports", "first_port", "x"]), VALUES))
def test_whatever_a_description_holds_it_is_refused_in_words(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        rendering.render(ClusterDescription.from_dict(data))
    assert str(raised.value)
