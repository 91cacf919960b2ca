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
from tests.harness.in_memory import InMemoryAirflow
from tests.harness.waiting import wait_for

if TYPE_CHECKING:
    from tests.wire.gates import Gate

pytestmark = pytest.mark.own_cluster

KILLS = 40
LONGEST_SECONDS = 20.0
"""That one task may take; a task that hangs would be killed by Airflow after five."""

WHILE_SUBMITTING, WHILE_WAITING = 0.12, 0.5
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
    submissions = 0
    for number in range(KILLS):
        form = forms[number % len(forms)]
        delay = moments.uniform(0, WHILE_SUBMITTING if number % 5 else WHILE_WAITING)
        signals = 1 if number % 3 else 2

        def kill(delay: float = delay, signals: int = signals) -> None:
            wait_for(
                lambda: signal.getsignal(signal.SIGTERM) is not ignored_sigterm or None,
                LONGEST_SECONDS,
                lambda: "no task listens",
                interval=0.001,
            )
            time.sleep(delay)
            for _ in range(signals):
                os.kill(os.getpid(), signal.SIGTERM)

        cluster.recorder.forget()
        killing = threading.Thread(target=kill)
        killing.start()
        signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
        try:
            outcome = InMemoryAirflow().run_task(polars_task(compute=compute, task_id="query")(form)())
        finally:
            killing.join()
        assert outcome.state == "failed", f"{number}: {outcome.result}"
        assert "QueryCancelledError: The task was killed" in f"{type(outcome.error).__name__}: {outcome.error}", number
        ids = {submission["query_id"] for submission in cluster.recorder.submissions}
        left = [query for query in cluster.queries if query["id"] in ids and query["state"] not in ENDED]
        assert left == [], number
        submissions += len(ids)
    assert KILLS / 4 < submissions < KILLS * 2
