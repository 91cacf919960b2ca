"""Functions that submit by themselves, as Polars' own documentation does: each query is one of the task's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import polars_cloud as pc
import pytest

from airflow_provider_polars import ParquetSink
from tests.harness.waiting import wait_for
from tests.unit.outcomes import failure, rows, succeeded
from tests.wire.cluster.own import Tasks, broken, frame

if TYPE_CHECKING:
    from tests.wire.gates import Gate

Form = Callable[[pl.LazyFrame, str], Any]
STORE_SECONDS = 20.0

NOT_BLOCKING: dict[str, Form] = {
    "remote().sink_parquet()": lambda lf, at: lf.remote().sink_parquet(f"{at}/p/"),
    "remote().sink_csv()": lambda lf, at: lf.remote().single_node().sink_csv(f"{at}/rows.csv"),
    "remote().sink_ipc()": lambda lf, at: lf.remote().distributed().sink_ipc(f"{at}/ipc/"),
    "remote().sink_batches()": lambda lf, at: lf.remote().sink_batches(lambda batch: None),
    "remote().execute(blocking=False)": lambda lf, at: lf.remote().execute(blocking=False),
    "remote().labels()...": lambda lf, at: lf.remote().labels("mine").single_node().execute(blocking=False),
    "spawn()": lambda lf, at: pc.spawn(lf, dst=f"{at}/spawned/"),
    "spawn_many()": lambda lf, at: pc.spawn_many([lf], dst=f"{at}/many/"),
}
BLOCKING: dict[str, Form] = {
    "remote().execute()": lambda lf, at: lf.remote().execute(),
    "remote().execute(blocking=False).await_result()": (
        lambda lf, at: lf.remote().execute(blocking=False).await_result()
    ),
    "spawn_blocking()": lambda lf, at: pc.spawn_blocking(lf, dst=f"{at}/spawned/"),
    "spawn_many_blocking()": lambda lf, at: pc.spawn_many_blocking([lf], dst=f"{at}/many/"),
    "execute(RemoteEngine())": lambda lf, at: lf.execute(engine=pl.RemoteEngine()),
}
ROWS_HERE: dict[str, Form] = {
    "remote().collect()": lambda lf, at: lf.remote().collect().height,
    "remote().collect_batches()": lambda lf, at: sum(batch.height for batch in lf.remote().collect_batches()),
    "remote().show()": lambda lf, at: lf.remote().show().height,
    "remote().await_and_scan()": lambda lf, at: lf.remote().await_and_scan().collect().height,
    "collect(RemoteEngine())": lambda lf, at: lf.collect(engine=pl.RemoteEngine()).height,
}


def each(*forms: dict[str, Form]) -> pytest.MarkDecorator:
    """Run a test with each form."""
    return pytest.mark.parametrize(
        "form", [pytest.param(form, id=name) for several in forms for name, form in several.items()]
    )


@each(NOT_BLOCKING, BLOCKING, ROWS_HERE)
def test_each_form_is_a_run_of_the_task_and_is_labelled(tasks: Tasks, tmp_path: Path, form: Form) -> None:
    seen: list[list[str]] = []

    def function() -> None:
        form(frame(), str(tmp_path))
        seen.append([run.query_id for run in tasks.stored])

    result = succeeded(tasks.run(function))

    (submission,) = tasks.cluster.recorder.submissions
    assert seen == [[submission["query_id"]]]
    assert tasks.states == ["SUCCESS"]
    assert result["query_id"] == submission["query_id"]
    assert {"airflow", "dag:in_memory", "task:query", "run:manual"} <= set(submission["labels"])
    assert tasks.stored == []


@each(BLOCKING, ROWS_HERE)
def test_a_form_that_waits_is_a_run_while_it_does(tasks: Tasks, tmp_path: Path, gate: Gate, form: Form) -> None:
    stored: list[str] = []

    def look() -> None:
        gate.wait_until_started("held")
        with contextlib.suppress(TimeoutError):
            runs = wait_for(lambda: tasks.stored or None, STORE_SECONDS, lambda: "no run", interval=0.01)
            stored.extend(run.query_id for run in runs)
        gate.open()

    looking = threading.Thread(target=look)
    looking.start()
    succeeded(tasks.run(lambda: form(gate.frame("held"), str(tmp_path))))
    looking.join()

    assert stored == tasks.submitted


@each(NOT_BLOCKING, BLOCKING)
def test_a_handle_that_is_returned_becomes_the_reference_to_its_result(
    tasks: Tasks, tmp_path: Path, form: Form
) -> None:
    result = succeeded(tasks.run(lambda: form(frame(), str(tmp_path))))
    (ref,) = result if isinstance(result, list) else [result]

    assert [ref["query_id"]] == tasks.submitted
    assert ref["rows"] == (3 if ref["locations"] else None)
    if ref["format"] == "parquet":
        assert rows(ref) == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_handles_in_lists_and_dicts_become_references_and_all_else_stays(tasks: Tasks) -> None:
    def function() -> Any:
        first = frame().remote().execute(blocking=False)
        second = frame(2).remote().execute()
        return {"days": [first, ("text", second)], "height": second.n_rows_total, "nothing": None}

    result = succeeded(tasks.run(function))

    first, (text, second) = result["days"]
    assert [first["query_id"], second["query_id"]] == tasks.submitted
    assert (first["rows"], text, second["rows"], result["height"], result["nothing"]) == (3, "text", 2, 2, None)


def test_a_function_that_returns_nothing_hands_on_the_references_of_all_its_queries(tasks: Tasks) -> None:
    def function() -> None:
        for height in (1, 2):
            frame(height).remote().execute(blocking=False)

    result = succeeded(tasks.run(function))

    assert [ref["query_id"] for ref in result] == tasks.submitted
    assert [ref["rows"] for ref in result] == [1, 2]


def test_a_value_of_its_own_is_handed_on_after_all_queries_have_ended(tasks: Tasks) -> None:
    def function() -> int:
        frame().remote().execute(blocking=False)
        return 7

    assert succeeded(tasks.run(function)) == 7
    assert tasks.states == ["SUCCESS"]


def test_a_lazyframe_returned_after_an_own_submission_runs_too(tasks: Tasks, tmp_path: Path) -> None:
    def function() -> pl.LazyFrame:
        return frame().remote().await_and_scan().sum()

    ref = succeeded(tasks.run(function, sink=ParquetSink(str(tmp_path / "sum.parquet"))))

    assert ref["query_id"] == tasks.submitted[1]
    assert tasks.states == ["SUCCESS", "SUCCESS"]
    assert rows(ref) == [{"a": 3}]
    assert all(set(submission["labels"]) > {"airflow"} for submission in tasks.cluster.recorder.submissions)


def test_an_iceberg_table_that_the_function_writes_is_a_query_of_the_task(tasks: Tasks, tmp_path: Path) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("local", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("sales")
    table = catalog.create_table("sales.orders", frame().collect().to_arrow().schema)

    result = succeeded(tasks.run(lambda: frame().remote().sink_iceberg(table, mode="append")))

    assert [result["query_id"]] == tasks.submitted
    assert table.refresh().scan().to_arrow().num_rows == 3


def test_queries_that_threads_of_the_function_submit_are_runs_with_names_of_their_own(tasks: Tasks) -> None:
    kept: list[str] = []

    def function() -> list[Any]:
        with ThreadPoolExecutor(8) as pool:
            handles = list(pool.map(lambda n: frame(n).remote().single_node().execute(blocking=False), range(1, 25)))
        kept.extend(run.query_id for run in tasks.stored)
        return handles

    result = succeeded(tasks.run(function))

    assert sorted(kept) == sorted(tasks.submitted)
    assert [ref["rows"] for ref in result] == list(range(1, 25))
    assert len({ref["query_id"] for ref in result}) == 24


def test_a_plan_that_is_only_explained_is_no_query(tasks: Tasks) -> None:
    def function() -> pl.LazyFrame:
        assert "DF" in frame().remote().explain(plan_stage="ir")
        assert tasks.stored == []
        return frame()

    ref = succeeded(tasks.run(function))

    assert tasks.submitted[1:] == [ref["query_id"]]


def test_labels_of_the_task_and_of_the_query_come_together(tasks: Tasks) -> None:
    def function() -> None:
        frame().remote().labels(["mine", "nightly"]).execute()

    succeeded(tasks.run(function, labels=["nightly", "team:a"]))

    (submission,) = tasks.cluster.recorder.submissions
    assert sorted(submission["labels"]) == sorted(
        ["airflow", "dag:in_memory", "task:query", "run:manual", "nightly", "team:a", "mine"]
    )


def test_no_more_labels_are_sent_than_a_query_can_have(tasks: Tasks) -> None:
    own = [f"label {n}" for n in range(62)]

    succeeded(tasks.run(lambda: frame().remote().labels(own).execute()))

    (submission,) = tasks.cluster.recorder.submissions
    assert len(submission["labels"]) == 64
    assert set(own) < set(submission["labels"])


@pytest.mark.parametrize("catches", [False, True], ids=["raises", "is caught"])
def test_a_query_that_fails_while_the_function_waits_fails_the_task(tasks: Tasks, catches: bool) -> None:
    def function() -> str:
        frame().remote().execute(blocking=False)
        try:
            broken().remote().execute()
        except Exception:
            if not catches:
                raise
        return "done"

    error = failure(tasks.run(function))

    assert error.startswith("QueryFailedError: ")
    assert "by design" in error
    assert tasks.states == ["SUCCESS", "FAILED"]
    assert [run.query_id for run in tasks.stored] == tasks.submitted


def test_a_query_that_fails_after_the_function_has_returned_fails_the_task_by_name(tasks: Tasks) -> None:
    def function() -> str:
        for query in (frame(), broken(), frame()):
            query.remote().single_node().execute(blocking=False)
        return "done"

    error = failure(tasks.run(function))

    assert error.startswith("QueryFailedError: 1 of 3 outputs failed. query_2: ")
    assert "by design" in error
    assert "Without error: query_1, query_3" in error


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sink": ParquetSink("/nowhere/x/")}, "sink="),
        ({"priority": 5}, "priority="),
        ({"engine": "streaming", "distributed": True, "n_retries": 2}, "engine=, distributed=, n_retries="),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_do_nothing_for_its_own_queries_is_refused_and_they_are_cancelled(
    tasks: Tasks, gate: Gate, options: dict[str, Any], named: str
) -> None:
    error = failure(tasks.run(lambda: gate.frame("held").remote().execute(blocking=False), **options))

    assert error.startswith("ConfigurationError: The query ")
    assert f"submits by itself, and {named} of the task would count for a LazyFrame alone" in error
    assert ("/nowhere/x/" in error) == ("sink" in options)
    assert tasks.states == ["CANCELED"]


def test_a_function_that_raises_after_it_submitted_has_its_queries_cancelled(tasks: Tasks, gate: Gate) -> None:
    def function() -> None:
        for name in ("one", "two"):
            gate.frame(name).remote().single_node().execute(blocking=False)
        raise LookupError("of the function")

    assert failure(tasks.run(function)) == "LookupError: of the function"
    assert tasks.states == ["CANCELED", "CANCELED"]


@pytest.mark.parametrize("value", [None, 5, {"a": 1}], ids=repr)
def test_a_function_that_submits_nothing_and_returns_no_query_is_an_error(tasks: Tasks, value: Any) -> None:
    error = failure(tasks.run(lambda: value))

    assert "QueryDefinitionError" in error
    assert "must return a LazyFrame" in error
    assert tasks.submitted == []


def test_rows_inside_of_what_a_function_hands_on_are_refused_by_name(tasks: Tasks) -> None:
    error = failure(tasks.run(lambda: {"samples": [frame().remote().show()]}))

    assert "QueryDefinitionError" in error
    assert "returns a DataFrame inside of a dict, and rows do not go from task to task" in error


def test_without_waiting_the_runs_are_handed_on_and_stay_stored(tasks: Tasks, gate: Gate) -> None:
    def function() -> None:
        for name in ("one", "two"):
            gate.frame(name).remote().single_node().execute(blocking=False)

    result = succeeded(tasks.run(function, wait=False))

    assert [run["query_id"] for run in result.values()] == tasks.submitted
    assert [run.query_id for run in tasks.stored] == tasks.submitted
    assert list(result) == ["query_1", "query_2"]
    gate.open()


def test_the_link_of_the_task_leads_to_its_first_query(tasks: Tasks) -> None:
    def function() -> None:
        for _ in range(2):
            frame().remote().execute()

    outcome = tasks.run(function)

    links = [value for value in outcome.xcoms.values() if isinstance(value, str)]
    assert set(links) == {f"{tasks.cluster.observatory}/api/v1/query/{tasks.submitted[0]}"}
