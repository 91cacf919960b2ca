"""A cluster that runs already, as a value."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_polars import ClusterCompute, Compute
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError, UnknownArgumentError

SECRET = "hunter2hunter2"
EVERYTHING: dict[str, Any] = {
    "uri": "https://scheduler.example:5051",
    "observatory": "https://observatory.example:3001",
    "ca_cert": "/etc/ssl/cluster.pem",
    "domain_name": "scheduler.internal",
    "insecure": True,
    "user_name": "etl",
    "headers": {"x-team": "sales"},
    "scaling": "single-node",
    "engine": "streaming",
    "send_credentials": True,
    "airflow_labels": False,
    "max_plan_mb": 5.0,
}


def test_it_needs_nothing_and_takes_the_rest_from_a_connection() -> None:
    compute = ClusterCompute()
    assert compute.to_dict() == {"kind": "cluster"}
    assert repr(compute) == "ClusterCompute()"
    left_open = ("uri", "observatory", "ca_cert", "domain_name", "insecure", "user_name", "scaling")
    assert {getattr(compute, name) for name in left_open} == {None}


def test_what_is_given_is_shown_and_survives_json() -> None:
    compute = ClusterCompute(**EVERYTHING)
    read = Compute.from_dict(json.loads(json.dumps(compute.to_dict())))
    assert read == compute
    assert type(read) is ClusterCompute
    assert {name: getattr(read, name) for name in EVERYTHING} == EVERYTHING
    assert repr(compute).startswith("ClusterCompute(scaling='single-node', engine='streaming', send_credentials=True, ")
    assert hash(compute) == hash(read)
    assert compute != ClusterCompute(**{**EVERYTHING, "headers": {"x-team": "finance"}})


def test_a_cluster_is_neither_started_nor_stopped() -> None:
    assert ClusterCompute.managed is False


def test_its_options_are_those_of_all_computes_that_get_plans() -> None:
    assert ClusterCompute.options == RemoteCompute.options
    assert "kind" not in RemoteCompute.__dict__


def test_its_json_form_is_found_before_its_module_is_imported(run_python: Callable[..., str]) -> None:
    output = run_python(
        "from airflow_provider_polars import Compute\n"
        "import sys\n"
        "assert 'airflow_provider_polars.compute.cluster' not in sys.modules\n"
        "print(Compute.from_dict({'kind': 'cluster', 'uri': 'http://node:5051'}))"
    )
    assert output.strip() == "ClusterCompute(uri='http://node:5051')"


@pytest.mark.parametrize("name", ["uri", "observatory"])
@pytest.mark.parametrize(
    "address",
    ["http://node", "https://node:443", "http://10.0.0.1:5051/", "https://[::1]:5051", "{{ conn.cluster.host }}"],
)
def test_an_address_is_kept_as_it_is_written(name: str, address: str) -> None:
    assert getattr(ClusterCompute(**{name: address}), name) == address


@pytest.mark.parametrize("name", ["uri", "observatory"])
@pytest.mark.parametrize(
    "address", ["node", "node:5051", "grpc://node:5051", "http://", "http://node:5051/path", "http://a b", ""]
)
def test_what_is_no_address_is_refused_by_name_with_how_to_write_one(name: str, address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClusterCompute(**{name: address})
    assert str(caught.value) == (
        f"ClusterCompute({name}=) must be an address such as http://host:5051 or https://host:5051, got {address!r}."
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scaling": "two"}, "ClusterCompute(scaling=) must be one of auto, distributed, single-node, got 'two'"),
        ({"scaling": "single_node"}, "got 'single_node'; did you mean 'single-node'?"),
        ({"engine": "warp"}, "ClusterCompute(engine=) must be one of auto, streaming, in-memory, gpu, got 'warp'."),
        ({"max_plan_mb": 0}, "ClusterCompute(max_plan_mb=) must be above zero, got 0.0."),
        ({"max_plan_mb": -1.5}, "ClusterCompute(max_plan_mb=) must be above zero, got -1.5."),
        ({"max_plan_mb": "big"}, "ClusterCompute(max_plan_mb=) must be float, got str: 'big'."),
        ({"ca_cert": "ca.pem"}, "ClusterCompute(ca_cert=) must be the absolute path of a PEM file on the worker, got"),
        ({"ca_cert": "-----BEGIN CERTIFICATE-----"}, "must be the absolute path of a PEM file on the worker"),
        ({"insecure": "perhaps"}, "ClusterCompute(insecure=) must be bool, got str: 'perhaps'."),
        ({"send_credentials": 1}, "ClusterCompute(send_credentials=) must be bool, got int: 1."),
        ({"headers": ["x-team"]}, "ClusterCompute(headers=) must be dict[str, str], got list"),
        ({"headers": {"x-team": 7}}, "ClusterCompute(headers=)['x-team'] must be str, got int: 7."),
        ({"uri": 5051}, "ClusterCompute(uri=) must be str, got int: 5051."),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name_and_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClusterCompute(**fields)
    assert message in str(caught.value)


def test_a_misspelt_keyword_names_the_nearest() -> None:
    with pytest.raises(UnknownArgumentError, match="ClusterCompute has no argument 'url'; did you mean 'uri'"):
        ClusterCompute(url="http://node")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["authorization", "Authorization", "x-api-key", "x-auth-token", "proxy-credential"])
def test_a_header_whose_name_tells_of_a_secret_is_refused_without_being_shown(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClusterCompute(headers={name: f"Bearer {SECRET}"})
    assert f"ClusterCompute(headers=) holds {name!r}, which looks like a secret" in str(caught.value)
    assert "conn_id=" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClusterCompute(uri=f"http://etl:{SECRET}@node:5051"),
        lambda: ClusterCompute(observatory=f"https://etl:{SECRET}@node:3001"),
        lambda: ClusterCompute(token=SECRET),  # type: ignore[call-arg]
        lambda: ClusterCompute(headers="{{ x }}").map_templates(lambda _: {"authorization": SECRET}),  # type: ignore[arg-type]
        lambda: Compute.from_dict({"kind": "cluster", "headers": {"authorization": SECRET}}),
    ],
)
def test_a_secret_has_no_place_in_it_and_is_not_shown(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("field", sorted(EVERYTHING))
def test_every_field_takes_a_template_and_is_checked_once_it_is_rendered(field: str) -> None:
    given = {"x-team": "{{ params.x }}"} if field == "headers" else "{{ params.x }}"
    compute = ClusterCompute(**{field: given})
    rendered = "sales" if field == "headers" else str(EVERYTHING[field])
    assert compute.map_templates(lambda _: rendered) == ClusterCompute(**{field: EVERYTHING[field]})
    if field not in ("domain_name", "user_name", "headers"):
        with pytest.raises(ConfigurationError, match=rf"ClusterCompute\({field}=\)"):
            compute.map_templates(lambda _: "nothing that fits")
