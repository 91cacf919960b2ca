"""Where outputs go that have no sink, what becomes of handles, and which results an asset's event describes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_polars import LocalCompute, ParquetSink, PolarsRemoteOperator, polars_task
from airflow_provider_polars.backends.base import Handle, Output
from airflow_provider_polars.links.observatory import LINK_KEY
from airflow_provider_polars.operators.outputs import announce, make_outputs, replace_handles
from airflow_provider_polars.query.result import ResultRef

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

SINK = ParquetSink("/lake/orders/2026-01-01.parquet")


def context(**names: Any) -> Any:
    """Return the parts of a task's context that count here."""
    ti = SimpleNamespace(dag_id="sales", run_id="manual", task_id="t", map_index=-1, **names)
    return {"ti": ti, "outlet_events": OutletEventAccessors(), "task": SimpleNamespace(outlets=[SINK.asset()])}


def result(query_id: str = "q1") -> ResultRef:
    """Return the reference to a result."""
    return ResultRef.build(
        locations=[SINK.path],
        root=SINK.path,
        format="parquet",
        rows=3,
        bytes=None,
        schema=[("a", "Int64")],
        query_id=query_id,
        timings={},
    )


# ---- without a sink


def test_an_output_without_a_sink_has_none_where_the_compute_keeps_results_itself() -> None:
    kept, written = make_outputs({"a": None, "b": SINK}, context(), kept_by_compute=True)
    assert (kept.name, kept.sink, kept.storage_options) == ("a", None, {})
    assert written.sink == SINK
    assert kept.mark != written.mark


def test_an_output_without_a_sink_has_a_managed_location_elsewhere(results_path: Path) -> None:
    (output,) = make_outputs({"return_value": None}, context(), kept_by_compute=False)
    assert output.sink == ParquetSink(f"{results_path}/sales/manual/t/return_value.parquet")


def test_the_mark_of_an_output_does_not_depend_on_who_keeps_it(results_path: Path) -> None:
    (kept,), (managed,) = (make_outputs({"a": None}, context(), kept_by_compute=kept) for kept in (True, False))
    assert kept.mark == managed.mark


# ---- events of assets


def events(results: dict[str, ResultRef], *outputs: Output) -> dict[str, Any]:
    """Return what the event of the asset says."""
    given = context()
    announce(results, outputs, ("finance",), given)
    return dict(given["outlet_events"][SINK.asset()].extra)


def test_an_event_describes_what_was_written_to_the_place_of_its_asset() -> None:
    described = events({"a": result()}, Output(name="a", sink=SINK, mark="0"))
    assert described == {
        "location": SINK.path,
        "rows": 3,
        "bytes": None,
        "schema_hash": result()["schema_hash"],
        "query_id": "q1",
        "labels": ["finance"],
    }


def test_a_result_that_the_cluster_keeps_is_no_asset() -> None:
    assert events({"a": result()}, Output(name="a", sink=None, mark="0")) == {}


def test_a_query_that_the_function_submitted_by_itself_is_no_asset() -> None:
    """The place that it wrote to is not known."""
    outputs = (Output(name="return_value", sink=None, mark="0"),)
    assert events({"query_1": result()}, *outputs) == {}


# ---- handles


def test_handles_become_the_results_of_their_queries_at_any_depth() -> None:
    results = {"query_1": result("q1"), "query_2": result("q2")}
    first, second = dict(results["query_1"]), dict(results["query_2"])

    assert replace_handles(Handle("query_2"), results) == second
    assert replace_handles({"a": [Handle("query_1"), {"b": Handle("query_2")}], "c": 3}, results) == {
        "a": [first, {"b": second}],
        "c": 3,
    }
    assert type(replace_handles(Handle("query_1"), results)) is dict


def test_what_has_no_handle_in_it_stays_as_it_is() -> None:
    value = {"rows": 3, "names": ["a", None], "deep": {"x": [1.5, True]}}
    assert replace_handles(value, {}) == value


# ---- the link to a query


def numbers(start: int = 0) -> pl.LazyFrame:
    return pl.LazyFrame({"a": [start]})


@pytest.mark.parametrize("query", [numbers, lambda: numbers().select("absent")], ids=["succeeds", "fails"])
@pytest.mark.parametrize("compute", [None, LocalCompute(threads=1)], ids=["default", "child"])
def test_a_query_on_the_worker_has_no_link_and_no_complaint_about_that(
    in_memory_airflow: InMemoryAirflow,
    results_path: Path,
    capfd: pytest.CaptureFixture[str],
    query: Any,
    compute: LocalCompute | None,
) -> None:
    given = f"{__name__}:numbers" if query is numbers else query
    outcome = in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=given, compute=compute))

    assert set(outcome.xcoms) <= {"return_value", "polars_run"}
    assert "link" not in capfd.readouterr().out.replace(str(results_path), "").lower()
    assert [request.path for request in outcome.requests if LINK_KEY in request.path] == []


def test_a_mapped_query_on_the_worker_has_no_link_either(
    in_memory_airflow: InMemoryAirflow, results_path: Path
) -> None:
    with DAG("mapped", schedule=None):
        made = polars_task(numbers).expand(start=[1, 2])
    assert set(in_memory_airflow.run_task(made, map_index=1).xcoms) == {"return_value", "polars_run"}
