"""What is sent to Polars Cloud to have an instance started."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_polars import CloudCompute
from airflow_provider_polars.backends import cloud_orders
from airflow_provider_polars.backends.cloud_orders import (
    from_manifest,
    is_registered,
    order,
    requirements_of,
    versions,
    with_defaults,
)
from airflow_provider_polars.backends.polars_client import polars_version
from airflow_provider_polars.clients.instances import Manifest
from airflow_provider_polars.dev_cluster.control_plane import manifests, orders
from airflow_provider_polars.exceptions import ConfigurationError, VersionMismatchError
from airflow_provider_polars.labels import airflow_labels
from airflow_provider_polars.marks import Owner

OWNER = Owner(deployment="prod", dag_id="sales", run_id="manual", task_id="start")
PYTHON = dict(zip(("major", "minor", "patch"), sys.version_info[:3], strict=True))
OF_OWNER = {**OWNER.variables(), "AIRFLOW_POLARS_MAX_LIFETIME": "24"}
MACHINE = {"cpus": 8, "memory": 32}
REQUIREMENTS = "polars-ds==0.10\n"


@pytest.fixture(autouse=True)
def client_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write as the client 0.12 does, whichever is installed."""
    monkeypatch.setattr(cloud_orders, "client_version", lambda: "0.12.0")


def body_of(compute: CloudCompute, owner: Owner = OWNER, **more: Any) -> dict[str, Any]:
    """Return the body that registers a compute, as it comes out of JSON."""
    given = {"requirements": None, "env_vars": compute.env_vars, "labels": (), **more}
    body: dict[str, Any] = json.loads(json.dumps(order(compute, owner, **given)))
    return body


def shown(body: dict[str, Any]) -> Manifest:
    """Return the manifest that a control plane shows of a body that was registered."""
    registered = manifests.Manifest(msgspec.convert(body, orders.ManifestOrder))
    return Manifest.of(json.loads(json.dumps(registered.model("f8ed4d9f-0696-4dcf-aff0-10932bb91d9c"))))


def manifest(**model: Any) -> Manifest:
    """Return a manifest of somebody else that this worker can start from."""
    body = {
        **body_of(CloudCompute(**MACHINE, cluster_size=3, storage=50), env_vars={"DB_PASSWORD": "of the manifest"}),
        "name": "nightly report",
        "mode": "Proxy",
        "log_level": "Trace",
        "requirements_txt": REQUIREMENTS,
        "idle_timeout_mins": 20,
    }
    found = shown(body)
    return Manifest.of({**found.model, **model})


# ---- the body


def test_a_machine_by_what_it_has_is_ordered_as_the_client_does() -> None:
    compute = CloudCompute(**MACHINE, connection_mode="proxy", idle_timeout_mins=15)
    assert body_of(compute, labels=("airflow", "dag:sales")) == {
        "name": OWNER.mark,
        "specs": {"cpus": 8, "ram_gb": 32, "cpu_architectures": ["X86_64"], "multiplier": None},
        "storage": None,
        "big_instance_storage": None,
        "cluster_size": 1,
        "mode": "Proxy",
        "python_version": PYTHON,
        "polars_version": polars_version(),
        "labels": ["airflow", "dag:sales"],
        "log_level": "Info",
        "idle_timeout_mins": 15,
        "requirements_txt": None,
        "env_vars": OF_OWNER,
    }


def test_a_machine_by_name_is_ordered_with_all_that_was_given() -> None:
    compute = CloudCompute(
        instance_type="m6i.2xlarge",
        storage=100,
        cluster_size=4,
        labels=("etl",),
        log_level="trace",
        env_vars={"RUST_LOG": "info"},
        max_lifetime=1.5,
    )
    assert body_of(compute, requirements=REQUIREMENTS) == {
        "name": OWNER.mark,
        "instance_type": {"standard": "m6i.2xlarge", "big": None},
        "storage": 100,
        "big_instance_storage": None,
        "cluster_size": 4,
        "mode": "Direct",
        "python_version": PYTHON,
        "polars_version": polars_version(),
        "labels": ["etl"],
        "log_level": "Trace",
        "idle_timeout_mins": 60,
        "requirements_txt": REQUIREMENTS,
        "env_vars": {"RUST_LOG": "info", **OF_OWNER, "AIRFLOW_POLARS_MAX_LIFETIME": "1.5"},
    }


def test_architectures_are_ordered_in_the_words_of_the_service() -> None:
    body = body_of(CloudCompute(**MACHINE, cpu_architectures=("arm64", "x86_64")))
    assert body["specs"]["cpu_architectures"] == ["Arm64", "X86_64"]


def test_a_label_is_ordered_once_and_none_is_null() -> None:
    labels = airflow_labels(OWNER.dag_id, OWNER.task_id, OWNER.run_id)
    body = body_of(CloudCompute(**MACHINE, labels=("etl", "airflow")), labels=labels)
    assert body["labels"] == ["airflow", "dag:sales", "task:start", "run:manual", "etl"]
    assert body_of(CloudCompute(**MACHINE))["labels"] is None


