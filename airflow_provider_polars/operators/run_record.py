"""The public record that each stint of a task on a worker leaves of its queries: what pages and reports read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.lifecycle import Lifecycle
from airflow_provider_polars.query.result import ResultRef

if TYPE_CHECKING:
    from airflow.sdk import Context

KEY = "polars_run"
"""XCom of every task that runs queries."""

_ERROR_LENGTH = 500


def leave_record(
    context: Context,
    lifecycle: Lifecycle,
    *,
    outcome: str,
    results: Mapping[str, ResultRef] | None = None,
    error: BaseException | None = None,
) -> None:
    """Push the record. Nothing is recorded of a try that submitted nothing, and no error keeps it from its end.

    It is a dict of ``outcome`` (``succeeded``, ``deferred``, ``failed``), ``compute`` (as people see it),
    ``try_number``, ``error``, and ``queries``: a list with ``query_id``, ``output``, ``status``, ``submitted_at`` and
    ``seconds`` until now, ``link``, and for those that have ended well ``rows``, ``bytes``, ``format``, ``locations``
    (at most three, ``files`` says how many there are) and ``timings``. Times are in epoch seconds.
    """
    if not lifecycle.runs:
        return
    record: dict[str, Any] = {
        "outcome": outcome,
        "compute": lifecycle.backend.compute.serialize(),
        "try_number": context["ti"].try_number,
        "queries": [_query(lifecycle, run, (results or {}).get(run.output)) for run in lifecycle.runs],
    }
    if error is not None:
        told = str(error) if isinstance(error, PolarsProviderError) else ""
        record["error"] = f"{type(error).__name__}: {told}"[:_ERROR_LENGTH].rstrip(": ")
    with contextlib.suppress(Exception):
        context["ti"].xcom_push(key=KEY, value=record)


def _query(lifecycle: Lifecycle, run: Any, result: ResultRef | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "query_id": run.query_id,
        "output": run.output,
        "status": lifecycle.state(run).value,
        "submitted_at": run.submitted_at,
        "seconds": round(time.time() - run.submitted_at, 3),
        "link": run.link,
    }
    if result is not None:
        told |= {name: result.get(name) for name in ("rows", "bytes", "format", "files", "timings")}
        told["locations"] = result.locations[:3]
    return told
