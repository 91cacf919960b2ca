"""``polars_compute``: tasks inside run on the group's compute, unless they name their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, TaskGroup, task, task_group

from airflow_provider_polars import (
    ClusterCompute,
    LocalCompute,
    NdjsonSink,
    PolarsRemoteOperator,
    polars_compute,
    polars_task,
)
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError, UnsupportedSinkError
from tests.harness.dag_run import task_states
from tests.unit.outcomes import failure, succeeded, used_compute

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("results_path")

STREAMING = LocalCompute(engine="streaming")
IN_MEMORY = LocalCompute(engine="in-memory")


@polars_task
def numbers(start: int = 0) -> pl.LazyFrame:
    """Return one number."""
    return pl.LazyFrame({"a": [start]})


def engine(airflow: InMemoryAirflow, made: Any, **run: Any) -> str:
    """Run a task and return the engine of the compute that it used."""
    outcome = airflow.run_task(made, **run)
    succeeded(outcome)
    return str(used_compute(outcome).get("engine", "auto"))


def test_tasks_inside_use_the_groups_compute(in_memory_airflow: InMemoryAirflow) -> None:
    """Decorated and classic; those outside do not."""
    with DAG("group", schedule=None):
        with polars_compute("etl", STREAMING) as group:
            inside = numbers()
            classic = PolarsRemoteOperator(task_id="classic", query=numbers.function)
        outside = numbers.override(task_id="outside")()
    assert (inside.operator.task_id, classic.task_id) == ("etl.numbers", "etl.classic")
    assert group.compute == STREAMING
    engines = [engine(in_memory_airflow, made) for made in (inside, classic, outside)]
    assert engines == ["streaming", "streaming", "auto"]


def test_compute_of_the_task_wins(in_memory_airflow: InMemoryAirflow) -> None:
    """As an argument of the decorator, of ``override``, and from another task."""
    with DAG("group", schedule=None), polars_compute("etl", STREAMING):

        @task
        def choose() -> None:
            pass

        own = numbers.override(compute=IN_MEMORY)()
        chosen = PolarsRemoteOperator(task_id="chosen", query=numbers.function, compute=choose())
    assert engine(in_memory_airflow, own) == "in-memory"
    assert engine(in_memory_airflow, chosen, xcoms={"etl.choose": IN_MEMORY.to_dict()}) == "in-memory"


def test_compute_of_the_group_wins_over_that_of_a_connection(in_memory_airflow: InMemoryAirflow) -> None:
    """The nearest to the code decides."""
    in_memory_airflow.add_connection("eu", "polars", extra={"default_compute": IN_MEMORY.to_dict()})
    with DAG("group", schedule=None), polars_compute("etl", STREAMING):
        made = numbers.override(conn_id="eu")()
    assert engine(in_memory_airflow, made) == "streaming"


def test_innermost_group_decides(in_memory_airflow: InMemoryAirflow) -> None:
    """Plain groups between do not matter."""
    with DAG("nested", schedule=None), polars_compute("outer", STREAMING), TaskGroup("plain"):
        outer = numbers()
        with polars_compute("inner", IN_MEMORY), TaskGroup("deep"):
            inner = numbers()
    assert inner.operator.task_id == "outer.plain.inner.deep.numbers"
    assert [engine(in_memory_airflow, made) for made in (outer, inner)] == ["streaming", "in-memory"]


def test_template_of_the_group_is_rendered_in_each_task(in_memory_airflow: InMemoryAirflow) -> None:
    """With that task's parameters and run; the group keeps its template."""
    with DAG("templated", schedule=None), polars_compute("etl", LocalCompute(engine="{{ params.engine }}")) as group:  # type: ignore[arg-type]
        first = numbers.override(task_id="a", params={"engine": "streaming"})()
        second = numbers.override(task_id="b", params={"engine": "in-memory"})()
    assert [engine(in_memory_airflow, made) for made in (first, second)] == ["streaming", "in-memory"]
    assert group.compute.engine == "{{ params.engine }}"


def test_template_of_the_group_that_does_not_render_is_explained(in_memory_airflow: InMemoryAirflow) -> None:
    """As one in the task."""
    with DAG("templated", schedule=None), polars_compute("etl", LocalCompute(python="/opt/{{ ds }}/bin/python")):
        made = numbers()
    text = failure(in_memory_airflow.run_task(made, logical_date=None, max_tries=2))
    assert text.startswith("TemplateRenderError: The template '/opt/{{ ds }}/bin/python' does not render: ")
    assert "dag_run.run_after | ds" in text


def test_mapped_tasks_in_a_group_use_its_compute(in_memory_airflow: InMemoryAirflow) -> None:
    """Decorated and classic, unless they have their own."""
    with DAG("mapped", schedule=None), polars_compute("etl", STREAMING):
        decorated = numbers.expand(start=[1, 2])
        classic = PolarsRemoteOperator.partial(task_id="classic", query=numbers.function).expand(query_kwargs=[{}])
        own = numbers.override(task_id="own", compute=IN_MEMORY).expand(start=[1])
        each = PolarsRemoteOperator.partial(task_id="each", query=numbers.function).expand(
            compute=[IN_MEMORY, STREAMING]
        )
    assert engine(in_memory_airflow, decorated, map_index=1) == "streaming"
    assert engine(in_memory_airflow, classic, map_index=0) == "streaming"
    assert engine(in_memory_airflow, own, map_index=0) == "in-memory"
    assert engine(in_memory_airflow, each, map_index=0) == "in-memory"


