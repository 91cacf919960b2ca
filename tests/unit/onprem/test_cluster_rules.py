"""Rules between the nodes of a cluster: who leads, who reaches whom, and what they share."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_polars.onprem.checking import check
from airflow_provider_polars.onprem.keys import (
    CHECKPOINTS,
    CLIENT,
    LEADER,
    LEADER_OBSERVATORY,
    LEADER_SCHEDULER,
    REGISTRATION,
    RESULTS,
    SHUFFLE,
    SHUFFLED,
    TASK,
)
from airflow_provider_polars.onprem.node import NodeConfig
from tests.unit.onprem.clusters import GONE, changed, found, rendered

SHARED = {"shared_filesystem": {"path": "/shared/x"}}
ON_ONE_MACHINE = {
    "nodes": {
        f"node-{at}": {"address": "10.0.0.11", "first_port": 20000 + 10 * at} for at in (1, 2)
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected", "rule"),
    [
        ({"node-3": {"cluster_id": "x"}}, [("breach", "node-3", "cluster_id")], 'than node-1, which has "sales"'),
        ({"node-3": {"instance_id": "node-2"}}, [("breach", "node-3", "instance_id")], "and node-2 has the same"),
        ({"node-3": {LEADER: "node-2"}}, [("breach", "node-3", LEADER)], 'than node-1, which has "node-1"'),
        ({"node-1": {"scheduler.n_workers": 4}}, [("breach", "node-1", "scheduler.n_workers")], "would wait for ever"),
        ({"node-1": {"scheduler.n_workers": 2}}, [("warning", "node-1", "scheduler.n_workers")], "start with fewer"),
        ({"node-2": {SHUFFLED: {"s3": {"url": "s3://a/b"}}}}, [("breach", "node-2", SHUFFLED)], "node-1 has local"),
        ({"node-1": {RESULTS: {"local": {"path": "/tmp/polars/results"}}, "scheduler.allow_local_sinks": True}},
         [("warning", "node-1", f"{RESULTS}.local.path")], "in a folder that each machine has for itself"),
        ({"node-3": {"license": GONE}}, [("warning", "node-3", "license")], "node-1 has an offline licence"),
        ({"node-1": {"observatory.enabled": False}},
         [("warning", f"node-{at}", "monitoring.enabled") for at in (1, 2, 3)], "which node-1 does not run"),
        ({"node-2": {LEADER_SCHEDULER: "10.0.0.11:5555"}}, [("warning", "node-2", LEADER_SCHEDULER)],
         "has another port than the registration service"),
        ({"node-2": {LEADER_OBSERVATORY: "10.0.0.11:5555"}}, [("warning", "node-2", LEADER_OBSERVATORY)],
         "has another port than the receiver"),
        ({"node-2": {LEADER_SCHEDULER: "10.9.9.9:5050"}}, [("warning", "node-2", LEADER_SCHEDULER)],
         "is another than that of node-1, 10.0.0.11:5050"),
        ({"*": {LEADER_OBSERVATORY: "10.9.9.9:5049"}},
         [("warning", f"node-{at}", LEADER_OBSERVATORY) for at in (1, 2, 3)], "both run on the leader"),
        ({"node-2": {TASK.public: "127.0.0.1:5052"}}, [("breach", "node-2", TASK.public)], "is this machine for whoev"),
        ({"node-1": {TASK.public: "127.0.0.1:5052"}}, [("breach", "node-1", TASK.public)], "is this machine for whoev"),
        ({"node-1": {REGISTRATION.bind: "127.0.0.1:5050"}}, [("breach", "node-1", REGISTRATION.bind)], "alone in"),
        ({"node-3": {TASK.public: "10.0.0.12:5052"}},
         [("breach", "node-3", TASK.public)], "is the address of node-2 too: one of the two would never be used"),
        ({"node-3": {TASK.public: "10.0.0.12:15052", TASK.bind: "10.0.0.13:15052"}},
         [("breach", "node-3", TASK.public)], "is the address of node-2: this node would never be used"),
        ({"node-3": {TASK.public: "10.0.0.11:15052", TASK.bind: ":15052"}},
         [("warning", "node-3", TASK.public)], "is the address of the leader, and this is another node"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_told(
    changes: dict[str, dict[str, Any]], expected: list[tuple[str, str, str]], rule: str
) -> None:
    findings = check(changed(rendered(3), changes))
    told = [(finding.severity, finding.node, finding.key) for finding in findings if rule in finding.rule]
    assert told == expected
    assert all(finding.severity == "warning" or rule in finding.rule for finding in findings)


def test_a_right_cluster_has_no_findings() -> None:
    assert found(rendered(3)) == []
    assert found(rendered(3, leader_computes=False, bind="own", leader="node-3")) == []
    assert found(rendered(3, results="/shared", shuffle="/shared/x", checkpoints="/shared/y")) == []


def test_one_node_runs_the_scheduler() -> None:
    none = changed(rendered(2), {"node-1": {"scheduler": {"enabled": False}, "observatory": {"enabled": False}}})
    assert found(none[1:] + none[:1]) == [
        ("breach", "node-2", "scheduler.enabled"),
        ("breach", "node-1", "scheduler.enabled"),
    ]
    assert found(rendered(3)[1:]) == [
        ("breach", "node-2", "scheduler.enabled"),
        ("breach", "node-2", LEADER),
        ("breach", "node-3", LEADER),
    ]


def test_some_node_computes() -> None:
    nodes = changed(rendered(2, leader_computes=False), {"node-2": {"worker": {"enabled": False}}})
    assert ("breach", "node-1", "worker.enabled") in found(nodes)


def test_one_file_alone_is_not_asked_for_the_others() -> None:
    leader, worker = rendered(2)
    assert found([worker]) == []
    assert found([leader]) == [("warning", "node-1", "scheduler.n_workers")]


def test_a_shared_place_is_the_same_for_all_workers() -> None:
    nodes = rendered(3, shuffle="/shared/x", checkpoints="s3://lake/a")
    other = {"shared_filesystem": {"path": "/shared/y"}}
    assert found(changed(nodes, {"node-2": {SHUFFLED: other}})) == [("breach", "node-2", SHUFFLED)]
    elsewhere = {"s3": {"url": "s3://lake/b"}}
    assert found(changed(nodes, {"node-2": {CHECKPOINTS: elsewhere}})) == [("breach", "node-2", CHECKPOINTS)]


def test_checkpoints_need_a_place_unless_data_is_shuffled_through_one() -> None:
    local = rendered(2, checkpoints="/shared/c")
    assert found(changed(local, {"node-2": {CHECKPOINTS: GONE}})) == [("breach", "node-2", CHECKPOINTS)]
    shared = rendered(2, checkpoints="/shared/c", shuffle="/shared/s")
    assert found(changed(shared, {"node-2": {CHECKPOINTS: GONE}})) == [("warning", "node-2", CHECKPOINTS)]


def test_the_client_port_in_place_of_the_registration_port_is_a_warning_with_both_sources() -> None:
    nodes = changed(rendered(2), {"*": {LEADER_SCHEDULER: "10.0.0.11:5051"}})
    findings = check(nodes)
    assert [finding.severity for finding in findings] == ["warning", "warning"]
    for finding in findings:
        assert finding.key == LEADER_SCHEDULER
        assert "has the port of the client service, 5051, where workers register, at 5050" in finding.rule
        assert "The vendor's page on network addresses shows the client port here" in finding.rule
        assert (
            "its example configuration, Helm chart, operator and Ray package have the registration port" in finding.rule
        )
        assert "no server was asked which of them is right" in finding.fix
    assert found(nodes[1:]) == [("warning", "node-2", LEADER_SCHEDULER)]


def test_5051_is_right_where_the_registration_service_listens_there() -> None:
    assert found(rendered(2, ports={"client": 6051, "registration": 5051})) == []


def test_the_leader_may_look_for_itself_at_loopback() -> None:
    nodes = changed(rendered(2), {"node-1": {LEADER_SCHEDULER: "127.0.0.1", LEADER_OBSERVATORY: "127.0.0.1"}})
    assert found(nodes) == []


def test_no_other_node_may_unless_all_are_on_one_machine() -> None:
    nodes = changed(rendered(2), {"node-2": {LEADER_SCHEDULER: "127.0.0.1:5050", LEADER_OBSERVATORY: "127.0.0.1:5049"}})
    assert [finding for finding in found(nodes) if finding[0] == "breach"] == [
        ("breach", "node-2", LEADER_SCHEDULER),
        ("breach", "node-2", LEADER_OBSERVATORY),
    ]
    local = {f"node-{at}": {"address": "127.0.0.1", "first_port": 20000 + 10 * at} for at in (1, 2)}
    assert found(rendered(nodes=local)) == []


def test_a_port_may_be_mapped_on_the_way() -> None:
    nodes = rendered(2)
    public = {TASK.public: "203.0.113.1:15052", SHUFFLE.public: "203.0.113.1:15053"}
    other = {TASK.public: "203.0.113.1:25052", SHUFFLE.public: "203.0.113.1:25053"}
    findings = check(changed(nodes, {"node-1": public, "node-2": other}))
    assert {finding.severity for finding in findings} == {"warning"}
    assert all("Right where NAT or a load balancer maps it" in finding.fix for finding in findings)


def test_nodes_on_one_machine_have_ports_and_folders_of_their_own() -> None:
    nodes = rendered(**ON_ONE_MACHINE)
    assert {finding.severity for finding in check(nodes)} == {"warning"}
    assert found(rendered(bind="own", **ON_ONE_MACHINE)) == []
    same = changed(nodes, {"node-2": {TASK.bind: ":20014", TASK.public: "10.0.0.11:20014"}})
    assert ("breach", "node-2", TASK.public) in found(same)
    folder = changed(nodes, {"*": {SHUFFLED: {"local": {"path": "/x"}}}})
    assert ("warning", "node-2", SHUFFLED) in found(folder)


def test_a_worker_that_takes_a_port_of_the_leader_of_its_machine_is_found() -> None:
    nodes = rendered(leader_computes=False, bind="own", **ON_ONE_MACHINE)
    same = changed(nodes, {"node-2": {TASK.bind: "10.0.0.11:20010", TASK.public: GONE}})
    (finding,) = check(same)
    assert (finding.node, finding.key) == ("node-2", TASK.bind)
    assert "the client service of node-1 has it on the same machine" in finding.rule


def test_files_of_two_clusters_are_told_apart() -> None:
    mixed = [rendered(2)[0], rendered(2, cluster_id="other")[1]]
    assert found(mixed) == [("breach", "node-2", "cluster_id")]


def test_breaches_come_first_and_nodes_in_order() -> None:
    nodes = changed(rendered(3), {"node-1": {"zzz": 1}, "node-3": {CLIENT.bind: 1}, "node-2": {CLIENT.bind: 1}})
    assert found(nodes) == [
        ("breach", "node-2", CLIENT.bind),
        ("breach", "node-3", CLIENT.bind),
        ("warning", "node-1", "zzz"),
    ]


def test_whatever_a_file_holds_rules_do_not_stumble() -> None:
    for data in ({"scheduler": 5}, {"worker": {"task_service": []}}, {"static_leader": {"scheduler_service": "a"}}):
        nodes = [NodeConfig(data, "a"), NodeConfig(data, "b")]
        assert any(severity == "breach" for severity, _, _ in found(nodes))
