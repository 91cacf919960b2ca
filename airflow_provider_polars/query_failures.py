"""What to raise for the queries of a task that have not all succeeded."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_polars.backends.base import Backend, Run, RunState, RunStatus
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import PolarsProviderError, QueryCancelledError, QueryFailedError


def raise_failures(statuses: Sequence[tuple[Run, RunStatus]], backend: Backend[Compute]) -> None:
    """Raise for queries that have ended and not succeeded, naming each; return if there are none.

    :raises PolarsProviderError: of the class of the first reason, where no retry can mend any of them.
    :raises QueryFailedError: else.
    """
    failed = [(run, status) for run, status in statuses if status.state is not RunState.SUCCEEDED]
    if not failed:
        return
    errors = [status.error or _stateless(run, status.state, backend.compute) for run, status in failed]
    first = errors[0]
    if len(statuses) == 1:
        if isinstance(first, PolarsProviderError):
            raise first
        raise QueryFailedError(f"The query failed with {type(first).__name__}: {first}") from first
    ended = ", ".join(run.output for run, status in statuses if status.state is RunState.SUCCEEDED) or "none"
    outputs_by_reason: dict[str, list[str]] = {}
    for (run, _), error in zip(failed, errors, strict=True):
        outputs_by_reason.setdefault(str(error).rstrip(". \n"), []).append(run.output)
    reasons = "; ".join(f"{', '.join(outputs)}: {reason}" for reason, outputs in outputs_by_reason.items())
    permanent = all(isinstance(error, PolarsProviderError) and error.permanent for error in errors)
    kind = type(first) if permanent and isinstance(first, PolarsProviderError) else QueryFailedError
    raise kind(
        f"{len(failed)} of {len(statuses)} outputs failed. {reasons}. Without error: {ended}; {backend.after_failure}."
    ) from first


def names(runs: Sequence[Run]) -> str:
    """Return queries as words."""
    return "query " + ", ".join(
        run.query_id if run.output == "return_value" else f"{run.query_id} ({run.output})" for run in runs
    )


def _stateless(run: Run, state: RunState, compute: Compute) -> PolarsProviderError:
    """Return the error for a Run of which its compute says no more than that it has not succeeded."""
    if state is RunState.CANCELLED:
        return QueryCancelledError(f"{names([run])} was cancelled, not by this task.")
    if state is RunState.LOST:
        return QueryFailedError(f"{names([run])} is not known to {compute!r} any more. Try again.")
    return QueryFailedError(f"{names([run])} failed and {compute!r} gave no reason; see its log.")
