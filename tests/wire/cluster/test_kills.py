"""Tasks that are killed at any moment leave no query on the cluster, and end."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars_cloud as pc
import pytest
from polars_cloud.query.dst import TmpDst

from airflow_provider_polars import ClusterCompute, polars_task
from airflow_provider_polars.testing import DevCluster
from tests.harness.in_memory import InMemoryAirflow, TaskOutcome
from tests.harness.waiting import wait_for

if TYPE_CHECKING:
    from tests.wire.gates import Gate

pytestmark = pytest.mark.own_cluster

KILLS = 40
LONGEST_SECONDS = 60.0
"""That one task may take, on a busy machine; one that hangs takes longer."""

WHILE_SUBMITTING, WHILE_WAITING = 0.8, 10.0
"""When kills come at most, measured by the time that a task takes from its start until its query is submitted."""

ENDED = {"SUCCESS", "FAILED", "CANCELED"}


@pytest.fixture
def ignored_sigterm() -> Iterator[Callable[..., None]]:
    """Keep a signal that comes too late from ending the tests, and end a task that hangs with an error."""

    def ignore(*_: Any) -> None: ...

    def hang(*_: Any) -> None:
        raise TimeoutError(f"the task did not end within {LONGEST_SECONDS:g} s")

    handlers = [
        (number, signal.signal(number, new)) for number, new in ((signal.SIGTERM, ignore), (signal.SIGALRM, hang))
    ]
    yield ignore
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in handlers:
        signal.signal(number, handler)


def test_a_kill_at_any_moment_leaves_no_query_and_no_task_that_hangs(
    start_cluster: Callable[..., DevCluster], gate: Gate, ignored_sigterm: Callable[..., None]
) -> None:
    """Moments are spread over the task's start, its submission and its waiting; every third kill comes twice."""
    cluster = start_cluster("--workers", "2")
    compute = ClusterCompute(uri=cluster.uri, observatory=cluster.observatory)
    moments = random.Random(20260101)
    forms: list[Callable[[], Any]] = [
        lambda: gate.frame("held"),
        lambda: gate.frame("held").remote().single_node().execute(),
        lambda: gate.frame("held").remote().single_node().collect().height,
        lambda: pc.spawn_many_blocking([gate.frame("held"), gate.frame("held")], dst=TmpDst()),
    ]
    beginning = time_until_a_query_is_submitted(cluster, compute, gate, ignored_sigterm)
    submitting = 0
    for number in range(KILLS):
        form = forms[number % len(forms)]
        delay = beginning * moments.uniform(0, WHILE_SUBMITTING if number % 5 else WHILE_WAITING)
        signals = 1 if number % 3 else 2

        def kill(delay: float = delay, signals: int = signals) -> None:
            wait_until_a_task_listens(ignored_sigterm)
            time.sleep(delay)
            for _ in range(signals):
                os.kill(os.getpid(), signal.SIGTERM)

        cluster.recorder.forget()
        outcome = run_meanwhile(compute, form, kill)
        assert outcome.state == "failed", f"{number}: {outcome.result}"
        assert "QueryCancelledError: The task was killed" in f"{type(outcome.error).__name__}: {outcome.error}", number
        ids = {submission["query_id"] for submission in cluster.recorder.submissions}
        left = [query for query in cluster.queries if query["id"] in ids and query["state"] not in ENDED]
        assert left == [], number
        submitting += not ids
    assert KILLS / 20 <= submitting <= KILLS * 19 / 20, (submitting, beginning)


def wait_until_a_task_listens(ignored_sigterm: Callable[..., None]) -> None:
    wait_for(
        lambda: signal.getsignal(signal.SIGTERM) is not ignored_sigterm or None,
        LONGEST_SECONDS,
        lambda: "no task listens",
        interval=0.001,
    )


def run_meanwhile(compute: ClusterCompute, form: Callable[[], Any], work: Callable[[], None]) -> TaskOutcome:
    """Run a task, and do something in a thread."""
    working = threading.Thread(target=work)
    working.start()
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    try:
        return InMemoryAirflow().run_task(polars_task(compute=compute, task_id="query")(form)())
    finally:
        working.join()


def time_until_a_query_is_submitted(
    cluster: DevCluster, compute: ClusterCompute, gate: Gate, ignored_sigterm: Callable[..., None]
) -> float:
    """Return the seconds from a task's start until its query is submitted, on this machine as busy as it is."""
    times: list[float] = []

    def measure_and_kill() -> None:
        wait_until_a_task_listens(ignored_sigterm)
        begun = time.monotonic()
        wait_for(
            lambda: len(cluster.recorder.submissions) > len(times) or None,
            LONGEST_SECONDS,
            lambda: "nothing is submitted",
            interval=0.002,
        )
        times.append(time.monotonic() - begun)
        os.kill(os.getpid(), signal.SIGTERM)

    for _ in range(3):
        run_meanwhile(compute, lambda: gate.frame("measured"), measure_and_kill)
    return times[-1]  # the first one imports all that a task needs
