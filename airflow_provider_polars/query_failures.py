"""What to raise for the queries of a task that have not all succeeded."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_polars.backends.base import Backend, Run, RunState, RunStatus
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import (
    PolarsProviderError,
    QueryCancelledError,
    QueryFailedError,
    QueryTimeoutError,
)
from airflow_provider_polars.query.result import ResultRef


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


def too_late(runs: Sequence[Run], limit: str) -> QueryTimeoutError:
    """Return what to raise for queries that were cancelled at a limit, named as words."""
    return QueryTimeoutError(
        f"{names(runs)} did not end within {limit} and was cancelled. Raise that, or make the query smaller."
    )


def not_confirmed(runs: Sequence[Run], compute: Compute) -> QueryFailedError:
    """Return what to raise where queries of an earlier try may run on."""
    return QueryFailedError(
        f"{names(runs)} of an earlier try was told to end, which is not confirmed: nothing was submitted, or two "
        f"queries would write one result. Try again, or end it at {compute!r} by hand."
    )


def not_ours(run: Run, result: ResultRef) -> QueryFailedError:
    """Return what to raise for a query that was adopted and has written elsewhere."""
    return QueryFailedError(
        f"{names([run])} was taken for one that an earlier try had submitted, and has written to "
        f"{', '.join(result.locations[:1])}: it is another's. Try again, which submits anew."
    )


def left_elsewhere(runs: Sequence[Run], place: str) -> str:
    """Return what to say of queries of an earlier try on another compute; none for those that it could not keep."""
    return (
        f"{names(runs) if runs else 'A query'} of an earlier try may still run on {place}: this try runs elsewhere, "
        "where nobody can tell, and submits anew."
    )


def lost_in_submission(found: Sequence[Run], compute: Compute) -> str:
    """Return what to say of an earlier try that was lost while it submitted, and of what may be its query."""
    return (
        "An earlier try ended while it submitted, and what became of that is not known: "
        f"{f'one of {names(found)}' if found else 'a query of it'} may still run on {compute!r}. This try submits anew."
    )


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
