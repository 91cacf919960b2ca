"""Arguments of the sensors: what is checked when a DAG is parsed, what Airflow stores, what a trigger carries."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_polars import (
    CloudCompute,
    ClusterCompute,
    LocalCompute,
    PolarsClusterSensor,
    PolarsQuerySensor,
    PolarsStartComputeOperator,
)
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError, UnknownArgumentError
from airflow_provider_polars.hooks.readiness import Wanted
from airflow_provider_polars.operators.base import PolarsBaseOperator
from airflow_provider_polars.sensors.base import PolarsBaseSensor
from airflow_provider_polars.triggers.cluster import PolarsClusterTrigger
from tests.unit.guide import code, section, table
from tests.unit.sensors.test_runs import CLUSTER, ONE

INSTANCE = CloudCompute(compute_id="00000000-0000-0000-0000-000000000001")
LATER = 4_000_000_000.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"compute": LocalCompute()},
            ConfigurationError,
            "LocalCompute() is no cluster: there is nothing to wait for.",
        ),
        ({"compute": {"kind": "local"}}, ConfigurationError, "LocalCompute() is no cluster"),
        ({"compute": "cluster"}, ConfigurationError, "compute= must be a Compute such as LocalCompute(), got str"),
        ({"compute": CloudCompute(cpus=2, memory=4)}, ConfigurationError, "is not one that was started. Give compute="),
        ({"compute": CLUSTER, "min_workers": 2}, RefusedOptionError, "min_workers=2 cannot be honoured by"),
        ({"compute": INSTANCE, "min_workers": 0}, ConfigurationError, "min_workers= must be a whole number above zero"),
        ({"min_workers": True}, ConfigurationError, "min_workers= must be a whole number above zero, got True."),
        ({"min_workers": "two"}, ConfigurationError, "min_workers= must be a whole number above zero, got 'two'."),
        ({"version": "newest"}, ConfigurationError, "version= must be a version of Polars such as '2.0.0', or 'here'"),
        ({"version": 2}, ConfigurationError, "version= must be a version of Polars such as '2.0.0', or 'here', got 2."),
        ({"min_worker": 2}, UnknownArgumentError, "did you mean 'min_workers'?"),
    ],
)
def test_what_a_cluster_sensor_cannot_do_is_said_when_the_dag_is_parsed(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        PolarsClusterSensor(task_id="ready", **options)
    assert message in str(caught.value)


def test_a_query_sensor_takes_no_compute_for_its_queries_know_theirs() -> None:
    with pytest.raises(UnknownArgumentError, match="compute"):
        PolarsQuerySensor(task_id="ended", run=ONE, compute=CLUSTER)
    with pytest.raises(UnknownArgumentError, match="did you mean 'deferrable'"):
        PolarsQuerySensor(task_id="ended", run=ONE, deferable=True)


def test_what_only_the_running_task_knows_is_checked_there() -> None:
    with DAG("later", schedule=None):
        started = PolarsStartComputeOperator(task_id="start", compute=CloudCompute(cpus=2, memory=4)).output
        PolarsClusterSensor(task_id="a", compute=started, version="{{ var.value.polars }}", min_workers="{{ 2 }}")
        PolarsClusterSensor(task_id="b", compute=CloudCompute(compute_id="{{ params.id }}"), min_workers=started)
        PolarsClusterSensor.partial(task_id="c", version="here").expand(compute=[CLUSTER, INSTANCE])
        PolarsQuerySensor.partial(task_id="d").expand(run=started)


@pytest.mark.parametrize("kind", [PolarsClusterSensor, PolarsQuerySensor])
def test_each_argument_is_documented_with_its_default_and_whether_it_is_templated(kind: type[Any]) -> None:
    rows = table(section("sensors.md", kind.__name__))
    documented = {code(row[0]): row[1:] for row in rows if len(row) == 3}
    parameters = {
        name: parameter
        for base in (PolarsBaseOperator, PolarsBaseSensor, kind)
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if name not in {"self", "kwargs", *kind.taken_arguments}
    }
    assert {name: code(cells[0]) for name, cells in documented.items()} == {
        name: "required" if parameter.default is inspect.Parameter.empty else repr(parameter.default)
        for name, parameter in parameters.items()
    }
    templated = {name for name, cells in documented.items() if cells[1].startswith("Templated.")}
    assert templated == set(kind.template_fields)


def test_numbers_that_a_template_has_made_are_numbers() -> None:
    assert Wanted(min_workers=" 2 ").min_workers == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [PolarsClusterSensor, PolarsQuerySensor])
def test_both_are_sensors_that_airflow_can_store(kind: type[Any]) -> None:
    options = {"compute": CLUSTER} if kind is PolarsClusterSensor else {"run": [ONE]}
    with DAG("stored", schedule=None) as dag:
        kind(task_id="a", mode="reschedule", conn_id="cluster", **options)
    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    (task,) = DagSerialization.from_dict(stored).tasks
    assert task.reschedule
    assert "conn_id" in task.template_fields


@pytest.mark.parametrize("kind", [PolarsClusterSensor, PolarsQuerySensor])
def test_deferral_is_airflows_default_unless_it_is_said(kind: type[Any], run_python: Callable[..., str]) -> None:
    code = (
        f"from airflow_provider_polars import {kind.__name__} as Sensor\n"
        f"options = {{}} if {kind is PolarsClusterSensor} else {{'run': None}}\n"
        "print(Sensor(task_id='a', **options).deferrable, Sensor(task_id='b', deferrable=False, **options).deferrable)"
    )
    assert run_python(code).split()[-2:] == ["False", "False"]
    assert run_python(code, AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True").split()[-2:] == ["True", "False"]


def test_the_trigger_carries_all_that_the_sensor_was_given() -> None:
    given = {
        "compute": CLUSTER.to_dict(),
        "conn_id": "cluster",
        "version": "2.0.0",
        "min_workers": 3,
        "poke_interval": 5.0,
        "deadline": LATER,
    }
    path, kwargs = PolarsClusterTrigger(**given).serialize()
    assert path == "airflow_provider_polars.triggers.cluster.PolarsClusterTrigger"
    assert json.loads(json.dumps(kwargs)) == given
    assert PolarsClusterTrigger(**kwargs).serialize() == (path, kwargs)


def test_a_cluster_sensor_may_name_an_address_in_a_template() -> None:
    sensor = PolarsClusterSensor(task_id="ready", compute=ClusterCompute(uri="{{ params.uri }}"))
    assert sensor.template_fields == ("compute", "conn_id", "version", "min_workers")
