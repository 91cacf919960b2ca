"""How a task ends when it does not succeed: at once, with another try, skipped, cancelled; nothing is lost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_polars import LocalCompute, ParquetSink, PolarsRemoteOperator, polars_task
from airflow_provider_polars.exceptions import QueryCancelledError
from tests.unit.outcomes import failure, rows, succeeded

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome

pytestmark = pytest.mark.usefixtures("results_path")


def numbers() -> pl.LazyFrame:
    """Return 0, 1, 2."""
    return pl.LazyFrame({"a": [0, 1, 2]})


class Blockade:
    """A query that has begun and does not end before it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()
        self.ended = threading.Event()

    def query(self) -> pl.LazyFrame:
        """Return a LazyFrame that blocks while it runs."""

        def block(frame: pl.DataFrame) -> pl.DataFrame:
            self.begun.set()
            self.over.wait(60)
            self.ended.set()
            return frame

        return numbers().map_batches(block)


@pytest.fixture
def blockade() -> Iterator[Blockade]:
    """Return a blocking query, and let it end after the test."""
    blocking = Blockade()
    yield blocking
    blocking.over.set()
    if blocking.begun.is_set():
        assert blocking.ended.wait(60)


def within_a_second(late: Callable[[], tuple[float, TaskOutcome]]) -> TaskOutcome:
    """Return how a task ended that was late by less than a second; a busy machine gets a few attempts."""
    seconds = []
    for _ in range(5):
        second, outcome = late()
        seconds.append(second)
        if 0 <= second < 1:
            return outcome
    raise AssertionError(f"it was late by {seconds}")


def raising(error: BaseException) -> Any:
    """Return a query function that raises ``error``."""

    def query() -> pl.LazyFrame:
        raise error

    return query


@pytest.mark.parametrize(
    ("value", "described"),
    [(None, "None (is a return missing?)"), (5, "int"), ([numbers()], "list"), (pl.Series([1]), "Series")],
)
@pytest.mark.parametrize("compute", [None, LocalCompute(engine="streaming")])
def test_function_that_returns_something_else_is_refused(
    in_memory_airflow: InMemoryAirflow, value: Any, described: str, compute: Any
) -> None:
    """What it returned is told, and no retry follows."""

    @polars_task(compute=compute)
    def wrong() -> Any:
        return value

    text = failure(in_memory_airflow.run_task(wrong(), max_tries=2))
    assert text.startswith("QueryDefinitionError: The query ")
    assert "wrong must return a LazyFrame, got " in text
    assert described in text


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (lambda: numbers().select("absent"), "SchemaError"),
        (lambda: numbers().select(pl.col("a").str.to_uppercase()), "SchemaError"),
        (lambda: "a frame", "QueryDefinitionError"),
    ],
)
def test_permanent_error_is_not_retried(in_memory_airflow: InMemoryAirflow, query: Any, kind: str) -> None:
    """The task fails although tries are left; the class stays ours."""
    outcome = in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=query), max_tries=5)
    assert failure(outcome).startswith(f"{kind}: ")
    assert type(outcome.error).__module__ == "airflow_provider_polars.exceptions"


@pytest.mark.parametrize("error", [ValueError("on purpose"), OSError(5, "input/output error"), RuntimeError("later")])
def test_error_of_the_function_is_retried_as_it_is(in_memory_airflow: InMemoryAirflow, error: Exception) -> None:
    """It is the user's own, and only they know what it means."""
    work = PolarsRemoteOperator(task_id="t", query=raising(error))
    outcome = in_memory_airflow.run_task(work, max_tries=1)
    assert outcome.state == "up_for_retry"
    assert outcome.error is error


def test_error_while_the_query_runs_is_retried(in_memory_airflow: InMemoryAirflow) -> None:
    """It is ours, with the user's words in it."""

    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("bang")

    work = PolarsRemoteOperator(task_id="t", query=lambda: numbers().map_batches(explode))
    outcome = in_memory_airflow.run_task(work, max_tries=1)
    assert outcome.state == "up_for_retry"
    assert type(outcome.error).__name__ == "QueryFailedError"
    assert "bang" in str(outcome.error)


