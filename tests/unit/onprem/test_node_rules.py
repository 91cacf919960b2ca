"""Rules between the keys of one node: each broken alone, and what is then said."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_polars.onprem.checking import check
from airflow_provider_polars.onprem.keys import (
    CLIENT,
    LEADER,
    LEADER_OBSERVATORY,
    LEADER_SCHEDULER,
    REGISTRATION,
    REST,
    RESULTS,
    SHUFFLE,
    SHUFFLED,
    TASK,
)
from airflow_provider_polars.onprem.node import NodeConfig
from tests.unit.onprem.clusters import GONE, changed, found, rendered

S3 = {"s3": {"url": "s3://lake/x"}}


@pytest.mark.parametrize(
    ("changes", "severity", "key", "rule"),
    [
        ({"cluster_id": GONE}, "breach", "cluster_id", "is required: the same text on all nodes"),
        ({"instance_id": GONE}, "breach", "instance_id", "is required: another text on each node"),
        ({LEADER: GONE}, "breach", LEADER, "is required on every node"),
        ({LEADER_SCHEDULER: GONE}, "breach", LEADER_SCHEDULER, "is required on every node"),
        ({LEADER_OBSERVATORY: GONE}, "breach", LEADER_OBSERVATORY, "and monitoring.enabled sends figures there"),
        ({LEADER_SCHEDULER: ":5050"}, "breach", LEADER_SCHEDULER, "must name a host that nodes can reach"),
        ({LEADER_OBSERVATORY: "0.0.0.0:5049"}, "breach", LEADER_OBSERVATORY, "must name a host that nodes can"),
        ({"worker.enabled": GONE, "scheduler.n_workers": GONE}, "warning", "worker.enabled", "counts as false here"),
        ({"monitoring.enabled": GONE}, "warning", "monitoring.enabled", "what the server does then is unverified"),
        ({LEADER: "node-9"}, "breach", LEADER, 'the scheduler runs on this node, "node-1"'),
        ({"scheduler.enabled": False, "observatory.enabled": False, "monitoring.enabled": False}, "breach",
         "scheduler.enabled", "must be true on the node that static_leader.leader_instance_id names"),
        ({"license": GONE}, "breach", "license", "is required on the leader"),
        ({"license.license_server.uri": "host:50051"}, "warning", "license", "which of them counts is unverified"),
        ({TASK.public: GONE}, "breach", TASK.public, "the task service listens on all interfaces (0.0.0.0:5052)"),
        ({TASK.public: GONE, TASK.bind: GONE}, "breach", TASK.public, "listens on all interfaces (0.0.0.0:5052)"),
        ({SHUFFLE.public: GONE}, "breach", SHUFFLE.public, "the shuffle service listens on all interfaces"),
        ({TASK.public: "0.0.0.0:5052"}, "breach", TASK.public, "must name a host that other nodes can reach"),
        ({TASK.public: ":5052"}, "breach", TASK.public, "must name a host that other nodes can reach"),
        ({TASK.bind: "127.0.0.1:5052"}, "warning", TASK.public, "listens on 127.0.0.1:5052 alone"),
        ({TASK.public: "10.0.0.11:15052"}, "warning", TASK.public, "has another port than the task service listens on"),
        ({CLIENT.bind: ":5050"}, "breach", REGISTRATION.bind, "must not have port 5050, on which the client service"),
        ({REST.bind: "10.0.0.11:5049"}, "breach", REST.bind, "must not have port 5049"),
        ({SHUFFLED: {**S3, "local": {"path": "/x"}}}, "breach", SHUFFLED, "must have exactly one of local"),
        ({SHUFFLED: {}}, "breach", SHUFFLED, "has none"),
        ({SHUFFLED: GONE}, "breach", SHUFFLED, "is required on a worker"),
        ({SHUFFLED: {"local": {}}}, "breach", f"{SHUFFLED}.local.path", "is required in a location of kind local"),
        ({RESULTS: {"s3": {"aws_region": "x"}}}, "breach", f"{RESULTS}.s3.url", "is required in a location of kind s3"),
        ({RESULTS: {"local": {"path": "/x"}}}, "breach", "scheduler.allow_local_sinks", "must be true where results"),
        ({"observatory.max_metrics_bytes_total": GONE}, "breach", "observatory.max_metrics_bytes_total", "no default"),
        ({"scaling": {"enabled": True, "rest": {"uri": "http://127.0.0.1:4001"}}}, "breach",
         "scheduler.default_workers_per_query", "is required where scaling is enabled"),
        ({"scaling.enabled": True, "scheduler.default_workers_per_query": 1}, "breach", "scaling.rest.uri", "required"),
        ({"lineage.enabled": True}, "breach", "lineage.transport", "must have exactly one of http, stdio, has none"),
        ({"lineage": {"enabled": True, "transport": {"http": {}}}}, "breach", "lineage.transport.http.endpoint",
         "is required with http"),
        ({"scheduler.default_workers_per_query": 3, "scheduler.max_workers_per_query": 2}, "breach",
         "scheduler.default_workers_per_query", "must not exceed scheduler.max_workers_per_query, 2"),
        ({f"{CLIENT.section}.connection.tls.certificate_key_file": "/c"}, "breach",
         f"{CLIENT.section}.connection.tls.private_key_file", "is required beside certificate_key_file"),
        ({"scheduler.checkpoint.period": "20m"}, "warning", "scheduler.checkpoint.enabled", "is unverified"),
        ({"worker.env_vars": {"DB_PASSWORD": "x"}}, "warning", "worker.env_vars.DB_PASSWORD", "the name of a secret"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_told_alone(changes: dict[str, Any], severity: str, key: str, rule: str) -> None:
    (finding,) = check(changed(rendered(1), {"node-1": changes}))
    assert (finding.severity, finding.node, finding.key) == (severity, "node-1", key)
    assert rule in finding.rule
    assert finding.fix.endswith(".")


def test_a_right_node_has_no_findings() -> None:
    assert found(rendered(1)) == []
    assert found(rendered(1, results="/shared", shuffle="s3://a/b", checkpoints="gs://a/b")) == []


def test_a_node_without_scheduler_and_worker_does_nothing() -> None:
    nodes = changed(rendered(2), {"node-1": {"scheduler.n_workers": 1}, "node-2": {"worker": {"enabled": False}}})
    assert found(nodes) == [("breach", "node-2", "worker.enabled")]


def test_the_observatory_runs_on_the_node_of_the_scheduler_alone() -> None:
    nodes = changed(rendered(2), {"node-2": {"observatory.enabled": True}})
    assert found(nodes) == [
        ("breach", "node-2", "observatory.enabled"),
        ("breach", "node-2", "observatory.max_metrics_bytes_total"),
    ]


def test_the_shuffle_address_counts_for_local_shuffle_alone() -> None:
    shared = rendered(1, shuffle="s3://lake/shuffle")
    assert shared[0].raw(SHUFFLE.section) is None
    assert found(shared) == []
    assert found(changed(shared, {"node-1": {SHUFFLED: {"local": {"path": "/x"}}}})) == [
        ("breach", "node-1", SHUFFLE.public)
    ]


def test_a_service_that_does_not_listen_takes_no_port() -> None:
    shared = rendered(1, shuffle="s3://lake/shuffle")
    assert found(changed(shared, {"node-1": {SHUFFLE.bind: ":5052"}})) == []
    assert found(changed(rendered(1), {"node-1": {"observatory.rest_api.enabled": False, REST.bind: ":5049"}})) == []


def test_services_on_different_interfaces_may_have_the_same_port() -> None:
    nodes = changed(rendered(1), {"node-1": {CLIENT.bind: "10.0.0.11:5051", REGISTRATION.bind: "10.0.1.11:5051"}})
    assert ("breach", "node-1", REGISTRATION.bind) not in found(nodes)


def test_a_worker_that_listens_on_one_address_needs_no_public_one() -> None:
    nodes = changed(rendered(1), {"node-1": {TASK.bind: "10.0.0.11", TASK.public: GONE}})
    assert found(nodes) == []
    assert str(nodes[0].public(TASK)) == "10.0.0.11:5052"


def test_a_public_address_without_a_port_has_that_of_the_service() -> None:
    (node,) = changed(
        rendered(1), {"node-1": {TASK.bind: ":6052", TASK.public: "203.0.113.9", SHUFFLE.public: "203.0.113.9"}}
    )
    assert str(node.public(TASK)) == "203.0.113.9:6052"
    assert found([node]) == []


def test_an_address_that_is_not_the_one_listened_on_is_warned_about() -> None:
    own = rendered(1, bind="own")
    findings = check(changed(own, {"node-1": {TASK.public: "203.0.113.9:5052", SHUFFLE.public: "203.0.113.9:5053"}}))
    assert [(finding.severity, finding.key) for finding in findings] == [
        ("warning", TASK.public),
        ("warning", SHUFFLE.public),
    ]
    assert "has another host than the task service listens on, 10.0.0.11:5052" in findings[0].rule
    assert findings[0].fix == "Right where NAT or a load balancer maps it; else correct it."


def test_an_online_licence_needs_ids_on_the_leader_and_not_its_secret() -> None:
    nodes = rendered(2, license={"workspace_id": "w"})
    assert found(nodes) == [("warning", "node-1", "license.on_prem.client_id")]
    assert nodes[1].raw("license") == {"on_prem": {"enabled": True}}


def test_tokens_need_all_their_keys_and_tls_around_them() -> None:
    jwks = f"{CLIENT.section}.auth.jwks"
    assert found(changed(rendered(1), {"node-1": {f"{jwks}.url": "https://keys"}})) == [
        ("breach", "node-1", f"{jwks}.issuers"),
        ("breach", "node-1", f"{jwks}.audience"),
        ("warning", "node-1", jwks),
    ]


def test_an_empty_file_is_told_all_that_it_needs() -> None:
    assert found([NodeConfig({}, "empty.toml")]) == [
        ("breach", "empty.toml", key)
        for key in ("cluster_id", "instance_id", LEADER, LEADER_SCHEDULER, LEADER_OBSERVATORY, "worker.enabled")
    ]
