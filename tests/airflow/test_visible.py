"""What people see of Polars tasks on real Airflow processes, and what they must not see."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.harness.rest import AirflowRest
from tests.harness.stack import AirflowStack
from tests.harness.summaries import summary

DAG_ID = "visible"
SECRET = "correct-horse-battery"


@dataclass(frozen=True)
class Seen:
    """The run of the DAG and the folder that it writes to."""

    stack: AirflowStack
    run_id: str
    folder: Path

    @property
    def rest(self) -> AirflowRest:
        """Client of the API server."""
        return self.stack.rest

    def log(self, task_id: str) -> str:
        """Return the log of the last try."""
        return self.rest.log_text(DAG_ID, self.run_id, task_id)


@pytest.fixture(scope="module")
def seen(airflow_stack: AirflowStack, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run the DAG to its end, with a connection that has a password and a default compute."""
    folder = tmp_path_factory.mktemp("visible")
    rest = airflow_stack.rest
    rest.set_connection(
        "visible", "polars", password=SECRET, extra={"default_compute": {"kind": "local", "threads": 1}}
    )
    rest.wait_for_dag(DAG_ID)
    run_id = rest.trigger(DAG_ID, conf={"folder": str(folder)})
    assert rest.wait_for_run(DAG_ID, run_id) == "failed"
    return Seen(airflow_stack, run_id, folder)


def stored_text(home: Path) -> Iterator[str]:
    """Return all that the database of Airflow holds, as text; connections are encrypted there."""
    with sqlite3.connect(f"file:{home / 'airflow.db'}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                yield from (value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in row)


def test_decorator_is_found_by_dag_processor_and_worker(seen: Seen) -> None:
    """A DAG file that uses ``@task.polars`` is parsed and its tasks run."""
    assert seen.rest.import_errors() == {}
    assert seen.rest.task_states(DAG_ID, seen.run_id)["numbers"] == "success"
    assert seen.rest.task_instance(DAG_ID, seen.run_id, "numbers")["operator_name"] == "@task.polars"


def test_result_is_a_plain_object_in_xcom(seen: Seen) -> None:
    """The XCom is the reference itself, without anything of Python."""
    result = seen.rest.xcom(DAG_ID, seen.run_id, "numbers")
    assert result["locations"] == [str(seen.folder / "numbers.parquet")]
    assert result == {
        "polars_result": 1,
        "locations": [str(seen.folder / "numbers.parquet")],
        "format": "parquet",
        "rows": 3,
        "bytes": (seen.folder / "numbers.parquet").stat().st_size,
        "files": 1,
        "schema": [["number", "Int64"], ["known", "Int32"]],
    } | {key: result[key] for key in ("schema_hash", "query_id", "timings")}


def test_rendered_fields_show_the_sink_as_an_object(seen: Seen) -> None:
    """The sink is rendered JSON, with the folder of this run in its path."""
    fields = seen.rest.rendered_fields(DAG_ID, seen.run_id, "numbers")
    assert fields["sink"] == {
        "kind": "parquet",
        "path": str(seen.folder / "numbers.parquet"),
        "storage_options": {"aws_region": "eu-west-1"},
    }
    assert fields["op_args"] == [3, "***"]


def test_log_tells_what_was_submitted_where_and_what_was_written(seen: Seen) -> None:
    """Lines have the versions and the compute of the connection, and at the end rows, place and time."""
    log = seen.log("numbers")
    result = seen.rest.xcom(DAG_ID, seen.run_id, "numbers")
    worker = f"worker {socket.gethostname()}, Polars {pl.__version__}, engine auto, 1 thread"
    assert f"Submitted query {result['query_id']} to {worker}" in log
    told = summary(log)
    assert (told["query"], told["rows"]) == (result["query_id"], "3")
    assert told["size"] == f"{result['bytes']:,} bytes in 1 file, parquet"
    assert told["written"] == f"{seen.folder}/numbers.parquet"
    assert told["ran on"] == worker


def test_password_of_a_connection_is_seen_nowhere(seen: Seen) -> None:
    """Not in rendered fields, serialized DAGs, XComs, logs and kept state of tasks, although a task got it."""
    assert pl.read_parquet(seen.folder / "numbers.parquet")["known"].unique().to_list() == [len(SECRET)]
    stored = list(stored_text(seen.stack.home))
    assert [text for text in stored if "numbers.parquet" in text]
    assert [text for text in stored if SECRET in text] == []
    logs = [*(seen.stack.home / "task_logs").rglob("*.log"), *(seen.stack.home / "logs").glob("*.log")]
    assert [log for log in logs if SECRET in log.read_text(errors="replace")] == []


def test_permanent_error_ends_the_task_in_its_first_try(seen: Seen) -> None:
    """A missing column is not tried again, although the task has a retry."""
    task = seen.rest.task_instance(DAG_ID, seen.run_id, "refused")
    assert (task["state"], task["try_number"], task["max_tries"]) == ("failed", 1, 1)
    assert "SchemaError: The query" in seen.log("refused")


def test_transient_error_is_tried_again(seen: Seen) -> None:
    """A file that is not there may be there later."""
    task = seen.rest.task_instance(DAG_ID, seen.run_id, "absent")
    assert (task["state"], task["try_number"]) == ("failed", 2)
    assert "ResultNotFoundError" in seen.rest.log_text(DAG_ID, seen.run_id, "absent", try_number=1)


def test_connection_form_has_the_type_and_its_field(airflow_stack: AirflowStack) -> None:
    """The form is built from the metadata of the provider."""
    forms: list[dict[str, Any]] = airflow_stack.rest.request("GET", "/ui/connections/hook_meta")
    (form,) = (form for form in forms if form["connection_type"] == "polars")
    assert form["hook_name"] == "Polars"
    assert list(form["extra_fields"]) == ["default_compute"]
    assert form["extra_fields"]["default_compute"]["schema"] == {"type": ["object", "null"], "title": "Default compute"}
    hidden = {name for name, field in form["standard_fields"].items() if field and field["hidden"]}
    assert hidden == {"host", "login", "password", "url_schema"}


def test_provider_and_its_settings_are_known(airflow_stack: AirflowStack) -> None:
    """The command line lists the provider and answers the default of a setting, without a warning."""
    provider = airflow_stack.cli("providers", "get", "airflow-provider-polars", "--output", "json")
    assert (provider.returncode, provider.stderr) == (0, "")
    assert "airflow-provider-polars" in provider.stdout
    setting = airflow_stack.cli("config", "get-value", "polars", "results_retention_days")
    assert (setting.returncode, setting.stdout.strip(), setting.stderr) == (0, "30", "")


def test_connection_is_tested_without_a_query(seen: Seen) -> None:
    """The button beside the connection answers with the version of Polars and the default compute."""
    answer = seen.rest.request("POST", "/api/v2/connections/test", body=seen.rest.get("/connections/visible"))
    assert answer["status"] is True
    assert answer["message"].endswith("default compute: LocalCompute(threads=1).")
