"""A try that is lost between the submission of a query and the keeping of its Run."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.exceptions import ClusterUnreachableError, QueryDefinitionError, QueryFailedError
from airflow_provider_polars.kept_runs import STORE_KEY
from airflow_provider_polars.lifecycle import Lifecycle
from tests.unit.scripted_backend import SUCCEEDED, ScriptedBackend, Tries, one


@pytest.fixture
def tries() -> Tries:
    """Return the tries of a task that nobody has tried yet."""
    return Tries()


@pytest.fixture
def outliving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let queries outlive the process of their task."""
    monkeypatch.setattr(ScriptedBackend, "outlives_task", True)


class PowerCut(BaseException):
    """What ends a process without a chance to clean up."""


def test_a_try_that_is_lost_while_it_submits_leaves_a_note_for_the_next_one(
    tries: Tries, outliving: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lose(self: Lifecycle, run: Run) -> None:
        raise PowerCut

    with monkeypatch.context() as lost:
        lost.setattr(Lifecycle, "_keep", lose)
        with pytest.raises(PowerCut):
            tries.new().execute(one())
    note = tries.store.values[STORE_KEY]
    assert (note["owner"]["number"], note["runs"]) == (1, [])
    tries.cluster.statuses["q2"] = [SUCCEEDED]

    with caplog.at_level(logging.WARNING):
        results = tries.new().execute(one())

    assert results is not None
    assert results["return_value"].query_id == "q2"
    assert "a query of it may still run on LocalCompute(). This try submits anew." in caplog.text
    assert "noted_at" not in tries.store.values[STORE_KEY]


@pytest.mark.parametrize(
    ("error", "handed_over", "left"),
    [
        (QueryDefinitionError("no such column"), True, False),
        (ClusterUnreachableError("no answer to the submission"), True, True),
        (QueryFailedError("INTERNAL"), True, True),
        (ClusterUnreachableError("nothing answers at the address"), False, False),
    ],
    ids=["refused", "no answer", "unclear", "not sent"],
)
def test_a_submission_of_which_nobody_knows_whether_it_was_heard_leaves_a_note_and_no_other(
    tries: Tries, outliving: None, error: Exception, handed_over: bool, left: bool
) -> None:
    tries.cluster.submit_errors["return_value"] = error
    tries.cluster.handed_over = handed_over

    with pytest.raises(type(error)):
        tries.new().execute(one())

    assert (STORE_KEY in tries.store.values) is left


def test_a_query_that_ends_with_its_process_needs_no_note(tries: Tries) -> None:
    tries.cluster.submit_errors["return_value"] = ClusterUnreachableError("away")

    with pytest.raises(ClusterUnreachableError):
        tries.new().execute(one())

    assert tries.cluster.events == ["close"]