def test_groups_inside_mapped_groups_run(dag_test: Callable[..., DagRun]) -> None:
    """And mapped groups inside a compute group, with plain tasks beside."""
    with DAG("mapped_groups", schedule=None) as dag, polars_compute("etl", STREAMING) as outer:

        @task_group
        def region(start: int) -> None:
            with polars_compute("inner", IN_MEMORY):
                numbers(start)

        region.expand(start=[1, 2])

        @task
        def plain() -> str:
            return "plain"

        plain()
    with dag:
        outer >> numbers.override(task_id="after")()
    run = dag_test(dag, logical_date=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert run.state == "success"
    assert task_states(run) == dict.fromkeys(
        ["etl.region.inner.numbers[0]", "etl.region.inner.numbers[1]", "etl.plain", "after"], "success"
    )


FORMS: list[Callable[..., Any]] = [
    lambda **arguments: polars_task(**arguments)(numbers.function)(),
    lambda **arguments: polars_task(**arguments)(numbers.function).expand(start=[1]),
    lambda **arguments: PolarsRemoteOperator(task_id="numbers", query=numbers.function, **arguments),
    lambda **arguments: PolarsRemoteOperator.partial(task_id="numbers", query=numbers.function, **arguments).expand(
        query_kwargs=[{}]
    ),
]
every_form = pytest.mark.parametrize("make", FORMS, ids=["decorated", "decorated mapped", "classic", "classic mapped"])


ELSEWHERE = ClusterCompute(uri="http://node:5051")
"""A compute that writes no NDJSON."""


@every_form
def test_option_that_the_groups_compute_cannot_honour_is_refused_at_parse(make: Callable[..., Any]) -> None:
    """When the group ends, before anything runs."""
    refused = pytest.raises(RefusedOptionError, match="priority=3 is an option that LocalCompute cannot honour")
    with DAG("refused", schedule=None), refused, polars_compute("etl", STREAMING):
        make(priority=3)


@every_form
def test_sink_that_the_groups_compute_cannot_write_is_refused_at_parse(make: Callable[..., Any]) -> None:
    """Naming both, and what to use instead."""
    refused = pytest.raises(UnsupportedSinkError)
    with DAG("refused", schedule=None), refused as caught, polars_compute("etl", ELSEWHERE):
        make(sink={"a": NdjsonSink("/lake/a.jsonl")})
    assert str(caught.value) == (
        "NdjsonSink cannot be written by 'cluster' compute; it can by: dask, local. Use ParquetSink there instead."
    )


@every_form
def test_task_with_a_compute_of_its_own_is_checked_against_that(make: Callable[..., Any]) -> None:
    """The group's does not matter to it."""
    with DAG("accepted", schedule=None) as dag, polars_compute("etl", ELSEWHERE):
        make(sink=NdjsonSink("/lake/a.jsonl"), compute=LocalCompute())
    assert list(dag.task_ids) == ["etl.numbers"]


def test_task_mapped_over_computes_is_not_checked_against_the_groups() -> None:
    """It never uses it."""
    with DAG("accepted", schedule=None) as dag, polars_compute("etl", ELSEWHERE):
        PolarsRemoteOperator.partial(task_id="t", query=numbers.function, sink=NdjsonSink("/lake/a.jsonl")).expand(
            compute=[LocalCompute()]
        )
    assert list(dag.task_ids) == ["etl.t"]


def test_error_of_the_dag_itself_is_not_covered() -> None:
    """What the author's code raises inside the group comes out as it is."""

    def author() -> None:
        numbers.override(priority=3)()
        raise ZeroDivisionError

    with DAG("broken", schedule=None), pytest.raises(ZeroDivisionError), polars_compute("etl", STREAMING):
        author()


def test_group_that_was_refused_does_not_spoil_the_next_dag() -> None:
    """Airflow's notion of the current group is left as it was."""
    with DAG("refused", schedule=None), pytest.raises(RefusedOptionError), polars_compute("etl", STREAMING):
        numbers.override(priority=3)()
    with DAG("next", schedule=None) as dag:
        numbers()
    assert list(dag.task_ids) == ["numbers"]


@pytest.mark.parametrize("compute", [None, "local", 5, {"threads": 1}])
def test_group_needs_a_compute(compute: Any) -> None:
    """Said where it is written."""
    with DAG("needs", schedule=None), pytest.raises(ConfigurationError, match="compute"):
        polars_compute("etl", compute)


def test_group_takes_what_airflows_groups_take() -> None:
    """Default arguments, prefixes, tooltips."""
    more = {"prefix_group_id": False, "default_args": {"retries": 4}, "tooltip": "tip"}
    with DAG("kwargs", schedule=None) as dag, polars_compute("etl", STREAMING, **more) as group:
        numbers()
    assert dag.get_task("numbers").retries == 4
    assert group.tooltip == "tip"
