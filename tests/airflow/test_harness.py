"""The stack of Airflow processes: start, what is seen over REST, and that nothing is left after the end."""

from __future__ import annotations

import re
import shutil
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness.postgres import PostgresServer, postgres_available
from tests.harness.processes import session_members
from tests.harness.stack import PROCESSES, AirflowStack, StackError

DAGS = Path(__file__).parent / "dags"
DAG_ID = "harness_probe"


@pytest.fixture(scope="module")
def finished_run(airflow_stack: AirflowStack) -> tuple[AirflowStack, str]:
    """Run the probe once on the shared stack."""
    return airflow_stack, run_probe(airflow_stack)


def run_probe(stack: AirflowStack) -> str:
    """Run the probe to its end and return the run's id."""
    stack.rest.wait_for_dag(DAG_ID)
    run_id = stack.rest.trigger(DAG_ID)
    assert stack.rest.wait_for_run(DAG_ID, run_id) == "failed"
    return run_id


def accepts(port: int) -> bool:
    """Say whether something listens on the loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_states_xcom_and_log(finished_run: tuple[AirflowStack, str]) -> None:
    """A run's states, a result and an exception with its frame are seen over REST."""
    stack, run_id = finished_run
    assert stack.rest.task_states(DAG_ID, run_id) == {"answer": "success", "fail": "failed"}
    assert stack.rest.xcom(DAG_ID, run_id, "answer") == 42
    assert stack.rest.rendered_fields(DAG_ID, run_id, "answer")["op_args"] == []
    log = stack.rest.wait_for_log(DAG_ID, run_id, "fail", "ValueError: failing on purpose")
    assert re.search(r"harness_probe\.py:\d+ in fail", log)
    assert stack.rest.extra_links(DAG_ID, run_id, "answer") == {}


def test_asset_events(finished_run: tuple[AirflowStack, str]) -> None:
    """The event of a task and one reported from outside are both listed, in this order."""
    stack, run_id = finished_run
    stack.rest.create_asset_event("harness_probe", {"rows": 3})
    events = stack.rest.asset_events("harness_probe")
    assert [event["source_run_id"] for event in events] == [run_id, None]
    assert events[1]["extra"]["rows"] == 3
    with pytest.raises(LookupError, match="no asset called 'harness'"):
        stack.rest.create_asset_event("harness")


def test_state_set_by_hand_and_clear(finished_run: tuple[AirflowStack, str]) -> None:
    """Marking a task decides its state; clearing it runs it again as another try."""
    stack, run_id = finished_run
    stack.rest.set_task_state(DAG_ID, run_id, "fail", "success")
    assert stack.rest.task_states(DAG_ID, run_id) == {"answer": "success", "fail": "success"}
    stack.rest.clear(DAG_ID, run_id, ["fail"])
    assert stack.rest.wait_for_run(DAG_ID, run_id) == "failed"
    assert stack.rest.task_instance(DAG_ID, run_id, "fail")["try_number"] == 2
    assert "ValueError" in stack.rest.log_text(DAG_ID, run_id, "fail", try_number=1)


def test_variable_and_connection_are_replaced(airflow_stack: AirflowStack) -> None:
    """Setting twice keeps the second value."""
    rest = airflow_stack.rest
    for value in ("1", "2"):
        rest.set_variable("harness/variable", value)
        rest.set_connection("harness", "http", host=f"host-{value}", extra={"depth": value})
    assert rest.get("/variables/harness%2Fvariable")["value"] == "2"
    connection = rest.get("/connections/harness")
    assert (connection["host"], connection["extra"]) == ("host-2", '{"depth": "2"}')


def test_time_out_tells_states_and_logs(finished_run: tuple[AirflowStack, str]) -> None:
    """A wait that ends without success names the tasks' states and each process."""
    stack, run_id = finished_run
    with pytest.raises(TimeoutError) as error:
        stack.rest.wait_for_task(DAG_ID, run_id, "answer", {"deferred"}, timeout=0)
    assert "'answer': 'success'" in str(error.value)
    assert all(f"--- {name}" in str(error.value) for name in PROCESSES)


@pytest.mark.own_stack
def test_import_error_is_raised_with_its_text(tmp_path: Path) -> None:
    """Waiting for a DAG whose file does not import shows why; a part of the processes is enough for that."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken on purpose')  # dag airflow\n")
    with (
        AirflowStack(tmp_path, processes=["api-server", "dag-processor"]) as stack,
        pytest.raises(RuntimeError, match="broken on purpose"),
    ):
        stack.rest.wait_for_dag("never")
    assert not stack.home.exists()


@pytest.mark.own_stack
def test_failed_start_stops_what_runs_and_keeps_logs(tmp_path: Path) -> None:
    """A process that exits at once ends the start, with its log in the error."""
    broken = {"AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "often"}
    stack = AirflowStack(tmp_path, env=broken, processes=["api-server", "scheduler"])
    with pytest.raises(StackError, match="scheduler exited with 1") as error, stack:
        pytest.fail("the stack started")
    assert "often" in str(error.value)
    assert (stack.home / "logs" / "scheduler.log").exists()
    assert not accepts(urlsplit(stack.base_url).port or 0)
    shutil.rmtree(stack.home)


@pytest.mark.own_stack
@pytest.mark.skipif(not postgres_available(), reason="no PostgreSQL server with its drivers")
def test_postgresql_and_nothing_is_left_after_the_end() -> None:
    """The same run on PostgreSQL; processes, ports and files are gone afterwards."""
    with AirflowStack(DAGS, database="postgresql") as stack:
        run_id = run_probe(stack)
        assert stack.rest.xcom(DAG_ID, run_id, "answer") == 42
        leaders = {process.pid for process in stack.processes.values()}
        port, database_port = (
            urlsplit(stack.env[key]).port or 0
            for key in ("AIRFLOW__API__BASE_URL", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")
        )
        assert accepts(port)
        assert accepts(database_port)
        assert all(leader in session_members(leader) for leader in leaders)
    assert not any(map(session_members, leaders))
    assert not accepts(port)
    assert not accepts(database_port)
    assert not stack.home.exists()


@pytest.mark.own_stack
@pytest.mark.skipif(not postgres_available(), reason="no PostgreSQL server with its drivers")
def test_postgresql_stop_is_repeatable() -> None:
    """A server stopped by hand within the block does not disturb the end of the block."""
    with PostgresServer() as server:
        assert accepts(server.port)
        server.stop()
        assert not accepts(server.port)
    assert server.sql_alchemy_conn == f"postgresql+psycopg2://airflow@127.0.0.1:{server.port}/airflow"


def test_process_can_be_killed_and_started_again(finished_run: tuple[AirflowStack, str]) -> None:
    """A process lost in the middle is replaced while the others go on."""
    stack, _ = finished_run
    lost = stack.processes["scheduler"].pid
    stack.stop_process("scheduler", signal.SIGKILL)
    assert session_members(lost) == set()
    run_id = stack.rest.trigger(DAG_ID)
    stack.start_process("scheduler")
    assert stack.rest.wait_for_run(DAG_ID, run_id) == "failed"
