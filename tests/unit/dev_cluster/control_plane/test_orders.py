"""What instances and manifests can be ordered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError
from airflow_provider_polars.dev_cluster.control_plane.orders import ClusterDefaults, ManifestOrder, Order

MACHINE = {"specs": {"cpus": 2, "ram_gb": 4}}
BASE = {
    "mode": "Direct",
    "python_version": {"major": 3, "minor": 11, "patch": 7},
    "polars_version": "2.0.0",
}


def order(**fields: Any) -> Order:
    machine = {} if fields.keys() & {"specs", "instance_type"} else MACHINE
    return msgspec.convert(BASE | machine | fields, Order)


def wrong_fields(given: Any) -> list[str]:
    with pytest.raises(ApiError, match="the request is not valid") as refused:
        given.check()
    assert refused.value.status == 422
    return [*refused.value.errors]


@pytest.mark.parametrize(
    ("name", "vcpus"),
    [
        *(("m5.large", 2), ("m5.xlarge", 4), ("m5.2xlarge", 8), ("c7g.24xlarge", 96)),
        *(("m5.metal", 2), ("m5.medium", 2), ("large", 2), ("", 2), ("m5.9999xlarge", 2)),
    ],
)
def test_the_vcpus_of_an_instance_type_are_what_its_name_says(name: str, vcpus: int) -> None:
    assert order(instance_type={"standard": name}).vcpus == vcpus
    assert order(instance_type={"standard": name}, cluster_size=3).vcpus == 3 * vcpus


def test_the_vcpus_of_an_order_are_those_of_all_nodes() -> None:
    assert order(specs={"cpus": 6, "ram_gb": 4}, cluster_size=5).vcpus == 30


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"specs": None}, "specs"),
        ({**MACHINE, "instance_type": {"standard": "m5.large"}}, "specs"),
        ({"specs": {"cpus": 0, "ram_gb": 4}}, "specs"),
        ({"specs": {"cpus": 2, "ram_gb": -1}}, "specs"),
        ({"storage": 0}, "storage"),
        ({"big_instance_storage": -1}, "big_instance_storage"),
        ({"cluster_size": 0}, "cluster_size"),
        ({"cluster_size": 65}, "cluster_size"),
        ({"idle_timeout_mins": 9}, "idle_timeout_mins"),
        ({"env_vars": {"A=B": "c"}}, "env_vars"),
    ],
)
def test_an_order_for_what_cannot_be_names_the_field(fields: dict[str, Any], name: str) -> None:
    assert wrong_fields(order(**fields)) == [name]


def test_all_that_is_wrong_with_an_order_is_named_at_once() -> None:
    assert wrong_fields(order(cluster_size=0, idle_timeout_mins=1)) == ["cluster_size", "idle_timeout_mins"]


@pytest.mark.parametrize("fields", [{}, {"cluster_size": 64}, {"idle_timeout_mins": 10}, {"env_vars": {"A": ""}}])
def test_an_order_within_the_limits_is_taken(fields: dict[str, Any]) -> None:
    assert order(**fields).check() is None


def test_an_order_shows_no_variable() -> None:
    assert "hunter2" not in repr(order(env_vars={"PASSWORD": "hunter2"}))


@pytest.mark.parametrize("name", ["abc", "Nightly ETL-2", "a b c", "x" * 32])
def test_a_manifest_has_a_name_within_the_rules(name: str) -> None:
    assert msgspec.convert(BASE | MACHINE | {"name": name}, ManifestOrder).check() is None


@pytest.mark.parametrize("name", ["", "ab", "x" * 33, "a_b_c", "a-- b", "a/b/c", "äöü"])
def test_a_manifest_with_another_name_is_refused(name: str) -> None:
    assert wrong_fields(msgspec.convert(BASE | MACHINE | {"name": name}, ManifestOrder)) == ["name"]


def test_a_manifest_is_checked_as_an_order_is() -> None:
    assert wrong_fields(msgspec.convert(BASE | {"name": "nightly"}, ManifestOrder)) == ["specs"]


@pytest.mark.parametrize("machine", [MACHINE, {"instance_type": {"standard": "m5.large", "big": None}}])
def test_the_defaults_of_a_workspace_name_the_one_machine_alone(machine: dict[str, Any]) -> None:
    given = msgspec.convert({"instance_specs": machine, "cluster_size": 1, "storage": None}, ClusterDefaults)

    given.check()

    assert [*msgspec.to_builtins(given)["instance_specs"]] == [*machine]


@pytest.mark.parametrize("machine", [{}, {**MACHINE, "instance_type": {"standard": "m5.large"}}])
def test_defaults_of_no_machine_or_two_are_refused(machine: dict[str, Any]) -> None:
    given = msgspec.convert({"instance_specs": machine, "cluster_size": 1}, ClusterDefaults)

    assert wrong_fields(given) == ["instance_specs"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"instance_specs": {"specs": {"cpus": -1, "ram_gb": 4}}}, "instance_specs"),
        ({"instance_specs": {"specs": {"cpus": 1, "ram_gb": 0}}}, "instance_specs"),
        ({"cluster_size": -5}, "cluster_size"),
        ({"storage": 0}, "storage"),
    ],
)
def test_defaults_are_checked_as_an_order_is(given: dict[str, Any], field: str) -> None:
    defaults = {"instance_specs": MACHINE, "cluster_size": 1, **given}

    assert wrong_fields(msgspec.convert(defaults, ClusterDefaults)) == [field]
