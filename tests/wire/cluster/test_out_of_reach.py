"""Clusters that are out of reach while a task waits, for a while or for good."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import ClusterCompute, lifecycle
from airflow_provider_polars.backends import client_waiting
from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.backends.cluster import ClusterBackend
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.testing import start_dev_cluster
from tests.harness.waiting import wait_for
from tests.unit.outcomes import failure, succeeded
from tests.wire.cluster.own import WAITING, Form, Meanwhile, Tasks, frame, when_kept
from tests.wire.peers import refusing_port
from tests.wire.relay import Relay, relay_to

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow
    from tests.wire.gates import Gate

START_SECONDS = 60.0
STOP_SECONDS = 60.0


@pytest.fixture
def relay(polars_dev_cluster: DevCluster) -> Iterator[Relay]:
    with relay_to(polars_dev_cluster.uri) as relay:
        yield relay


@pytest.fixture
def far_tasks(in_memory_airflow: InMemoryAirflow, polars_dev_cluster: DevCluster, relay: Relay) -> Tasks:
    """Return tasks that reach the cluster through the relay."""
    compute = ClusterCompute(uri=relay.uri, observatory=polars_dev_cluster.observatory)
    return Tasks(in_memory_airflow, polars_dev_cluster, compute)


def end(pid: int) -> None:
    """End a process, and wait until it is gone with its ports."""
    process = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGTERM)
        if not select.select([process], [], [], STOP_SECONDS)[0]:
            raise TimeoutError(f"process {pid} did not end within {STOP_SECONDS} s of SIGTERM")
    finally:
        os.close(process)


ON_ONE_CONNECTION = ("collect()", "collect_batches()", "get_status()")


@pytest.mark.parametrize(
    "form", [pytest.param(WAITING[name], id=name) for name in WAITING if name not in ON_ONE_CONNECTION]
)
def test_a_cluster_that_is_out_of_reach_for_a_while_is_waited_for(
    far_tasks: Tasks, relay: Relay, gate: Gate, form: Form
) -> None:
    def cut_and_mend() -> None:
        relay.cut()
        gate.open()
        wait_for(lambda: far_tasks.states == ["SUCCESS"] or None, START_SECONDS, lambda: str(far_tasks.states))
        relay.mend()

    mending = when_kept(far_tasks, gate, "held", cut_and_mend)
    succeeded(far_tasks.run(lambda: form(gate.frame("held"))))
    mending.join()

    assert far_tasks.states == ["SUCCESS"]


@pytest.mark.parametrize("form", [pytest.param(WAITING[name], id=name) for name in ON_ONE_CONNECTION])
def test_what_the_function_asks_of_the_client_itself_fails_with_the_connection(
    far_tasks: Tasks, relay: Relay, gate: Gate, form: Form
) -> None:
    def cut_and_mend() -> None:
        relay.cut()
        failed.wait()
        relay.mend()

    failed = threading.Event()
    mending = when_kept(far_tasks, gate, "held", cut_and_mend)

    def function() -> Any:
        try:
            return form(gate.frame("held"))
        finally:
            failed.set()

    error = failure(far_tasks.run(function))
    mending.join()

    assert error.startswith("ClusterUnreachableError: ")
    assert relay.uri in error
    assert far_tasks.states == ["CANCELED"]


@pytest.mark.parametrize("form", [WAITING["execute()"], WAITING["spawn_many_blocking()"]], ids=["one", "many"])
def test_a_result_that_is_never_handed_out_is_not_waited_for_as_long_as_the_client_would(
    far_tasks: Tasks, relay: Relay, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    """The connection is cut between the end of the query and the call for its result; the client waits for a year."""

    def end_and_cut(backend: ClusterBackend, run: Run, seconds: float) -> bool:
        ended = has_ended(backend, run, seconds)
        if ended:
            relay.cut()
        return ended

    has_ended = ClusterBackend._has_ended
    monkeypatch.delenv("POLARS_TIMEOUT_MS", raising=False)
    monkeypatch.setattr(ClusterBackend, "_has_ended", end_and_cut)
    monkeypatch.setattr(client_waiting, "RESULT_MILLISECONDS", 300)
    monkeypatch.setattr(lifecycle, "CANCEL_SECONDS", 0.2)

    error = failure(far_tasks.run(lambda: form(frame())))

    assert error.startswith("ClusterUnreachableError: The cluster keeps the result of the query ")
    assert far_tasks.submitted[0] in error


@pytest.mark.parametrize("form", [WAITING["returned"], WAITING["execute()"]], ids=["returned", "execute()"])
def test_a_cluster_that_stays_out_of_reach_fails_the_task_and_keeps_its_queries_for_the_next_try(
    far_tasks: Tasks, relay: Relay, gate: Gate, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    cutting = when_kept(far_tasks, gate, "held", relay.cut)

    with monkeypatch.context() as impatient:
        impatient.setattr(settings, "unreachable_seconds", lambda: 0.3)
        impatient.setattr(lifecycle, "CANCEL_SECONDS", 0.2)
        impatient.setattr(lifecycle, "WATCH_SECONDS", 0.1)
        error = failure(far_tasks.run(lambda: form(gate.frame("held"))))

    cutting.join()
    assert time.monotonic() - cutting.at < 30.0
    assert error.startswith(f"ClusterUnreachableError: {relay.uri} ")
    assert [run.query_id for run in far_tasks.stored] == far_tasks.submitted

    relay.mend()
    gate.open()
    result = succeeded(far_tasks.run(lambda: form(gate.frame("held")), try_number=2))
    adopted = form is WAITING["returned"]
    assert far_tasks.submitted[-1] == result["query_id"]
    assert len(far_tasks.submitted) == (1 if adopted else 2)


@pytest.mark.own_cluster
@pytest.mark.parametrize("form", [WAITING["returned"], WAITING["execute()"]], ids=["returned", "execute()"])
def test_a_cluster_that_comes_back_without_its_memory_fails_the_task_with_these_words(
    in_memory_airflow: InMemoryAirflow, gate: Gate, form: Form
) -> None:
    with refusing_port() as port, start_dev_cluster(*(options := ("--workers", "1", "--port", str(port)))) as first:
        compute = ClusterCompute(uri=first.uri, observatory=first.observatory)
        tasks = Tasks(in_memory_airflow, first, compute)
        ending = when_kept(tasks, gate, "held", lambda: end(first.pid))
        restarted: list[Any] = []

        def restart() -> None:
            ending.join()
            restarted.append(start_dev_cluster(*options))
            restarted[0].__enter__()

        restarting = Meanwhile(restart)
        error = failure(tasks.run(lambda: form(gate.frame("held"))))
        restarting.join()
        restarted[0].__exit__(None, None, None)

    assert "QueryFailedError" in error
    assert "is not known to" in error
