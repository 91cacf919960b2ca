"""What ``run=`` takes, and what it refuses with a hint of what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import ClusterCompute, LocalCompute, PolarsQuerySensor
from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.sensors.runs import changed, leaves, read_runs
from tests.unit.outcomes import failure

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow


def run_on(compute: Compute, query_id: str = "q1") -> dict[str, Any]:
    """Return a query as a task returns it."""
    return Run(query_id=query_id, output="return_value", compute=compute.to_dict(), submitted_at=0.0).to_dict()


CLUSTER = ClusterCompute(uri="http://127.0.0.1:9")
ONE, TWO = run_on(CLUSTER), run_on(CLUSTER, "q2")
RESULT = ResultRef.build(
    locations=["/r"], root="/r", format="parquet", rows=1, bytes=1, schema=[], query_id="q9", timings={}
)


class Lazy:
    """A sequence as Airflow hands on those of mapped tasks."""

    def __iter__(self) -> Any:
        return iter([ONE, TWO])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ONE, "q1"),
        ([ONE, TWO], ["q1", "q2"]),
        ((ONE,), ["q1"]),
        (Lazy(), ["q1", "q2"]),
        ({"a": ONE, "b": TWO}, {"a": "q1", "b": "q2"}),
        ([{"a": ONE}, {"a": TWO}], [{"a": "q1"}, {"a": "q2"}]),
    ],
    ids=["one", "list", "tuple", "mapped", "dict", "dicts"],
)
def test_queries_keep_their_arrangement(value: Any, expected: Any) -> None:
    tree = read_runs(value)

    assert changed(tree, lambda run: run.query_id) == expected
    assert {type(run) for run in leaves(tree)} == {Run}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "run= must be a query, got NoneType: None. Give it what a task with wait=False returns, or a list or"),
        (7, "run= must be a query, got int: 7."),
        ("{'query_id': 'q1'}", "A template makes text of it: write run=task() or run=task.output."),
        ([], "run=[] names no query."),
        ({"a": []}, "run={'a': []} names no query."),
        ([ONE, None], "run=[1] must be a query, got NoneType: None."),
        ({"query_id": "q1"}, "run= is no query that a task has submitted: "),
        ({"a": {**ONE, "status": 3}}, "run=['a'] is no query that a task has submitted: "),
        ({**ONE, "compute": {"kind": "mainframe"}}, "run= is no query that a task has submitted: "),
        (dict(RESULT), "run= is the result of the query q9, which has ended: there is nothing to wait for."),
        (run_on(LocalCompute()), "run= is a query on LocalCompute(), which has ended with its task"),
    ],
)
def test_what_is_no_query_ends_the_task_at_once(value: Any, message: str, in_memory_airflow: InMemoryAirflow) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_runs(value)
    assert message in str(caught.value)
    outcome = in_memory_airflow.run_task(PolarsQuerySensor(task_id="ended", run=value), max_tries=3)
    assert failure(outcome) == f"ConfigurationError: {caught.value}"