def test_sink_that_cannot_be_written_is_retried(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """A disk may have space later; the message names the target."""
    (tmp_path / "file").write_text("no folder")
    sink = ParquetSink(f"{tmp_path}/file/a.parquet")
    outcome = in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=numbers, sink=sink), max_tries=1)
    assert outcome.state == "up_for_retry"
    assert type(outcome.error).__name__ == "SinkWriteError"
    assert f"Cannot write {tmp_path}/file/a.parquet" in str(outcome.error)


def test_function_may_skip_its_task(in_memory_airflow: InMemoryAirflow) -> None:
    """Airflow's own exceptions mean there what they mean anywhere."""
    skipped = in_memory_airflow.run_task(
        PolarsRemoteOperator(task_id="t", query=raising(AirflowSkipException("empty")))
    )
    failed = PolarsRemoteOperator(task_id="f", query=raising(AirflowFailException("no")))
    assert skipped.state == "skipped"
    assert in_memory_airflow.run_task(failed, max_tries=3).state == "failed"


def test_outputs_that_did_not_fail_are_told_and_not_kept(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """All end before the task fails; each that failed is named with its reason, and nothing was replaced."""
    sinks = {name: ParquetSink(f"{tmp_path}/{name}.parquet") for name in ("good", "bad", "worse")}
    work = PolarsRemoteOperator(
        task_id="t",
        query=lambda: {"good": numbers(), "bad": numbers().select("absent"), "worse": numbers().select("none")},
        sink=sinks,
    )
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith("SchemaError: 2 of 3 outputs failed. ")
    assert "bad: " in text
    assert "worse: " in text
    assert "Without error: good; no local result was replaced." in text
    assert list(tmp_path.glob("*.parquet")) == []


@pytest.mark.parametrize("name", ["a.parquet", "a/"])
def test_failed_run_leaves_the_earlier_result(in_memory_airflow: InMemoryAirflow, tmp_path: Path, name: str) -> None:
    """File or directory, whether the query could be built or not; nothing staged is left either."""

    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("bang")

    sink = ParquetSink(f"{tmp_path}/{name}")
    good = succeeded(in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=numbers, sink=sink)))
    for query in (raising(ValueError("early")), lambda: numbers().map_batches(explode)):
        outcome = in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=query, sink=sink))
        assert outcome.state == "failed"
        assert rows(good) == [{"a": 0}, {"a": 1}, {"a": 2}]
    assert [path.name for path in tmp_path.iterdir() if path.name != "results"] == [name.rstrip("/")]


def test_timeout_cancels_within_a_second(
    in_memory_airflow: InMemoryAirflow, blockade: Blockade, tmp_path: Path
) -> None:
    """The task does not wait for the query; what was there stays."""
    sink = ParquetSink(f"{tmp_path}/a.parquet")
    good = succeeded(in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=numbers, sink=sink)))

    def late() -> tuple[float, TaskOutcome]:
        started = time.monotonic()
        slow = PolarsRemoteOperator(task_id="t", query=blockade.query, sink=sink, timeout=0.3)
        outcome = in_memory_airflow.run_task(slow, max_tries=1)
        return time.monotonic() - started - 0.3 if blockade.begun.is_set() else math.inf, outcome

    outcome = within_a_second(late)
    assert outcome.state == "up_for_retry"
    assert type(outcome.error).__name__ == "QueryTimeoutError"
    assert "did not end within timeout=0.3 seconds and was cancelled" in str(outcome.error)
    assert rows(good) == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_kill_ends_a_running_query_within_a_second(in_memory_airflow: InMemoryAirflow, blockade: Blockade) -> None:
    """``on_kill`` may come from a signal handler or another thread."""

    @polars_task
    def slow(task: Any) -> pl.LazyFrame:
        def kill() -> None:
            blockade.begun.wait(60)
            killed_at.append(time.monotonic())
            task.on_kill()

        threading.Thread(target=kill, daemon=True).start()
        return blockade.query()

    def late() -> tuple[float, TaskOutcome]:
        blockade.begun.clear()
        outcome = in_memory_airflow.run_task(slow())
        return time.monotonic() - killed_at.pop(), outcome

    killed_at: list[float] = []
    outcome = within_a_second(late)
    assert isinstance(outcome.error, QueryCancelledError)
    assert str(outcome.error).startswith("The task was killed; query ")


