"""What tests look at after a task has run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from tests.harness.in_memory import TaskOutcome


def rows(ref: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the Parquet result that ``ref`` stands for."""
    return pl.read_parquet(ref["locations"]).to_dicts()


def succeeded(outcome: TaskOutcome) -> Any:
    """Return what the task returned; raise its error if it did not succeed."""
    if outcome.error is not None:
        raise outcome.error
    assert outcome.state == "success"
    return outcome.result


def failure(outcome: TaskOutcome) -> str:
    """Return class and message of the error of a task that ended for good."""
    assert outcome.state == "failed", f"{outcome.state}: {outcome.error}"
    return f"{type(outcome.error).__name__}: {outcome.error}"


def used_compute(outcome: TaskOutcome) -> dict[str, Any]:
    """Return the compute that the queries of the task were submitted to."""
    stored = [
        request.body["value"]["runs"] for request in outcome.requests if request.method == "PUT" and _is_run(request)
    ]
    found: dict[str, Any] = stored[-1][-1]["compute"]
    return found


def _is_run(request: Any) -> bool:
    return bool(request.path.endswith("/polars_runs"))
