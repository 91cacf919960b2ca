"""The defects of the vendor's how-to for Slurm that lie in the files of nodes, and those of its pages on keys.

Each is either not possible in what is rendered, or found in files that were written otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem import files
from airflow_provider_polars.onprem.checking import check
from airflow_provider_polars.onprem.cli import main
from airflow_provider_polars.onprem.keys import (
    CHECKPOINTS,
    LEADER,
    LEADER_SCHEDULER,
    RESULTS,
    SERVICES,
    SHUFFLE,
    SHUFFLED,
    TASK,
)
from airflow_provider_polars.onprem.node import NodeConfig
from tests.unit.onprem.clusters import ADDRESSES, GONE, changed, described, found, rendered


def breaches(nodes: list[NodeConfig]) -> list[tuple[str, str]]:
    return [(node, key) for severity, node, key in found(nodes) if severity == "breach"]


def test_defect_1_a_scheduler_on_both_nodes() -> None:
    leader, worker = rendered(2)
    assert (leader.runs_scheduler, worker.runs_scheduler) == (True, False)
    second = dict(leader.data) | {"instance_id": "node-2", "static_leader": leader.data["static_leader"]}
    assert ("node-2", "scheduler.enabled") in breaches([leader, NodeConfig(second, "node-2")])


def test_defect_5_an_address_that_is_read_before_it_is_written() -> None:
    """All files are written by one writer, and nothing in them is to be found out by a node."""
    assert {node.raw(LEADER_SCHEDULER) for node in rendered(3)} == {"10.0.0.11:5050"}


def test_defect_6_the_address_of_an_earlier_job() -> None:
    earlier, now = rendered(2, cluster_id="sales-41-0"), rendered(2, cluster_id="sales-42-0")
    assert breaches([now[0], earlier[1]]) == [("node-2", "cluster_id")]


def test_defect_7_workers_that_tell_the_address_of_the_scheduler() -> None:
    told = [str(node.raw(TASK.public)) for node in rendered(3)]
    assert told == [f"{address}:5052" for address in ADDRESSES.values()]
    of_scheduler = {TASK.public: "10.0.0.11:5052", SHUFFLE.public: "10.0.0.11:5053"}
    assert breaches(changed(rendered(2), {"node-2": of_scheduler})) == [
        ("node-2", TASK.public),
        ("node-2", SHUFFLE.public),
    ]
    alone = check(changed(rendered(2), {"node-2": of_scheduler})[1:])
    assert {finding.rule for finding in alone} == {"is the address of the leader, and this is another node"}


def test_defect_8_a_file_that_is_written_before_its_folder_is_made(tmp_path: Path) -> None:
    description = tmp_path / "cluster.toml"
    description.write_text(files.dumps(described(1)))
    assert main(["render", str(description), "--out", str(tmp_path / "polars" / "nodes")]) == 0
    assert (tmp_path / "polars" / "nodes" / "node-1.toml").exists()


@pytest.mark.parametrize("literal", ["$(hostname)", "${SLURMD_NODENAME}", "$SLURMD_NODENAME", ""])
def test_defect_11_what_envsubst_leaves_behind(literal: str) -> None:
    assert ("node-2", "instance_id") in breaches(changed(rendered(2), {"node-2": {"instance_id": literal}}))
    assert ("node-2", TASK.public) in breaches(changed(rendered(2), {"node-2": {TASK.public: f"{literal}:5052"}}))


def test_defect_11_workers_that_share_an_instance_id() -> None:
    nodes = changed(rendered(3), {"node-3": {"instance_id": "node-2"}})
    assert breaches(nodes) == [("node-3", "instance_id")]


def test_defect_13_ports_and_folders_that_two_clusters_of_a_node_share() -> None:
    one, two = rendered(1, cluster_id="a", first_port=20000), rendered(1, cluster_id="b", first_port=20010)
    ports = [{node.bind(service).port for service in SERVICES.values()} for (node,) in (one, two)]
    assert len(ports[0]) == len(ports[1]) == 6
    assert ports[0].isdisjoint(ports[1])
    assert one[0].location(SHUFFLED) != two[0].location(SHUFFLED)


def test_defect_13_files_that_others_can_read(tmp_path: Path) -> None:
    (written,) = files.write_all(tmp_path, {"node-1.toml": ""})
    assert written.stat().st_mode & 0o077 == 0


def test_defect_16_an_address_that_is_guessed() -> None:
    with pytest.raises(
        ConfigurationError, match=r"nodes\.a\.address \(not set\) must be the IP address or the host name"
    ):
        rendered(nodes={"a": {}})


def test_defect_17_a_client_port_that_is_open_to_the_network() -> None:
    tls = {"certificate_key_file": "/tls/cert.pem", "private_key_file": "/tls/key.pem"}
    (node,) = rendered(1, tls=tls, jwks={"url": "https://keys", "issuers": "i", "audience": "a"})
    assert node.raw("scheduler.client_service.connection.tls") == tls
    assert found([node]) == []


def test_results_in_a_temporary_folder_of_each_node() -> None:
    findings = check(rendered(2, results="/tmp/polars/results"))
    assert [(finding.severity, finding.key) for finding in findings] == [("warning", f"{RESULTS}.local.path")]


def test_the_client_port_as_that_of_the_static_leader() -> None:
    findings = check(changed(rendered(2), {"node-2": {LEADER_SCHEDULER: "10.0.0.11:5051"}}))
    assert ("warning", LEADER_SCHEDULER) in {(finding.severity, finding.key) for finding in findings}
    assert breaches(changed(rendered(2), {"node-2": {LEADER_SCHEDULER: "10.0.0.11:5051"}})) == []


def test_the_shuffle_service_with_the_port_of_the_task_service() -> None:
    assert SHUFFLE.port == 5053
    assert breaches(changed(rendered(1), {"node-1": {SHUFFLE.bind: "0.0.0.0:5052"}})) == [("node-1", SHUFFLE.bind)]


def test_checkpoints_on_a_shared_file_system() -> None:
    assert found(rendered(2, checkpoints="/shared/checkpoints")) == []
    assert rendered(2, checkpoints="/shared/c")[1].raw(CHECKPOINTS) == {"shared_filesystem": {"path": "/shared/c"}}


def test_the_example_of_several_nodes_without_licence_and_shuffle_location_and_with_loopback_addresses() -> None:
    changes: dict[str, Any] = {"license": GONE, SHUFFLED: GONE, TASK.public: "127.0.0.1:5052"}
    told = breaches(changed(rendered(2), {"*": changes}))
    assert ("node-1", "license") in told
    assert {("node-1", SHUFFLED), ("node-2", SHUFFLED), ("node-2", TASK.public)} <= set(told)


def test_the_key_of_host_metrics_below_the_observatory() -> None:
    findings = check(changed(rendered(1), {"node-1": {"observatory.host_metrics": {"enabled": True}}}))
    assert [finding.fix for finding in findings] == ["Write monitoring.host_metrics instead."]


def test_an_observatory_on_a_worker() -> None:
    assert ("node-2", "observatory.enabled") in breaches(
        changed(rendered(2), {"node-2": {"observatory.enabled": True}})
    )


def test_a_leader_of_another_name() -> None:
    assert ("node-1", LEADER) in breaches(changed(rendered(2), {"*": {LEADER: "leader"}}))