def test_nobody_passes_for_another_owner_by_a_variable_of_the_compute() -> None:
    compute = CloudCompute(**MACHINE, env_vars={"AIRFLOW_POLARS_DAG_ID": "finance", "RUST_LOG": "info"})
    assert Owner.of(body_of(compute)["env_vars"]) == OWNER


@pytest.mark.parametrize(
    ("version", "mode"), [("0.6.3", "proxy"), ("0.8.9", "proxy"), ("0.9.0", "Proxy"), ("1.0.0", "Proxy")]
)
def test_older_clients_write_the_mode_small(monkeypatch: pytest.MonkeyPatch, version: str, mode: str) -> None:
    monkeypatch.setattr(cloud_orders, "client_version", lambda: version)
    assert body_of(CloudCompute(**MACHINE, connection_mode="proxy"))["mode"] == mode


def test_a_start_by_name_tells_the_versions_of_this_worker() -> None:
    assert versions() == {"python_version": PYTHON, "polars_version": polars_version()}


@pytest.mark.parametrize("compute", [CloudCompute(**MACHINE), CloudCompute(instance_type="m6i.large", storage=9)])
def test_what_is_ordered_is_an_order_to_the_control_plane(compute: CloudCompute) -> None:
    read = msgspec.convert(body_of(compute), orders.ManifestOrder)
    read.check()
    assert read.name == OWNER.mark


# ---- without a machine


def test_a_compute_without_a_machine_gets_that_of_its_workspace() -> None:
    specs = {"cpus": 4, "ram_gb": 16, "cpu_architectures": ["Arm64"], "multiplier": None}
    defaults = {"instance_specs": {"specs": specs}, "storage": 64, "cluster_size": 2}
    asked = CloudCompute(labels=("etl",), idle_timeout_mins=30)
    assert with_defaults(asked, defaults) == dataclasses.replace(
        asked, cpus=4, memory=16, cpu_architectures=("arm64",), storage=64, cluster_size=2
    )


def test_the_default_machine_may_have_a_name() -> None:
    defaults = {"instance_specs": {"instance_type": {"standard": "m6i.large"}}, "cluster_size": 1}
    assert with_defaults(CloudCompute(), defaults) == CloudCompute(instance_type="m6i.large", cluster_size=1)


def test_what_the_compute_says_wins_over_its_workspace() -> None:
    defaults = {"instance_specs": {"specs": {"cpus": 4, "ram_gb": 16}}, "storage": 64, "cluster_size": 2}
    found = with_defaults(CloudCompute(storage=10, cluster_size=5), defaults)
    assert found == CloudCompute(cpus=4, memory=16, storage=10, cluster_size=5)


@pytest.mark.parametrize("defaults", [{}, {"instance_specs": None}, {"instance_specs": {}, "storage": 64}])
def test_a_workspace_without_a_default_machine_is_told(defaults: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_defaults(CloudCompute(), defaults)
    assert str(caught.value) == (
        "CloudCompute() names no machine, and its workspace has no default one. Give cpus= and memory=, or "
        "instance_type=."
    )


# ---- from a manifest


def test_what_a_manifest_says_is_copied() -> None:
    asked = CloudCompute(name="nightly report", workspace="etl", max_lifetime=2.0, scaling="distributed")
    assert from_manifest(asked, manifest()) == CloudCompute(
        **MACHINE,
        cpu_architectures=("x86_64",),
        storage=50,
        cluster_size=3,
        connection_mode="proxy",
        log_level="trace",
        idle_timeout_mins=20,
        workspace="etl",
        max_lifetime=2.0,
        scaling="distributed",
    )


def test_a_manifest_may_name_its_machine_and_leave_the_idle_timeout_open() -> None:
    """What is started from it stops by itself all the same."""
    model = {"req_cpu_cores": None, "req_ram_gb": None, "instance_type": "m6i.large", "idle_timeout_mins": None}
    found = from_manifest(CloudCompute(name="nightly report"), manifest(**model))
    assert (found.cpus, found.cpu_architectures, found.instance_type) == (None, (), "m6i.large")
    assert found.idle_timeout_mins is None
    assert body_of(found)["idle_timeout_mins"] == 60


def test_variables_of_a_manifest_never_reach_the_compute() -> None:
    """They may hold secrets, and a compute is shown, logged and handed on."""
    source = manifest()
    assert source.env_vars["DB_PASSWORD"] == "of the manifest"
    found = from_manifest(CloudCompute(name="nightly report"), source)
    assert found.env_vars == {}
    assert "of the manifest" not in repr(found) + json.dumps(found.to_dict()) + repr(source)


def test_variables_of_a_manifest_go_where_the_instance_reads_them() -> None:
    source = manifest(env_vars={"DB_PASSWORD": "of the manifest"})
    found = from_manifest(CloudCompute(name="nightly report"), source)
    body = body_of(found, env_vars=source.env_vars)
    assert body["env_vars"] == {"DB_PASSWORD": "of the manifest", **OF_OWNER}
    assert body["name"] == OWNER.mark


def test_a_copy_of_the_copy_of_another_owner_is_our_own() -> None:
    """A manifest that this package has made may be named too."""
    other = dataclasses.replace(OWNER, dag_id="finance")
    source = shown(body_of(CloudCompute(**MACHINE), other))
    assert Owner.of(body_of(CloudCompute(**MACHINE), env_vars=source.env_vars)["env_vars"]) == OWNER


def test_a_manifest_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_manifest(CloudCompute(name="nightly report"), None)
    assert str(caught.value) == (
        "There is no manifest 'nightly report' in the workspace. Register it, or give cpus= and memory= instead of "
        "name=."
    )


@pytest.mark.parametrize(
    ("field", "what", "there", "here"),
    [
        ("polars_version", "Polars", "1.0.0", polars_version()),
        ("python_version", "Python", "3.9.1", ".".join(map(str, sys.version_info[:3]))),
    ],
)
def test_a_manifest_with_another_version_is_refused_with_both(field: str, what: str, there: str, here: str) -> None:
    with pytest.raises(VersionMismatchError) as caught:
        from_manifest(CloudCompute(name="nightly report"), manifest(**{field: there}))
    assert str(caught.value) == (
        f"The manifest 'nightly report' was registered with {what} {there}, this worker has {what} {here}. Register "
        f"it anew with {what} {here}, or install {what} {there} on the workers."
    )


# ---- requirements


def test_the_requirements_are_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(REQUIREMENTS)
    assert requirements_of(CloudCompute(requirements=str(file)), None) == REQUIREMENTS
    assert requirements_of(CloudCompute(), None) is None


def test_the_requirements_of_a_manifest_are_copied() -> None:
    compute = CloudCompute(name="nightly report")
    assert requirements_of(compute, manifest()) == REQUIREMENTS
    assert requirements_of(compute, manifest(requirements_txt=None)) is None


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda file: None, "No such file or directory"),
        (lambda file: file.mkdir(), "Is a directory"),
        (lambda file: file.write_bytes(b"\xff\xfe\x00"), "can't decode byte 0xff"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], Any], reason: str) -> None:
    file = tmp_path / "requirements.txt"
    make(file)
    with pytest.raises(ConfigurationError) as caught:
        requirements_of(CloudCompute(requirements=str(file)), None)
    assert str(caught.value).startswith(f"CloudCompute(requirements={str(file)!r}) cannot be read on this worker: ")
    assert reason in str(caught.value)


