"""The end of a query that a person has cancelled: confirmed by its status, or told not to be."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_polars.backends.base import Run, RunState, RunStatus
from airflow_provider_polars.cli import queries
from airflow_provider_polars.exceptions import ClusterUnreachableError, QueryFailedError
from tests.unit.scripted_backend import RUNNING, Cluster, ScriptedBackend, Statuses

CANCELLED = RunStatus(state=RunState.CANCELLED)
AWAY = ClusterUnreachableError("The cluster does not answer.")


def end(*statuses: Any) -> RunState:
    """Wait for the end of a query whose statuses come in this order; the last one stays."""
    cluster = Cluster()
    script: Statuses = list(statuses)
    cluster.statuses["q1"] = script
    run = Run(query_id="q1", output="return_value", compute={}, submitted_at=time.time())
    backend: Any = ScriptedBackend(cluster)
    return queries._ended(backend, run)


def test_a_cluster_that_is_away_meanwhile_is_asked_again() -> None:
    assert end(RUNNING, AWAY, CANCELLED) is RunState.CANCELLED


@pytest.mark.parametrize(("status", "known"), [(RUNNING, "running still"), (AWAY, "not known to have ended")])
def test_an_end_that_does_not_come_is_an_error(status: Any, known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "CANCEL_SECONDS", 0.05)
    with pytest.raises(QueryFailedError, match=f"The query q1 was told to end, and is {known} after 0.05 seconds."):
        end(status)
