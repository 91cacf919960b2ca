"""Tasks on a cluster that loses answers, restarts, or fails a query without a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_polars import ClusterCompute
from tests.unit.outcomes import failure, succeeded
from tests.wire.cluster.own import Tasks, frame, when_kept
from tests.wire.peers import refusing_port

if TYPE_CHECKING:
    from tests.wire.gates import Gate


def test_a_submission_whose_answer_is_lost_fails_the_task_and_is_not_repeated(tasks: Tasks) -> None:
    tasks.cluster.faults.add("SubmitQuery", "drop")

    error = failure(tasks.run(frame))

    assert error.startswith(f"ClusterUnreachableError: The cluster at {tasks.cluster.uri} failed a call for the query ")
    assert len(tasks.submitted) == 1
    assert tasks.stored == []


def test_the_next_try_submits_anew_what_nobody_knows_the_id_of(tasks: Tasks) -> None:
    tasks.cluster.faults.add("SubmitQuery", "drop")
    failure(tasks.run(frame))

    result = succeeded(tasks.run(frame, try_number=2))

    assert len(tasks.submitted) == 2
    assert result["query_id"] == tasks.submitted[-1]


@pytest.mark.parametrize("status", ["INTERNAL", "CANCELLED", "UNKNOWN", "UNAVAILABLE"])
def test_the_next_try_warns_of_a_query_that_may_have_been_taken_all_the_same(
    tasks: Tasks, status: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tasks.cluster.faults.add("SubmitQuery", "answer", status=status)
    failure(tasks.run(frame))

    succeeded(tasks.run(frame, try_number=2))

    assert "a query of it may still run on" in capfd.readouterr().out


def test_the_next_try_warns_of_nothing_where_nothing_was_sent(tasks: Tasks, capfd: pytest.CaptureFixture[str]) -> None:
    with refusing_port() as port:
        failure(tasks.run(frame, compute=ClusterCompute(uri=f"http://127.0.0.1:{port}")))

    succeeded(tasks.run(frame, try_number=2))

    assert "may still run" not in capfd.readouterr().out


def test_results_whose_answers_are_lost_are_asked_for_again(tasks: Tasks) -> None:
    lost = tasks.cluster.faults.add("GetQueryResult", "drop", times=2)

    result = succeeded(tasks.run(frame))

    assert result["rows"] == 3
    assert tasks.cluster.faults.hits(lost) == 2
    assert tasks.submitted == [result["query_id"]]


def test_a_query_that_fails_without_a_reason_fails_the_task(tasks: Tasks) -> None:
    tasks.cluster.faults.add("SubmitQuery", "fail", errors=[])

    error = failure(tasks.run(frame))

    assert error.startswith(f"QueryFailedError: query {tasks.submitted[0]} failed and ClusterCompute(")
    assert error.endswith("gave no reason; see its log.")


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (True, "failed with ComputeError: the scheduler restarted while it ran the query"),
        (False, "is not known to ClusterCompute("),
    ],
)
def test_a_query_that_a_restart_of_the_scheduler_ends_fails_the_task(
    tasks: Tasks, gate: Gate, memory: bool, reason: str
) -> None:
    restarting = when_kept(tasks, gate, "held", lambda: tasks.cluster.restart(memory=memory, seconds=0.2))

    error = failure(tasks.run(lambda: gate.frame("held")))

    restarting.join()
    assert error.startswith("QueryFailedError: ")
    assert reason in error
    assert len(tasks.submitted) == 1