# ---- whether it is registered already

FULL: dict[str, Any] = {
    **MACHINE,
    "cpu_architectures": ("arm64",),
    "storage": 50,
    "cluster_size": 2,
    "connection_mode": "proxy",
    "log_level": "debug",
    "idle_timeout_mins": 20,
    "env_vars": {"RUST_LOG": "info"},
    "labels": ("etl",),
}
each_machine = pytest.mark.parametrize(
    "compute",
    [CloudCompute(**MACHINE), CloudCompute(**FULL), CloudCompute(instance_type="m6i.large", cluster_size=2)],
    ids=["small", "full", "by name"],
)


@each_machine
def test_a_body_is_registered_once_the_control_plane_shows_it(compute: CloudCompute) -> None:
    body = body_of(compute, requirements=REQUIREMENTS)
    assert is_registered(body, shown(body))
    assert is_registered(body, shown({**body, "mode": body["mode"].lower()}))


CHANGED: dict[str, Any] = {
    "cpus": 16,
    "memory": 64,
    "cpu_architectures": ("x86_64",),
    "storage": 51,
    "cluster_size": 3,
    "connection_mode": "direct",
    "log_level": "info",
    "idle_timeout_mins": 30,
    "env_vars": {"RUST_LOG": "debug"},
    "max_lifetime": 2.0,
}


@pytest.mark.parametrize("field", CHANGED)
def test_a_compute_that_was_changed_is_not_registered(field: str) -> None:
    before, after = (body_of(CloudCompute(**{**FULL, **more})) for more in ({}, {field: CHANGED[field]}))
    assert not is_registered(after, shown(before))


@pytest.mark.parametrize(
    "change",
    [
        {"requirements_txt": "polars-ds==0.11\n"},
        {"requirements_txt": None},
        {"polars_version": "1.0.0"},
        {"python_version": {**PYTHON, "patch": PYTHON["patch"] + 1}},
        {"env_vars": {}},
        {"env_vars": {**OF_OWNER, "MORE": "x"}},
    ],
)
def test_a_body_that_differs_is_not_registered(change: dict[str, Any]) -> None:
    body = body_of(CloudCompute(**MACHINE), requirements=REQUIREMENTS)
    assert not is_registered({**copy.deepcopy(body), **change}, shown(body))


def test_a_machine_by_name_is_not_registered_as_another_or_as_one_by_what_it_has() -> None:
    large, small, specs = (
        body_of(CloudCompute(**fields)) for fields in ({"instance_type": "m6i.large"}, {"instance_type": "s"}, MACHINE)
    )
    assert not is_registered(large, shown(small))
    assert not is_registered(large, shown(specs))
    assert not is_registered(specs, shown(large))
