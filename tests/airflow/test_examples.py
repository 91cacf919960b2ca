"""The example DAGs: by hand and by an asset event on real Airflow processes, and scheduled by ``dag.test()``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun

from tests.airflow.example_results import CHECKS, check_seats, planes_of
from tests.harness.dag_run import xcom
from tests.harness.rest import AirflowRest
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

EXAMPLES = Path(__file__).parents[2] / "dags"
WRITER, READER = "example_asset_writer", "example_asset_reader"
BY_HAND = sorted(CHECKS.keys() - {READER})
EVENT_TIMEOUT = 60.0


@pytest.fixture(scope="module")
def runs(stack_with_flights: AirflowStack) -> dict[str, str]:
    """Start every example at once by hand, without a logical date; return the ids of the runs."""
    rest = stack_with_flights.rest
    for dag_id in CHECKS:
        rest.wait_for_dag(dag_id)
    return {dag_id: rest.trigger(dag_id) for dag_id in BY_HAND}


def results_of(rest: AirflowRest, dag_id: str, run_id: str) -> Callable[..., Any]:
    """Wait for the success of a run and return the function that reads its results."""
    assert rest.wait_for_run(dag_id, run_id) == "success", rest.task_states(dag_id, run_id)
    return partial(rest.xcom, dag_id, run_id)


def run_of_event(rest: AirflowRest, source_run_id: str | None) -> dict[str, Any]:
    """Wait for the run of the reader that an asset event started; None for an event reported from outside.

    Airflow 3.3.2 cannot show the events of a run that is still queued.
    """

    def started() -> dict[str, Any] | None:
        for run in rest.get(f"/dags/{READER}/dagRuns")["dag_runs"]:
            if run["start_date"] is None:
                continue
            events = rest.get(f"/dags/{READER}/dagRuns/{run['dag_run_id']}/upstreamAssetEvents")["asset_events"]
            if source_run_id in [event["source_run_id"] for event in events]:
                return {**run, "events": events}
        return None

    return wait_for(
        started, EVENT_TIMEOUT, lambda: f"run of {READER} by an event of {source_run_id}\n{rest.diagnose()}"
    )


@pytest.mark.parametrize("dag_id", BY_HAND)
def test_runs_by_hand_without_a_logical_date(
    stack_with_flights: AirflowStack, runs: dict[str, str], flights_data: Path, dag_id: str
) -> None:
    """Each example run on real processes hands on what plain Polars computes from the same files."""
    rest = stack_with_flights.rest
    results = results_of(rest, dag_id, runs[dag_id])
    assert rest.get(f"/dags/{dag_id}/dagRuns/{runs[dag_id]}")["logical_date"] is None
    CHECKS[dag_id](results, flights_data)


def test_asset_event_starts_the_reader_and_tells_what_was_written(
    stack_with_flights: AirflowStack, runs: dict[str, str], flights_data: Path
) -> None:
    """The event carries location, rows, bytes, schema hash and query id of the write that it stands for."""
    rest = stack_with_flights.rest
    written = results_of(rest, WRITER, runs[WRITER])("planes")
    run = run_of_event(rest, runs[WRITER])
    assert (run["run_type"], run["logical_date"]) == ("asset_triggered", None)
    (event,) = run["events"]
    told = {"location": written["locations"][0]} | {
        key: written[key] for key in ("rows", "bytes", "schema_hash", "query_id")
    }
    assert event["extra"].items() >= told.items()
    CHECKS[READER](results_of(rest, READER, run["dag_run_id"]), flights_data)


def test_reader_reads_the_location_that_the_event_names(
    stack_with_flights: AirflowStack, runs: dict[str, str], flights_data: Path, tmp_path: Path
) -> None:
    """An event reported from outside with another location is read from there."""
    rest = stack_with_flights.rest
    run_of_event(rest, runs[WRITER])
    few = planes_of(flights_data).head(7)
    few.write_parquet(tmp_path / "few.parquet")
    rest.create_asset_event("planes", {"location": str(tmp_path / "few.parquet")})
    run = run_of_event(rest, None)
    check_seats(results_of(rest, READER, run["dag_run_id"]), few)


def test_nothing_is_left_to_complain_about(stack_with_flights: AirflowStack, runs: dict[str, str]) -> None:
    """No DAG file fails to import, and no task of an example logs a warning or an error."""
    rest = stack_with_flights.rest
    assert rest.import_errors() == {}
    for dag_id, run_id in runs.items():
        rest.wait_for_run(dag_id, run_id)
        for task in rest.task_instances(dag_id, run_id):
            log = rest.log_text(dag_id, run_id, task["task_id"], map_index=task["map_index"])
            assert "Submitted query" in log
            assert [line for line in log.splitlines() if " warning " in line or " error " in line] == []
    for name, process in stack_with_flights.processes.items():
        text = process.log_file.read_text(errors="replace")
        ours = [line for line in text.splitlines() if "airflow_provider_polars" in line and is_of_examples(line)]
        assert [line for line in ours if re.search("warning|error", line, re.IGNORECASE)] == [], name


def is_of_examples(line: str) -> bool:
    """Whether a line of a log names no other DAG: those of other tests fail on purpose."""
    named = re.search(r"dag_id=(\w+)", line)
    return named is None or named[1] in CHECKS


@pytest.fixture(scope="module")
def flights_in_library_home(flights_data: Path) -> Iterator[Path]:
    """Give the Airflow of this process the data where the example DAGs look for it."""
    link = Path(os.environ["AIRFLOW_HOME"]) / flights_data.name
    link.symlink_to(flights_data)
    yield flights_data
    link.unlink()


@pytest.mark.parametrize("dag_id", sorted(CHECKS))
def test_runs_with_a_logical_date(dag_test: Callable[..., DagRun], flights_in_library_home: Path, dag_id: str) -> None:
    """Each example runs by ``dag.test()`` for a day of the past; the reader, without an event, reads the source."""
    file = EXAMPLES / f"{dag_id.removesuffix('_writer').removesuffix('_reader')}.py"
    bag = DagBag(dag_folder=str(file))
    assert bag.import_errors == {}
    day = datetime(2026, 1, 31, tzinfo=timezone.utc)
    run = dag_test(bag.dags[dag_id], logical_date=day)
    assert (run.state, run.logical_date) == ("success", day)
    CHECKS[dag_id](partial(xcom, run), flights_in_library_home)
