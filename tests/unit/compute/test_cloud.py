"""Instances of Polars Cloud, as a value."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_polars import CloudCompute, Compute
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError, UnknownArgumentError

SECRET = "hunter2hunter2"
INSTANCE = "0b9d0d4a-3d5f-4c39-9f1e-6a2f4f2c7a10"
SPECS = {"cpus": 8, "memory": 32}
SHARED: dict[str, Any] = {
    "scaling": "single-node",
    "engine": "streaming",
    "send_credentials": True,
    "airflow_labels": False,
    "max_plan_mb": 5.0,
    "workspace": "etl",
    "organization": "acme",
}
OF_A_START: dict[str, Any] = {
    "storage": 100,
    "cluster_size": 3,
    "requirements": "/opt/etl/requirements.txt",
    "env_vars": {"RUST_LOG": "info"},
    "connection_mode": "proxy",
    "labels": ("etl", "nightly"),
    "log_level": "debug",
    "idle_timeout_mins": 15,
}
BY_SPECS = {**SHARED, **SPECS, "cpu_architectures": ("arm64", "x86_64"), **OF_A_START, "max_lifetime": 6.0}
BY_TYPE = {**SHARED, "instance_type": "m6i.2xlarge", **OF_A_START, "max_lifetime": 6.0}
BY_NAME = {**SHARED, "name": "nightly report", "max_lifetime": 6.0}
RUNNING = {**SHARED, "compute_id": INSTANCE, "connection_mode": "direct"}
STARTED = {**BY_SPECS, "compute_id": INSTANCE, "mark": "af-prod-0123456789abcdef", "ready_at": 1767225600.5}
FORMS = [BY_SPECS, BY_TYPE, BY_NAME, RUNNING, STARTED]
each_form = pytest.mark.parametrize(
    "fields", FORMS, ids=["by specs", "by instance type", "by manifest", "running", "started"]
)


def refusal(**fields: Any) -> str:
    """Return the message with which a compute is refused."""
    with pytest.raises(ConfigurationError) as caught:
        CloudCompute(**fields)
    return str(caught.value)


def test_it_needs_nothing_and_takes_the_machine_of_its_workspace() -> None:
    compute = CloudCompute()
    assert compute.to_dict() == {"kind": "cloud"}
    assert repr(compute) == "CloudCompute()"
    assert (compute.idle_timeout_mins, compute.max_lifetime) == (None, None)
    assert compute.given("cpus", "instance_type", "labels", "env_vars", "workspace", "idle_timeout_mins") == []


@each_form
def test_what_is_given_is_kept_and_survives_json(fields: dict[str, Any]) -> None:
    compute = CloudCompute(**fields)
    read = Compute.from_dict(json.loads(json.dumps(compute.to_dict())))
    assert type(read) is CloudCompute
    assert read == compute
    assert hash(read) == hash(compute)
    assert {name: getattr(read, name) for name in fields} == fields


def test_the_forms_name_every_field() -> None:
    assert {name for form in FORMS for name in form} == {field.name for field in dataclasses.fields(CloudCompute)}


def test_repr_shows_what_was_given() -> None:
    compute = CloudCompute(cpus=8, memory=32, labels=["etl"], env_vars={"RUST_LOG": "info"})  # type: ignore[arg-type]
    assert repr(compute) == "CloudCompute(cpus=8, memory=32, env_vars={'RUST_LOG': 'info'}, labels=['etl'])"
    assert str(compute) == repr(compute)


def test_two_that_differ_in_one_variable_are_not_equal() -> None:
    first, second = (CloudCompute(env_vars={"RUST_LOG": level}) for level in ("info", "debug"))
    assert first != second
    assert hash(first) == hash(second)


def test_its_json_form_is_found_before_its_module_is_imported(run_python: Callable[..., str]) -> None:
    output = run_python(
        "from airflow_provider_polars import Compute\n"
        "import sys\n"
        "assert 'airflow_provider_polars.compute.cloud' not in sys.modules\n"
        "print(Compute.from_dict({'kind': 'cloud', 'cpus': 2, 'memory': 4}))"
    )
    assert output.strip() == "CloudCompute(cpus=2, memory=4)"


def test_its_options_are_those_of_all_computes_that_get_plans() -> None:
    assert CloudCompute.options == RemoteCompute.options
    assert CloudCompute.managed is True


def test_it_is_started_unless_it_runs_already() -> None:
    assert [CloudCompute(**fields).needs_start for fields in FORMS] == [True, True, True, False, False]
    assert CloudCompute(compute_id="{{ params.instance }}").needs_start is False


def test_fields_that_say_something_are_told_in_the_order_of_the_question() -> None:
    compute = CloudCompute(cpus=8, memory=32, labels=("etl",))
    assert compute.given("labels", "storage", "memory", "env_vars") == ["labels", "memory"]


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("storage", "100", 100),
        ("cluster_size", 2.0, 2),
        ("idle_timeout_mins", "10", 10),
        ("max_lifetime", 2, 2.0),
        ("max_lifetime", "0.5", 0.5),
        ("ready_at", "1767225600", 1767225600.0),
        ("labels", "etl", ("etl",)),
        ("labels", ["etl", "nightly"], ("etl", "nightly")),
        ("cpu_architectures", "arm64", ("arm64",)),
        ("cpu_architectures", ["x86_64", "arm64"], ("x86_64", "arm64")),
        ("airflow_labels", "false", False),
    ],
)
def test_a_value_becomes_the_type_of_its_field(field: str, given: Any, kept: Any) -> None:
    value = getattr(CloudCompute(**{field: given}), field)
    assert value == kept
    assert type(value) is type(kept)


# ---- templates


@pytest.mark.parametrize("fields", [BY_SPECS, BY_TYPE, BY_NAME, STARTED])
def test_every_field_takes_a_template_and_becomes_its_type_once_rendered(fields: dict[str, Any]) -> None:
    templated = {name: _templated(name, value) for name, value in fields.items()}
    compute = CloudCompute(**templated)
    assert {name: getattr(compute, name) for name in fields} == templated
    rendered = compute.map_templates(lambda text: text.removeprefix("{{ '").removesuffix("' }}"))
    assert rendered == CloudCompute(**fields)


def _templated(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _templated(key, item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_templated(name, item) for item in value)
    return f"{{{{ '{value}' }}}}"


@pytest.mark.parametrize(
    ("field", "rendered", "message"),
    [
        ("cluster_size", "0", "CloudCompute(cluster_size=) must be above zero, got 0."),
        ("idle_timeout_mins", "5", "CloudCompute(idle_timeout_mins=) must be at least 10, got 5"),
        ("compute_id", "etl", "must be the id of an instance, a UUID, got 'etl'."),
        ("requirements", "requirements.txt", "must be the absolute path of a requirements.txt"),
        ("connection_mode", "tunnel", "CloudCompute(connection_mode=) must be one of direct, proxy, got 'tunnel'"),
        ("log_level", "trac", "got 'trac'; did you mean 'trace'?"),
    ],
)
def test_what_a_template_renders_to_is_checked(field: str, rendered: str, message: str) -> None:
    compute = CloudCompute(**{field: "{{ params.x }}"})
    with pytest.raises(ConfigurationError) as caught:
        compute.map_templates(lambda _: rendered)
    assert message in str(caught.value)


# ---- what cannot be


@pytest.mark.parametrize("name", ["cpus", "memory"])
def test_half_a_machine_is_refused(name: str) -> None:
    given = {"cpus": None, "memory": None, name: 8}
    message = f"CloudCompute() has cpus={given['cpus']} and memory={given['memory']}: give both, or neither."
    assert refusal(**{name: 8}) == message


@pytest.mark.parametrize("other", [SPECS, {"cpu_architectures": ["arm64"]}, {**SPECS, "cpu_architectures": ["arm64"]}])
def test_a_machine_by_name_and_by_what_it_has_is_refused(other: dict[str, Any]) -> None:
    assert refusal(instance_type="m6i.large", **other) == (
        f"CloudCompute(instance_type='m6i.large') names a machine, and so does {next(iter(other))}=: give one."
    )


@pytest.mark.parametrize("field", ["cpu_architectures", "instance_type", *OF_A_START])
def test_a_manifest_and_what_it_says_itself_is_refused(field: str) -> None:
    assert refusal(name="report", **{field: BY_SPECS.get(field, "m6i.large")}) == (
        f"CloudCompute(name='report') starts from a manifest, which says what {field} would. Remove either."
    )


def test_a_manifest_with_a_machine_is_refused_with_all_that_is_too_much() -> None:
    assert "which says what cpus, memory, cluster_size would" in refusal(name="report", **SPECS, cluster_size=2)
    assert CloudCompute(name="report", workspace="etl", max_lifetime=2.0).name == "report"


@pytest.mark.parametrize("text", ["", "etl", "0b9d0d4a", "0b9d0d4a-3d5f-4c39-9f1e-6a2f4f2c7a1g", f"{INSTANCE}0"])
def test_an_id_that_is_none_is_refused(text: str) -> None:
    message = f"CloudCompute(compute_id=) must be the id of an instance, a UUID, got {text!r}."
    assert refusal(compute_id=text) == message


@pytest.mark.parametrize(
    "also",
    [
        SPECS,
        {"instance_type": "m6i.large"},
        {"storage": 10, "labels": ("etl",)},
        {"env_vars": {"RUST_LOG": "info"}, "log_level": "debug"},
        {"requirements": "/opt/requirements.txt"},
        {"idle_timeout_mins": 60},
        {"max_lifetime": 24.0},
        {"idle_timeout_mins": 15, "max_lifetime": 2.0},
        {"name": "report"},
    ],
)
def test_an_instance_that_runs_and_what_a_start_would_need_is_refused(also: dict[str, Any]) -> None:
    message = refusal(compute_id=INSTANCE, **also)
    assert message.startswith(f"CloudCompute(compute_id='{INSTANCE}') is an instance that runs already: ")
    assert all(name in message for name in also)
    assert message.endswith(" would do nothing. Remove either.")


def test_the_handle_of_a_start_says_what_was_started() -> None:
    handle = CloudCompute(**STARTED)
    assert (handle.cpus, handle.idle_timeout_mins, handle.max_lifetime) == (8, 15, 6.0)


@pytest.mark.parametrize("minutes", [9, 0, -60])
def test_an_idle_timeout_that_the_service_does_not_take_is_refused(minutes: int) -> None:
    assert refusal(idle_timeout_mins=minutes) == (
        f"CloudCompute(idle_timeout_mins=) must be at least 10, got {minutes}: Polars Cloud takes no shorter one."
    )


@pytest.mark.parametrize("name", ["cpus", "memory", "storage", "cluster_size", "max_lifetime"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_number_that_is_not_above_zero_is_refused(name: str, value: int) -> None:
    shown = float(value) if name == "max_lifetime" else value
    fields = {**SPECS, name: value} if name in SPECS else {name: value}
    assert refusal(**fields) == f"CloudCompute({name}=) must be above zero, got {shown}."


@pytest.mark.parametrize("path", ["requirements.txt", "./requirements.txt", "~/requirements.txt"])
def test_requirements_at_a_relative_path_are_refused(path: str) -> None:
    assert refusal(requirements=path) == (
        f"CloudCompute(requirements=) must be the absolute path of a requirements.txt on the worker, got {path!r}."
    )


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "api-key", "GITHUB_TOKEN"])
def test_a_variable_whose_name_tells_of_a_secret_is_refused_without_being_shown(name: str) -> None:
    message = refusal(env_vars={name: SECRET})
    assert f"CloudCompute(env_vars=) holds {name!r}, which looks like a secret" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x" * 33], f"labels= has {'x' * 33!r} of 33 bytes, at most 32 are possible."),
        (["ä" * 17], "of 34 bytes, at most 32 are possible."),
        ([""], "labels= has '': a label is not empty"),
        (["etl "], "labels= has 'etl ': a label is not empty, has no space around it"),
        ([f"l{i}" for i in range(61)], "labels= has 61 labels, at most 60 are possible besides the 4 that name DAG"),
    ],
)
def test_labels_that_the_service_does_not_take_are_refused(labels: list[str], message: str) -> None:
    assert message in refusal(labels=labels)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cpus": "many", "memory": 4}, "CloudCompute(cpus=) must be int, got str: 'many'."),
        ({"cpus": 1.5, "memory": 4}, "CloudCompute(cpus=) must be int, got float: 1.5."),
        ({"cpu_architectures": ["arm"]}, "must be one of x86_64, arm64, got 'arm'; did you mean 'arm64'?"),
        ({"connection_mode": "Direct"}, "must be one of direct, proxy, got 'Direct'; did you mean 'direct'?"),
        ({"env_vars": ["A=1"]}, "CloudCompute(env_vars=) must be dict[str, str], got list"),
        ({"env_vars": {"THREADS": 4}}, "CloudCompute(env_vars=)['THREADS'] must be str, got int: 4."),
        ({"workspace": 7}, "CloudCompute(workspace=) must be str, got int: 7."),
        ({"max_plan_mb": 0}, "CloudCompute(max_plan_mb=) must be above zero, got 0.0."),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name_and_value(fields: dict[str, Any], message: str) -> None:
    assert message in refusal(**fields)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("cpu", "cpus"),
        ("memory_gb", "memory"),
        ("instance", "instance_type"),
        ("idle_timeout", "idle_timeout_mins"),
        ("env_var", "env_vars"),
        ("cluster_sizes", "cluster_size"),
        ("workspaces", "workspace"),
    ],
)
def test_a_misspelt_keyword_names_the_nearest(misspelt: str, meant: str) -> None:
    with pytest.raises(UnknownArgumentError) as caught:
        Compute.from_dict({"kind": "cloud", misspelt: 1})
    assert f"CloudCompute has no argument {misspelt!r}; did you mean {meant!r}?" in str(caught.value)
