"""What is rendered: each node its own address, the keys of the server that is aimed at, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem.keys import (
    CHECKPOINTS,
    LEADER_OBSERVATORY,
    LEADER_SCHEDULER,
    RESULTS,
    SHUFFLE,
    SHUFFLED,
    TASK,
)
from airflow_provider_polars.onprem.rendering import variables
from tests.unit.onprem.clusters import rendered


def test_each_node_tells_its_own_address_and_looks_for_the_leader_at_its_registration_port() -> None:
    for node, address in zip(rendered(3), ("10.0.0.11", "10.0.0.12", "10.0.0.13"), strict=True):
        assert node.raw(TASK.public) == f"{address}:5052"
        assert node.raw(SHUFFLE.public) == f"{address}:5053"
        assert node.raw(LEADER_SCHEDULER) == "10.0.0.11:5050"
        assert node.raw(LEADER_OBSERVATORY) == "10.0.0.11:5049"


def test_roles_follow_the_leader() -> None:
    nodes = rendered(3, leader="node-2", leader_computes=False)
    assert [(node.runs_scheduler, node.on("observatory"), node.runs_worker) for node in nodes] == [
        (False, False, True),
        (True, True, False),
        (False, False, True),
    ]
    assert nodes[1].raw("scheduler.n_workers") == 2


def test_host_names_are_written_as_the_server_reads_them() -> None:
    (node,) = rendered(nodes={"node-1": "node-1.example.com"})
    assert node.raw(TASK.public) == {"hostname": "node-1.example.com", "port": 5052}


@pytest.mark.parametrize(
    ("server", "written"),
    [
        ("0.2", "/etc/polars/license.json"),
        ("0.3.1", "/etc/polars/license.json"),
        ("0.4", {"on_prem_enterprise": {"license_path": "/etc/polars/license.json"}}),
        ("0.10.1", {"on_prem_enterprise": {"license_path": "/etc/polars/license.json"}}),
    ],
)
def test_the_server_picks_the_spelling(server: str, written: Any) -> None:
    assert rendered(1, server=server)[0].raw("license") == written


@pytest.mark.parametrize(
    ("fields", "key", "since"),
    [
        ({"license": {"workspace_id": "w"}}, "license.on_prem.workspace_id", "0.4.0"),
        ({"results": "gs://a/b"}, f"{RESULTS}.gcs.url", "0.4.0"),
        ({"checkpoints": "/shared"}, "scheduler.checkpoint.enabled", "0.6.3"),
        ({"tls": {"certificate_key_file": "/c", "private_key_file": "/k"}},
         "scheduler.client_service.connection.tls.private_key_file", "0.8.0"),
        ({"settings": {"lineage": {"enabled": False}}}, "lineage.enabled", "0.3.1"),
    ],
)  # fmt: skip
def test_what_the_server_does_not_know_is_refused_by_name(fields: dict[str, Any], key: str, since: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        rendered(1, server="0.2", **fields)
    assert f"node-1: {key} (" in str(raised.value)
    assert f"is read by servers from {since} on, and the description is for 0.2.4. Take a newer" in str(raised.value)


@pytest.mark.parametrize(
    ("place", "written"),
    [
        ("s3://lake/x", {"s3": {"url": "s3://lake/x"}}),
        ("gs://lake/x", {"gcs": {"url": "gs://lake/x"}}),
        ("abfss://lake/x", {"abs": {"url": "abfss://lake/x"}}),
        ({"s3": {"url": "s3://lake/x", "aws_region": "a"}}, {"s3": {"url": "s3://lake/x", "aws_region": "a"}}),
    ],
)
def test_a_place_is_a_store_or_a_table(place: Any, written: Any) -> None:
    (node,) = rendered(1, results=place, shuffle=place, checkpoints=place)
    assert [node.raw(where) for where in (RESULTS, SHUFFLED, CHECKPOINTS)] == [written] * 3
    assert node.raw(SHUFFLE.section) is None


def test_a_path_is_local_for_results_and_shared_for_the_rest() -> None:
    (node,) = rendered(1, results="/r", shuffle="/s", checkpoints="/c")
    assert node.raw(RESULTS) == {"local": {"path": "/r"}}
    assert node.raw("scheduler.allow_local_sinks") is True
    assert node.raw(SHUFFLED) == {"shared_filesystem": {"path": "/s"}}
    assert node.raw(CHECKPOINTS) == {"shared_filesystem": {"path": "/c"}}


def test_tls_and_tokens_are_asked_for_by_what_clients_reach() -> None:
    tls, jwks = (
        {"certificate_key_file": "/c", "private_key_file": "/k"},
        {"url": "https://a", "issuers": "i", "audience": "u"},
    )
    leader, worker = rendered(2, tls=tls, jwks=jwks)
    for section in ("scheduler.client_service", "observatory.rest_api.service"):
        assert leader.raw(f"{section}.connection.tls") == tls
        assert leader.raw(f"{section}.auth.jwks") == jwks
    assert worker.raw("scheduler") == {"enabled": False}


def test_settings_of_a_node_win_over_those_of_all_and_those_over_what_is_rendered() -> None:
    nodes = {"a": "10.0.0.1", "b": {"address": "10.0.0.2", "settings": {"worker": {"heartbeat_period": "2s"}}}}
    settings = {"memory_limit": 1, "worker": {"heartbeat_period": "9s"}, "monitoring": {"enabled": False}}
    first, second = rendered(nodes=nodes, settings=settings)
    assert (first.raw("memory_limit"), first.raw("worker.heartbeat_period")) == (1, "9s")
    assert (second.raw("memory_limit"), second.raw("worker.heartbeat_period")) == (1, "2s")
    assert first.raw("monitoring.enabled") is False
    assert second.raw("worker.enabled") is True


def test_settings_that_break_rules_are_refused_with_all_of_them() -> None:
    settings = {"worker": {"heartbeat_period": "soon"}, "scheduler": {"n_workers": 9}}
    with pytest.raises(ConfigurationError) as raised:
        rendered(2, settings=settings)
    told = str(raised.value).splitlines()
    assert [line.split(" (")[0] for line in told] == [
        "node-1: worker.heartbeat_period",
        "node-1: scheduler.n_workers",
        "node-2: worker.heartbeat_period",
    ]


def test_what_is_kept_out_of_files_is_named_as_variables() -> None:
    leader, worker = rendered(2, license={"workspace_id": "w", "client_id": "c"})
    assert variables(leader) == ["PC_CUBLET__license__on_prem__client_secret"]
    assert variables(worker) == []
    assert variables(rendered(1)[0]) == []
