"""Descriptions of clusters: all that is wrong is told at once, and defaults are those of the server."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem.description import ClusterDescription
from tests.unit.onprem.clusters import described


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"cluster_id": None}, "cluster_id (not set) must be a name of letters"),
        ({"cluster_id": "a b"}, 'cluster_id ("a b") must be a name of letters'),
        ({"cluster_id": "../x"}, 'cluster_id ("../x") must be a name of letters'),
        ({"clusterid": "a"}, "clusterid is no key of a description; did you mean 'cluster_id'?"),
        ({"zzz": "a"}, "zzz is no key of a description. Known are cluster_id, license, "),
        ({"license": "license.json"}, 'license ("license.json") must be an absolute path'),
        ({"license": 5}, "license (5) must be text, in quotes"),
        (
            {"license": {"client_secret": "hunter2"}},
            'license ({"client_secret": "***"}) must not hold the client_secret',
        ),
        (
            {"license": {"workspace": "w"}},
            "has an unknown key 'workspace'; known are workspace_id, client_id, cert_dir",
        ),
        ({"directory": "polars"}, 'directory ("polars") must be an absolute path'),
        ({"leader": "node-9"}, 'leader ("node-9") must be one of the nodes: node-1, node-2'),
        ({"leader_computes": "yes"}, 'leader_computes ("yes") must be true or false'),
        ({"server": "latest"}, 'server ("latest") is no version to write for'),
        ({"server": 0.6}, "server (0.6) is no version to write for"),
        ({"results": "results"}, 'results ("results") must be an absolute path'),
        ({"results": "ftp://a/b"}, 'results ("ftp://a/b") must be an absolute path, or a URL of an object store'),
        ({"max_metrics_bytes": 0}, "max_metrics_bytes (0) must be at least 1"),
        ({"bind": "eth0"}, 'bind ("eth0") must be "all" or "own"'),
        ({"tls": "yes"}, 'tls ("yes") must be a table'),
        ({"settings": []}, "settings ([]) must be a table"),
        ({"nodes": {}}, "nodes ({}) must be a table of at least one node"),
        ({"nodes": ["10.0.0.11"]}, 'nodes (["10.0.0.11"]) must be a table of at least one node'),
        ({"nodes": {"a/b": "10.0.0.11"}}, "must have a name like node-1; 'a/b' is none"),
        ({"nodes": {"a": "10.0.0.300"}}, 'nodes.a.address ("10.0.0.300") must be the IP address or the host name'),
        ({"nodes": {"a": "0.0.0.0"}}, 'nodes.a.address ("0.0.0.0") must be the IP address or the host name'),
        ({"nodes": {"a": {}}}, "nodes.a.address (not set) must be the IP address or the host name"),
        (
            {"nodes": {"a": {"adress": "10.0.0.1"}}},
            "nodes.a.adress is no key of a description; did you mean 'address'?",
        ),
        ({"nodes": {"a": {"address": "a", "settings": 5}}}, "nodes.a.settings (5) must be a table"),
        ({"first_port": 65531}, "first_port (65531) must be a whole number from 1 to 65530"),
        ({"ports": 5}, "ports (5) must be a table, such as { client = 6051 }"),
        ({"ports": {"clint": 1}}, "ports.clint is no key of a description; did you mean 'client'?"),
        ({"ports": {"client": "1"}}, 'ports.client ("1") must be a whole number from 1 to 65535'),
    ],
)
def test_what_is_wrong_is_told_with_key_value_and_rule(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        ClusterDescription.from_dict(described(2, **fields), "cluster.toml")
    told = str(raised.value).splitlines()
    assert any(line in text for text in told), told
    assert all(text.startswith("cluster.toml: ") for text in told)
    assert "hunter2" not in str(raised.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        ClusterDescription.from_dict({"bind": "x"})
    assert [line.split(" (")[0] for line in str(raised.value).splitlines()] == [
        "the description: nodes",
        "the description: cluster_id",
        "the description: license",
        "the description: bind",
    ]


def test_the_first_node_leads_unless_another_is_named() -> None:
    assert ClusterDescription.from_dict(described(2)).leader == "node-1"
    assert ClusterDescription.from_dict(described(2, leader="node-2")).leader == "node-2"


def test_ports_of_a_node_win_over_those_of_all_and_single_ones_over_the_first() -> None:
    nodes = {"a": "10.0.0.1", "b": {"address": "10.0.0.2", "first_port": 30000, "ports": {"task": 7}}}
    cluster = ClusterDescription.from_dict(described(nodes=nodes, first_port=20000, ports={"rest": 80}))
    names = ("client", "registration", "receiver", "rest", "task", "shuffle")
    assert [cluster.nodes[0].port(name) for name in names] == [20000, 20001, 20002, 80, 20004, 20005]
    assert [cluster.nodes[1].port(name) for name in names] == [30000, 30001, 30002, 30003, 7, 30005]