def test_kill_before_the_query_ends_the_task_and_one_after_it_does_nothing(in_memory_airflow: InMemoryAirflow) -> None:
    """Airflow may call it at any time."""
    killed, ended = (PolarsRemoteOperator(task_id=name, query=numbers) for name in ("killed", "ended"))
    killed.on_kill()
    assert failure(in_memory_airflow.run_task(killed)).startswith("QueryCancelledError: The task was killed")
    assert len(rows(succeeded(in_memory_airflow.run_task(ended)))) == 3
    ended.on_kill()


def test_run_is_stored_while_it_runs_and_with_its_result_on_success(in_memory_airflow: InMemoryAirflow) -> None:
    """Stored before anything else can fail, as JSON without secrets; the result in case Airflow does not hear of it."""
    outcome = in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=numbers), max_tries=3)
    result = succeeded(outcome)
    kept = [request for request in outcome.requests if request.path.endswith("/polars_runs")]
    assert [request.method for request in kept] == ["GET", "PUT", "PUT"]
    first, last = (request.body["value"] for request in kept[1:])
    assert first["owner"] == {"number": 1, "max_tries": 3, "retries": 0}
    assert [run["query_id"] for run in first["runs"]] == [result["query_id"]]
    assert "results" not in first
    assert last == {**first, "results": {"return_value": result}}


def test_next_try_runs_anew_what_died_with_its_process(in_memory_airflow: InMemoryAirflow) -> None:
    """A query in the task's own process cannot outlive it, so that nothing is adopted."""

    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("bang")

    first = in_memory_airflow.run_task(
        PolarsRemoteOperator(task_id="t", query=lambda: numbers().map_batches(explode)), max_tries=1
    )
    assert list(first.state_store) == ["polars_runs"]
    again = in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=numbers), try_number=2, max_tries=1)
    assert len(rows(succeeded(again))) == 3


def test_argument_that_is_no_json_is_named_where_a_process_would_need_it(in_memory_airflow: InMemoryAirflow) -> None:
    """In the task's own process any object will do; another process takes JSON, and the message names the parameter."""

    def query(day: Any) -> Any:
        return pl.LazyFrame({"kind": [type(day).__name__]})

    here = PolarsRemoteOperator(task_id="here", query=query, query_kwargs={"day": {1, 2}})
    assert rows(succeeded(in_memory_airflow.run_task(here))) == [{"kind": "set"}]
    there = PolarsRemoteOperator(
        task_id="there", query=query, query_kwargs={"day": {1, 2}}, compute=LocalCompute(threads=1)
    )
    text = failure(in_memory_airflow.run_task(there, max_tries=2))
    assert text.startswith("ConfigurationError: Parameter 'day' goes to another process and must hold JSON values only")


def test_function_that_needs_its_module_is_refused_for_another_process(in_memory_airflow: InMemoryAirflow) -> None:
    """The names are told; the code alone travels."""
    work = PolarsRemoteOperator(task_id="t", query=lambda: numbers(), compute=LocalCompute(threads=1))
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith("ConfigurationError: The query ")
    assert "cannot be sent to another process" in text


def test_plain_task_between_two_polars_tasks_may_fail_alone(in_memory_airflow: InMemoryAirflow) -> None:
    """A result is data to Airflow: what a plain task makes of it is its own affair."""

    @task(multiple_outputs=False)
    def change(result: dict[str, Any]) -> dict[str, Any]:
        return {**result, "locations": []}

    ref = succeeded(in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=numbers)))
    changed = in_memory_airflow.run_task(change(ref)).result
    work = PolarsRemoteOperator(task_id="u", query=lambda frame: frame, query_kwargs={"frame": changed})
    assert failure(in_memory_airflow.run_task(work, max_tries=2)).startswith("InvalidResultError: ")
