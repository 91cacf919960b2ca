"""What the tasks that start, stop and sweep computes take, and what they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import (
    CloudCompute,
    ClusterCompute,
    Compute,
    LocalCompute,
    PolarsStartComputeOperator,
    PolarsStopComputeOperator,
    PolarsSweepComputeOperator,
)
from airflow_provider_polars.exceptions import UnknownArgumentError
from tests.unit.operators.compute_tasks import start, stop
from tests.unit.outcomes import failure, succeeded
from tests.unit.scripted_manager import ASKED, READY, Service

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome

pytestmark = pytest.mark.usefixtures("service")


@pytest.mark.parametrize("compute", [LocalCompute(), ClusterCompute(uri="http://node:5051"), {"kind": "local"}])
@pytest.mark.parametrize("make", [PolarsStartComputeOperator, PolarsStopComputeOperator, PolarsSweepComputeOperator])
def test_a_compute_that_is_neither_started_nor_stopped_is_told(
    in_memory_airflow: InMemoryAirflow, make: Any, compute: Any
) -> None:
    text = failure(in_memory_airflow.run_task(make(task_id="t", compute=compute), max_tries=3))
    assert text.startswith("ConfigurationError: ")
    assert "is neither started nor stopped" in text
    assert type(Compute.from_dict(compute) if isinstance(compute, dict) else compute).__name__ in text


@pytest.mark.parametrize("value", [0, -1, "soon", "nan", "inf", None, [], "{{ 0 }}"])
def test_a_time_limit_that_is_none_is_refused_before_anything_is_started(
    in_memory_airflow: InMemoryAirflow, service: Service, value: Any
) -> None:
    shown = "0" if value == "{{ 0 }}" else value
    text = failure(in_memory_airflow.run_task(start(start_timeout=value), max_tries=3))
    assert text == f"ConfigurationError: start_timeout= must be a number of seconds above zero, got {shown!r}."
    assert service.events == []


@pytest.mark.parametrize("value", [5, 5.0, "5", "{{ 2 + 3 }}"])
def test_a_time_limit_may_be_a_template(in_memory_airflow: InMemoryAirflow, service: Service, value: Any) -> None:
    service.statuses = [READY]
    succeeded(in_memory_airflow.run_task(start(start_timeout=value)))
    succeeded(in_memory_airflow.run_task(stop(stop_timeout=value)))


@pytest.mark.parametrize(
    ("make", "misspelt", "meant"),
    [
        (PolarsStartComputeOperator, "start_timout", "start_timeout"),
        (PolarsStartComputeOperator, "user", "users"),
        (PolarsStopComputeOperator, "stop_time", "stop_timeout"),
        (PolarsStopComputeOperator, "con_id", "conn_id"),
        (PolarsSweepComputeOperator, "max_life_time", "max_lifetime"),
        (PolarsSweepComputeOperator, "report", "report_only"),
    ],
)
def test_a_misspelt_argument_names_the_nearest(make: Any, misspelt: str, meant: str) -> None:
    with pytest.raises(UnknownArgumentError) as caught:
        make(task_id="t", compute=ASKED, **{misspelt: 1})
    assert f"{make.__name__} has no argument {misspelt!r}; did you mean {meant!r}?" in str(caught.value)


def test_a_template_in_the_compute_is_rendered(in_memory_airflow: InMemoryAirflow) -> None:
    compute = CloudCompute(cpus="{{ params.n }}", memory=4, labels=("{{ run_id }}",))  # type: ignore[arg-type]
    outcome: TaskOutcome = in_memory_airflow.run_task(start(compute=compute, params={"n": 8}))
    assert outcome.rendered_fields["compute"] == {"kind": "cloud", "cpus": 8, "memory": 4, "labels": ["manual"]}


def test_without_a_name_of_the_deployment_nothing_is_started(
    in_memory_airflow: InMemoryAirflow, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__POLARS__DEPLOYMENT_ID")
    text = failure(in_memory_airflow.run_task(start(), max_tries=3))
    assert text.startswith("ConfigurationError: [polars] deployment_id is not set.")
    assert service.events == []
