"""``@polars_task`` as a decorator: with and without arguments, and what Airflow shows of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_polars import LocalCompute, ParquetSink, PolarsRemoteOperator, polars_task
from airflow_provider_polars.exceptions import ConfigurationError
from tests.unit.outcomes import rows, succeeded

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("results_path")


def numbers(count: int = 2) -> pl.LazyFrame:
    """Return 0, 1 ..."""
    return pl.LazyFrame({"a": range(count)})


@pytest.mark.parametrize("decorate", [polars_task, polars_task(), polars_task(task_id="numbers", retries=2)])
def test_decorator_works_with_and_without_arguments(in_memory_airflow: InMemoryAirflow, decorate: Any) -> None:
    """The function's name is the task's."""
    made = decorate(numbers)()
    assert made.operator.task_id == "numbers"
    assert rows(succeeded(in_memory_airflow.run_task(made))) == [{"a": 0}, {"a": 1}]


def test_function_can_be_called_twice_and_by_itself(in_memory_airflow: InMemoryAirflow) -> None:
    """Each call is a task; ``function`` is the plain function for a test of one's own."""
    work = polars_task(numbers)
    with DAG("twice", schedule=None):
        first, second = work(1), work(3)
    assert (first.operator.task_id, second.operator.task_id) == ("numbers", "numbers__1")
    assert [len(rows(succeeded(in_memory_airflow.run_task(made)))) for made in (first, second)] == [1, 3]
    assert work.function(4).collect().height == 4


def test_override_changes_one_call(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """Ours and Airflow's arguments."""
    work = polars_task(numbers)
    with DAG("override", schedule=None):
        made = work.override(task_id="other", sink=ParquetSink(f"{tmp_path}/x.parquet"), head_rows=1, retries=3)()
    result = succeeded(in_memory_airflow.run_task(made))
    assert (result["locations"], result["head"]) == ([f"{tmp_path}/x.parquet"], [{"a": 0}])
    assert (made.operator.task_id, made.operator.retries) == ("other", 3)


def test_dict_without_sinks_is_refused_at_parse() -> None:
    """A function that says it returns a dict names its outputs."""

    def split() -> dict[str, pl.LazyFrame]:
        return {}

    with pytest.raises(ConfigurationError, match="split returns a dict: name its outputs with sink="):
        polars_task(split)


def test_task_is_shown_as_what_it_is() -> None:
    """Name of the decorator, and renderers for values."""
    operator = polars_task(numbers)().operator
    assert operator.custom_operator_name == "@task.polars"
    assert isinstance(operator, PolarsRemoteOperator)
    assert {"sink": "json", "compute": "json", "op_kwargs": "py"}.items() <= operator.template_fields_renderers.items()


def build() -> DAG:
    """Make a DAG of all forms."""
    sink = ParquetSink("s3://lake/{{ ds }}/", storage_options={"region": "x"})
    with DAG("stored", schedule=None) as dag:
        work = polars_task(sink=sink, compute=LocalCompute(threads=2))(numbers)
        work(3)
        work.override(task_id="mapped").expand(count=[1, 2])
        PolarsRemoteOperator(task_id="classic", query=numbers, sink={"a": sink, "b": None})
        PolarsRemoteOperator.partial(task_id="classic_mapped", query=numbers, sink=sink).expand(query_kwargs=[{}])
        PolarsRemoteOperator.partial(task_id="over_sinks", query="package.module:function").expand(sink=[sink])
    return dag


def test_stored_dag_is_the_same_in_every_process() -> None:
    """No address, no source text, no templates lost: a DAG's version changes only when its author changes it."""
    first, second = (json.dumps(DagSerialization.to_dict(build()), sort_keys=True) for _ in range(2))
    assert first == second
    assert " at 0x" not in first
    assert "range(count)" not in first
    assert first.count("s3://lake/{{ ds }}/") == 5


def test_stored_dag_can_be_read_back() -> None:
    """As the scheduler does."""
    stored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(build()))))
    assert sorted(stored.task_dict) == ["classic", "classic_mapped", "mapped", "numbers", "over_sinks"]
    shown = stored.task_dict["numbers"].sink
    assert shown == {"kind": "parquet", "path": "s3://lake/{{ ds }}/", "storage_options": {"region": "x"}}
