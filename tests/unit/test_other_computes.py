"""A try that runs on another compute than the one before: who could tell of the earlier query is not asked."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_polars import ClusterCompute
from airflow_provider_polars.backends.cloud import CloudBackend
from airflow_provider_polars.backends.cluster import ClusterBackend
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.exceptions import QueryFailedError
from airflow_provider_polars.kept_runs import STORE_KEY, KeptRuns, Try
from tests.unit.scripted_backend import RUNNING, SUCCEEDED, ScriptedBackend, Tries, failed, one
from tests.unit.scripted_manager import HANDLE, INSTANCE

WARNING = (
    "query q1 of an earlier try may still run on cluster http://a:5051: this try runs elsewhere, where nobody can "
    "tell, and submits anew."
)


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Tries:
    """Return the tries of a task on the cluster ``a``, of which none has run yet."""
    monkeypatch.setattr(ScriptedBackend, "outlives_task", True)
    tries = Tries()
    tries.cluster.place = "cluster http://a:5051"
    return tries


def move(tries: Tries) -> None:
    """Let the next tries run on the cluster ``b``."""
    tries.cluster.place = "cluster http://b:5051"


@pytest.mark.parametrize("max_tries", [9, 10], ids=["retry", "cleared"])
def test_a_query_elsewhere_is_neither_adopted_nor_taken_for_ended(
    tries: Tries, caplog: pytest.LogCaptureFixture, max_tries: int
) -> None:
    tries.leave_behind(one())
    tries.cluster.statuses |= {"q1": [RUNNING], "q2": [SUCCEEDED]}
    move(tries)

    with caplog.at_level(logging.WARNING):
        results = tries.new(max_tries=max_tries).execute(one())

    assert results is not None
    assert results["return_value"].query_id == "q2"
    assert "cancel q1" not in tries.cluster.events
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [WARNING]


def test_a_query_on_the_same_compute_is_adopted(tries: Tries) -> None:
    tries.leave_behind(one())
    tries.cluster.statuses["q1"] = [SUCCEEDED]

    assert tries.new().execute(one())["return_value"].query_id == "q1"  # type: ignore[index]


def test_a_query_that_an_earlier_version_kept_is_adopted_wherever_that_was(tries: Tries) -> None:
    tries.leave_behind(one())
    del tries.store.values[STORE_KEY]["place"]
    tries.cluster.statuses["q1"] = [SUCCEEDED]
    move(tries)

    assert tries.new().execute(one())["return_value"].query_id == "q1"  # type: ignore[index]


def test_of_a_query_that_was_seen_to_end_nobody_is_warned(tries: Tries, caplog: pytest.LogCaptureFixture) -> None:
    tries.cluster.statuses |= {"q1": [failed(QueryFailedError("no"))], "q2": [SUCCEEDED]}
    with pytest.raises(QueryFailedError):
        tries.new().execute(one())
    move(tries)

    assert tries.new().execute(one())["return_value"].query_id == "q2"  # type: ignore[index]
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


def test_results_are_handed_on_wherever_their_query_ran(tries: Tries) -> None:
    tries.cluster.statuses["q1"] = [SUCCEEDED]
    results = tries.new().execute(one())
    move(tries)

    assert tries.new().execute(one()) == results


def test_what_a_lost_try_may_have_submitted_elsewhere_is_not_looked_for(
    tries: Tries, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(ScriptedBackend, "unkept", look)
    KeptRuns.note(tries.store, Try(1, 9, 1), tries.cluster.place)
    tries.cluster.statuses["q1"] = [SUCCEEDED]
    move(tries)

    with caplog.at_level(logging.WARNING):
        tries.new(attempt=Try(2, 9, 1), claimed=list).execute(one())

    assert "A query of an earlier try may still run on cluster http://a:5051" in caplog.text


def test_a_cluster_is_known_by_its_address_and_an_instance_by_its_id() -> None:
    access = ClusterAccess(uri="https://scheduler.example.com", headers={"authorization": "Bearer hidden"})
    plane: Any = None

    assert ClusterBackend(ClusterCompute(), access).place == "cluster https://scheduler.example.com:5051"
    assert CloudBackend(HANDLE, plane).place == f"cloud {INSTANCE}"
