"""A sensor waits for queries that other tasks have submitted, and tells how they have ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout

from airflow_provider_polars import PolarsQuerySensor
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.exceptions import ClusterUnreachableError, QueryTimeoutError
from airflow_provider_polars.links.observatory import LINK_KEY
from tests.harness.summaries import lines_of_summary
from tests.harness.waiting import wait_for
from tests.unit.outcomes import failure, rows, succeeded
from tests.wire.cluster.own import Meanwhile, Tasks, frame
from tests.wire.relay import relay_to
from tests.wire.sensing import DEFERRABLE, SOON, Sensing

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.gates import Gate
    from tests.wire.planes import Connect

NOBODY = "http://127.0.0.1:9"
Make = Callable[..., Sensing]

each_way = pytest.mark.parametrize("options", [SOON, DEFERRABLE], ids=["poke", "deferrable"])


@pytest.fixture
def submitting(tasks: Tasks) -> Tasks:
    """Return tasks that submit, and do not wait."""
    tasks.options |= {"wait": False}
    return tasks


@pytest.fixture
def sensor(submitting: Tasks) -> Make:
    """Return ``sensor(run, **options)``."""

    def make(run: Any, **options: Any) -> Sensing:
        return Sensing(submitting.airflow, lambda: PolarsQuerySensor(task_id="ended", run=run, **options))

    return make


def wrong() -> Any:
    """Return a query that fails once it runs."""
    return pl.LazyFrame({"a": ["x"]}).select(pl.col("a").cast(pl.Int64))


def when_asked(cluster: DevCluster, work: Callable[[], None]) -> Meanwhile:
    """Do ``work`` once the cluster has been asked for the state of a query from now on."""
    cluster.recorder.forget()
    return Meanwhile(
        lambda: (
            wait_for(
                lambda: cluster.recorder.calls("GetQueryStatus") or None, 20.0, lambda: "nobody asks", interval=0.01
            )
            and work()
        )
    )


def state_of(tasks: Tasks, run: dict[str, Any]) -> str:
    """Return what the cluster says of a query."""
    return next(str(query["state"]) for query in tasks.cluster.queries if query["id"] == run["query_id"])


@each_way
def test_the_result_of_a_query_that_has_ended_is_handed_on_at_once(
    submitting: Tasks, sensor: Make, options: dict[str, Any]
) -> None:
    run = succeeded(submitting.run(frame))
    wait_for(lambda: state_of(submitting, run) == "SUCCESS" or None, 20.0, lambda: str(submitting.states))

    result = succeeded(sensor(run, **options).begin())

    assert result["query_id"] == run["query_id"]
    assert [row["a"] for row in rows(result)] == [0, 1, 2]


def test_the_log_has_the_summary_that_the_task_would_have_had(
    submitting: Tasks, sensor: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = {"one": succeeded(submitting.run(frame)), "other": [succeeded(submitting.run(frame))]}

    results = succeeded(sensor(runs, **SOON).begin())

    title, heading, *told, ran_on = lines_of_summary(capfd.readouterr().out)
    assert title == "Summary of 2 queries"
    assert "seconds" not in heading
    for line, result in zip(told, [results["one"], results["other"][0]], strict=True):
        assert result["query_id"] in line
        assert result["locations"][0] in line
    assert ran_on == f"  ran on  cluster {submitting.cluster.uri}"


def test_a_query_that_runs_is_asked_about_until_it_has_ended(submitting: Tasks, sensor: Make, gate: Gate) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held")))
    opening = when_asked(submitting.cluster, gate.open)

    outcome = sensor(run, **SOON).begin()

    opening.join()
    assert rows(succeeded(outcome)) == [{"name": "held"}]
    assert len(submitting.cluster.recorder.calls("GetQueryStatus")) > 1


def test_a_sensor_in_mode_reschedule_gives_its_worker_back_between_two_looks(
    submitting: Tasks, sensor: Make, gate: Gate
) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held")))
    waiting = sensor(run, **SOON, mode="reschedule")

    begun = waiting.begin()
    assert begun.state == "up_for_reschedule"
    assert begun.xcoms[LINK_KEY] == run["link"] != ""
    gate.open()
    outcome = wait_for(
        lambda: None if (tried := waiting.begin()).state == "up_for_reschedule" else tried,
        20.0,
        lambda: str(submitting.states),
        interval=0.05,
    )

    assert rows(succeeded(outcome)) == [{"name": "held"}]


def test_a_deferrable_sensor_waits_without_a_worker_with_its_deadline(
    submitting: Tasks, sensor: Make, gate: Gate
) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held")))
    waiting, before = sensor(run, **DEFERRABLE), time.time()

    begun = waiting.begin()
    trigger = begun.trigger()
    outcome = waiting.end(gate.open)

    assert begun.xcoms[LINK_KEY] == outcome.xcoms[LINK_KEY] == run["link"] != ""
    assert before + 60 <= trigger.deadline <= time.time() + 60
    assert trigger.cancel_on_kill is False
    assert rows(succeeded(outcome)) == [{"name": "held"}]
    assert [event["status"] for event in waiting.events] == ["ended"]
    assert submitting.cluster.recorder.cancels == []


@each_way
def test_a_query_that_fails_fails_the_sensor_with_its_reason_and_without_a_retry(
    submitting: Tasks, sensor: Make, options: dict[str, Any]
) -> None:
    run = succeeded(submitting.run(wrong))

    message = failure(sensor(run, **options).end())

    assert message.startswith("SchemaError: The query tests.wire.cluster.test_query_sensor.wrong does not fit")
    assert "conversion from `str` to `i64` failed" in message


@each_way
@pytest.mark.parametrize("lenience", ["soft_fail", "never_fail"])
def test_a_lenient_sensor_is_skipped_for_a_query_that_fails(
    submitting: Tasks, sensor: Make, options: dict[str, Any], lenience: str, gate: Gate
) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held").join(wrong(), how="cross")))
    options = {**options, lenience: True}
    waiting = sensor(run, **options)
    opening = when_asked(submitting.cluster, gate.open)

    assert waiting.end().state == "skipped"

    opening.join()
    assert len(waiting.events) == int("deferrable" in options)


@each_way
def test_a_query_that_somebody_cancels_fails_the_sensor(
    submitting: Tasks, sensor: Make, options: dict[str, Any], gate: Gate, connect: Connect
) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held")))
    plane = connect(ClusterAccess(uri=submitting.cluster.uri))
    cancelling = when_asked(submitting.cluster, lambda: plane.cancel(run["query_id"]))

    outcome = sensor(run, **options).end()

    cancelling.join()
    assert failure(outcome) == f"QueryCancelledError: query {run['query_id']} was cancelled."


@each_way
def test_results_come_arranged_as_the_queries_are(
    submitting: Tasks, sensor: Make, options: dict[str, Any], gate: Gate
) -> None:
    one = succeeded(submitting.run(lambda: gate.frame("one")))
    outputs = succeeded(
        submitting.run(lambda: {"a": frame(1), "b": frame(2)}, sink={"a": None, "b": None}, task_id="two")
    )
    opening = when_asked(submitting.cluster, gate.open)

    results = succeeded(sensor([one, outputs], **options).end())

    opening.join()
    assert rows(results[0]) == [{"name": "one"}]
    assert {name: result["rows"] for name, result in results[1].items()} == {"a": 1, "b": 2}


def test_queries_on_two_computes_are_waited_for_one_after_the_other_until_one_deadline(
    submitting: Tasks, sensor: Make, gate: Gate
) -> None:
    runs = [succeeded(submitting.run(lambda: gate.frame("held"), task_id=f"query_{n}")) for n in range(2)]
    runs[1]["compute"]["scaling"] = "single-node"
    waiting = sensor(runs, **DEFERRABLE)

    deferred = waiting.begin()
    first = deferred.trigger()
    event = {"status": "ended", "runs": first.runs, "states": {}, "message": "", "deadline": first.deadline}
    second = waiting.resume(deferred, event).trigger()

    assert [run["query_id"] for run in first.runs] == [runs[0]["query_id"]]
    assert second.deadline == first.deadline
    assert [rows(result) for result in succeeded(waiting.end(gate.open))] == [[{"name": "held"}]] * 2


@each_way
def test_of_several_queries_each_that_did_not_succeed_is_named(
    submitting: Tasks, sensor: Make, options: dict[str, Any]
) -> None:
    good = succeeded(submitting.run(frame))
    bad = succeeded(submitting.run(wrong, task_id="bad"))
    unknown = {**good, "query_id": "00000000-0000-0000-0000-000000000001"}

    message = failure(sensor({"good": good, "bad": bad, "unknown": unknown}, **options).end())

    assert message.startswith("QueryFailedError: 2 of 3 queries did not succeed. ")
    assert f"query {bad['query_id']}: " in message
    assert f"query {unknown['query_id']} is not known to ClusterCompute(" in message
    assert good["query_id"] not in message


@each_way
def test_a_query_that_nobody_knows_fails_the_sensor_at_once(
    submitting: Tasks, sensor: Make, options: dict[str, Any]
) -> None:
    run = {**succeeded(submitting.run(frame)), "query_id": "00000000-0000-0000-0000-000000000001"}

    message = failure(sensor(run, **options).begin())

    assert message.startswith(f"QueryFailedError: query {run['query_id']} is not known to ClusterCompute(")


@each_way
def test_a_query_that_does_not_end_in_time_is_a_timeout_of_the_sensor_and_runs_on(
    submitting: Tasks, sensor: Make, options: dict[str, Any], gate: Gate
) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held")))
    gate.wait_until_started("held")

    outcome = sensor(run, **{**options, "timeout": 0.3}).end()

    message = f"Not within timeout=0.3 seconds: query {run['query_id']} is running still."
    assert failure(outcome) == f"QueryTimeoutError: {message}"
    assert isinstance(outcome.error, QueryTimeoutError)
    assert isinstance(outcome.error, AirflowSensorTimeout)
    assert state_of(submitting, run) == "IN_PROGRESS"
    assert submitting.cluster.recorder.cancels == []


@each_way
def test_a_soft_sensor_is_skipped_at_its_timeout(
    submitting: Tasks, sensor: Make, options: dict[str, Any], gate: Gate
) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held")))

    assert sensor(run, **{**options, "timeout": 0.2}, soft_fail=True).end().state == "skipped"


@pytest.mark.parametrize(("lenience", "state"), [({}, "up_for_retry"), ({"soft_fail": True}, "skipped")])
def test_an_execution_timeout_holds_while_the_sensor_is_deferred(
    submitting: Tasks, sensor: Make, gate: Gate, lenience: dict[str, Any], state: str
) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held")))
    options = {**DEFERRABLE, **lenience, "execution_timeout": timedelta(seconds=1)}
    waiting = sensor(run, **options)

    outcome = waiting.end()

    assert [event["status"] for event in waiting.events] == ["timeout"]
    assert outcome.state == state
    if outcome.error:
        assert type(outcome.error).__name__ == "AirflowTaskTimeout"
        assert "Not within the execution_timeout of 1 seconds: query" in str(outcome.error)


@each_way
@pytest.mark.parametrize("lenience", [{}, {"soft_fail": True}], ids=["", "soft_fail"])
def test_a_cluster_that_cannot_be_reached_until_the_timeout_is_named(
    submitting: Tasks, sensor: Make, options: dict[str, Any], lenience: dict[str, Any]
) -> None:
    run = succeeded(submitting.run(frame))
    run["compute"]["uri"] = NOBODY

    outcome = sensor(run, **{**options, "timeout": 0.3}, **lenience).end()

    if lenience:
        assert outcome.state == "skipped"
        return
    message = failure(outcome)
    assert message.startswith(f"ClusterUnreachableError: Not within timeout=0.3 seconds: {NOBODY} cannot be reached")
    assert isinstance(outcome.error, AirflowSensorTimeout)
    assert isinstance(outcome.error, ClusterUnreachableError)


@each_way
def test_a_cluster_that_comes_back_is_asked_again(submitting: Tasks, sensor: Make, options: dict[str, Any]) -> None:
    run = succeeded(submitting.run(frame))
    with relay_to(submitting.cluster.uri) as relay:
        run["compute"]["uri"] = relay.uri
        relay.cut()
        submitting.cluster.recorder.forget()
        waiting = sensor(run, **options)
        mending = None
        if options is SOON:
            began = time.monotonic()
            mending = Meanwhile(
                lambda: (
                    wait_for(lambda: time.monotonic() - began > 0.3 or None, 5.0, str, interval=0.05) and relay.mend()
                )
            )
        outcome = waiting.end(relay.mend)
        if mending:
            mending.join()
    assert succeeded(outcome)["rows"] == 3


def test_a_trigger_that_has_given_up_on_a_cluster_is_followed_by_another_with_the_same_deadline(
    submitting: Tasks, sensor: Make, gate: Gate
) -> None:
    run = succeeded(submitting.run(lambda: gate.frame("held")))
    waiting = sensor(run, **DEFERRABLE)
    deferred = waiting.begin()
    given = {"runs": [run], "states": {}, "deadline": deferred.trigger().deadline}

    again = waiting.resume(deferred, {"status": "unreachable", "message": "away", **given})
    failed = waiting.resume(again, {"status": "failed", "message": "no such connection", **given})

    assert again.state == "deferred"
    assert again.trigger().deadline == given["deadline"]
    assert failed.state == "up_for_retry"
    assert str(failed.error) == "The triggerer could not wait on: no such connection"


def test_credentials_that_are_refused_fail_the_sensor_at_once_and_those_of_a_connection_are_used(
    submitting: Tasks, sensor: Make, start_cluster: Callable[..., DevCluster]
) -> None:
    token = "horse-staple-battery-9041"
    cluster = start_cluster("--token", token, "--workers", "1")
    submitting.airflow.add_connection("good", "polars_cluster", host=cluster.uri, password=token)
    submitting.airflow.add_connection("bad", "polars_cluster", host=cluster.uri, password="another-token-1")
    compute = {"kind": "cluster", "uri": cluster.uri, "observatory": cluster.observatory}
    run = succeeded(submitting.run(frame, compute=compute, conn_id="good"))

    for options in (SOON, DEFERRABLE):
        refused = failure(sensor(run, **options, conn_id="bad").begin())
        asked = failure(sensor(run, **options).begin())
        assert refused.startswith(f"ClusterAccessError: {cluster.uri} refuses the token")
        assert asked.startswith(f"ClusterAccessError: {cluster.uri} asks for a token")
        assert succeeded(sensor(run, **options, conn_id="good").end())["rows"] == 3


def test_a_query_on_a_cluster_that_its_function_chose_is_waited_for_on_the_worker(
    submitting: Tasks, sensor: Make
) -> None:
    run = succeeded(submitting.run(frame))
    run["details"]["cluster"] = {"uri": NOBODY}
    waiting = sensor(run, **{**DEFERRABLE, "timeout": 0.2})

    message = failure(waiting.end())

    assert waiting.events == []
    assert message.startswith(f"ClusterUnreachableError: Not within timeout=0.2 seconds: {NOBODY} cannot be reached")


def test_many_queries_of_a_cluster_that_hangs_are_given_up_on_together(submitting: Tasks, sensor: Make) -> None:
    run = succeeded(submitting.run(frame))
    fault = submitting.cluster.faults.add("GetQueryStatus", "answer", status="UNAVAILABLE", times=None)
    waiting = sensor([run] * 5, **SOON, mode="reschedule")

    assert waiting.begin().state == "up_for_reschedule"

    assert submitting.cluster.faults.hits(fault) == 1
    with contextlib.suppress(LookupError):
        submitting.cluster.faults.lift(fault)
