"""A try that is lost between the submission of a query and the keeping of its Run, and what the next one finds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import ParquetSink
from airflow_provider_polars.lifecycle import Lifecycle
from airflow_provider_polars.operators.query_waiting import QueryWaitingOperator
from tests.wire.cloud.tasks import CloudTasks, compute, retried

if TYPE_CHECKING:
    from pathlib import Path

Submitted = Callable[..., None]


class PowerCut(BaseException):
    """What ends a process without a chance to clean up."""


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the queries that other tasks of the group have told of."""
    ids: set[str] = set()
    monkeypatch.setattr(QueryWaitingOperator, "_claimed", lambda *_: ids)
    return ids


@pytest.fixture
def handle(cloud: CloudTasks) -> dict[str, Any]:
    """Return an instance in proxy mode."""
    return cloud.started(compute(connection_mode="proxy"))


@pytest.fixture
def sink(tmp_path: Path) -> ParquetSink:
    """Return where the task is to write."""
    return ParquetSink(f"{tmp_path}/numbers.parquet")


@pytest.fixture
def lost(cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch) -> Submitted:
    """Return ``lost(handle, **options)``: a first try that submits and is gone before its Run is kept."""

    def cut(lifecycle: Lifecycle, run: Any) -> None:
        raise PowerCut

    def submit(handle: Any, **options: Any) -> None:
        with monkeypatch.context() as power, pytest.raises(PowerCut):  # noqa: PT012
            power.setattr(Lifecycle, "_keep", cut)
            outcome = cloud.query(handle, max_tries=1, **options)
            raise outcome.error or AssertionError(outcome)

    return submit


def submissions(cloud: CloudTasks, handle: Any) -> list[str]:
    return [record["query_id"] for record in cloud.records(handle)]


def test_the_one_query_that_it_can_have_submitted_is_adopted(
    cloud: CloudTasks, handle: dict[str, Any], sink: ParquetSink, lost: Submitted, claimed: set[str]
) -> None:
    lost(handle, sink=sink)

    outcome = cloud.query(handle, sink=sink, try_number=2, max_tries=1)

    assert outcome.error is None
    assert submissions(cloud, handle) == [outcome.result["query_id"]]
    assert pl.read_parquet(outcome.result["locations"])["a"].to_list() == [1, 2, 3]
    assert outcome.state_store["polars_runs"]["results"] == {"return_value": outcome.result}


def test_queries_that_other_tasks_have_told_of_are_no_candidates(
    cloud: CloudTasks, handle: dict[str, Any], sink: ParquetSink, lost: Submitted, claimed: set[str], tmp_path: Path
) -> None:
    lost(handle, sink=sink)
    other = cloud.query(handle, sink=ParquetSink(f"{tmp_path}/other.parquet"), task_id="other")
    claimed.add(other.result["query_id"])

    outcome = cloud.query(handle, sink=sink, try_number=2, max_tries=1)

    assert outcome.error is None
    assert len(submissions(cloud, handle)) == 2
    assert outcome.result["query_id"] != other.result["query_id"]


def test_of_several_candidates_none_is_adopted_and_all_are_named(
    cloud: CloudTasks,
    handle: dict[str, Any],
    sink: ParquetSink,
    lost: Submitted,
    claimed: set[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost(handle, sink=sink)
    other = cloud.query(handle, sink=ParquetSink(f"{tmp_path}/other.parquet"), task_id="other")

    with caplog.at_level(logging.WARNING):
        outcome = cloud.query(handle, sink=sink, try_number=2, max_tries=1)

    assert outcome.error is None
    assert len(submissions(cloud, handle)) == 3
    told = caplog.text + capsys.readouterr().out
    assert "An earlier try ended while it submitted" in told
    assert other.result["query_id"] in told


def test_a_query_that_turns_out_to_be_of_somebody_else_is_not_handed_on(
    cloud: CloudTasks, handle: dict[str, Any], sink: ParquetSink, lost: Submitted, claimed: set[str], tmp_path: Path
) -> None:
    """As if the try had been lost before it submitted, and another task had submitted meanwhile."""
    lost(handle, sink=ParquetSink(f"{tmp_path}/of_somebody_else.parquet"))

    error = retried(cloud.query(handle, sink=sink, try_number=1, max_tries=1))
    assert error.startswith(f"QueryFailedError: query {submissions(cloud, handle)[0]} was taken for one that")
    assert "of_somebody_else.parquet: it is another's." in error

    outcome = cloud.query(handle, sink=sink, try_number=2, max_tries=1)
    assert outcome.error is None
    assert outcome.result["query_id"] == submissions(cloud, handle)[-1]
    assert len(submissions(cloud, handle)) == 2


@pytest.mark.parametrize("reason", ["direct mode", "no sink", "nobody knows who uses the instance"])
def test_where_nobody_can_tell_the_next_try_submits_anew(
    cloud: CloudTasks,
    sink: ParquetSink,
    lost: Submitted,
    claimed: set[str],
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
) -> None:
    handle = cloud.started(compute(connection_mode="direct" if reason == "direct mode" else "proxy"))
    options: dict[str, Any] = {} if reason == "no sink" else {"sink": sink}
    if reason == "nobody knows who uses the instance":
        monkeypatch.setattr(QueryWaitingOperator, "_claimed", lambda *_: None)
    lost(handle, **options)

    outcome = cloud.query(handle, try_number=2, max_tries=1, **options)

    assert outcome.error is None
    assert len(submissions(cloud, handle)) == 2


def test_a_cleared_task_submits_anew(
    cloud: CloudTasks, handle: dict[str, Any], sink: ParquetSink, lost: Submitted, claimed: set[str]
) -> None:
    lost(handle, sink=sink)

    assert cloud.query(handle, sink=sink, try_number=2, max_tries=2).error is None
    assert len(submissions(cloud, handle)) == 2
