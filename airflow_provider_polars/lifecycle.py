"""The one life cycle of every query: submit or re-attach, store at once, wait, cancel or forget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from airflow_provider_polars.backends.base import Backend, Run, RunState, Submission
from airflow_provider_polars.exceptions import (
    PolarsProviderError,
    QueryCancelledError,
    QueryFailedError,
    QueryTimeoutError,
)
from airflow_provider_polars.query.result import ResultRef

STORE_KEY = "polars_runs"
WATCH_SECONDS = 1.0
USABLE = (RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED)


class RunStore(Protocol):
    """Memory of a task that outlives its tries: Airflow's ``task_state_store``."""

    def get(self, key: str) -> Any:
        """Return the value of ``key``, None if there is none."""

    def set(self, key: str, value: Any) -> None:
        """Keep a JSON value."""

    def delete(self, key: str) -> None:
        """Forget ``key``, if it is there."""


class Log(Protocol):
    """A logger, Airflow's or that of the standard library."""

    def info(self, event: str, *args: Any) -> Any:
        """Write a line; ``args`` fill its ``%`` places."""


class Lifecycle:
    """Takes one submission of a task from its start to its results.

    :param backend: runs the queries.
    :param store: where the Runs are kept between tries.
    :param max_tries: ``ti.max_tries``: kept by an automatic retry, raised by a clear. Runs stored under another number
        are not adopted but cancelled.
    :param log: receives what people read.
    """

    def __init__(self, backend: Backend[Any], store: RunStore, *, max_tries: int, log: Log) -> None:
        self.backend = backend
        self.store = store
        self.max_tries = max_tries
        self.log = log
        self._runs: list[Run] = []
        self._killed = False

    def execute(self, submission: Submission) -> dict[str, ResultRef]:
        """Return the result of every output.

        :raises QueryFailedError: if any failed, after all have ended, naming each.
        :raises QueryTimeoutError: if they have not all ended within ``options.timeout`` of their submission.
        :raises QueryCancelledError: if the task was killed.
        """
        try:
            if not self._adopt(submission):
                self._submit(submission)
            self._wait(submission.options.timeout)
            self._raise_failures()
            results = {run.output: self.backend.result(run) for run in self._runs}
        except BaseException:
            self._cancel()
            raise
        finally:
            self.backend.close()
        self.store.delete(STORE_KEY)
        return results

    def kill(self) -> None:
        """Cancel the queries of a task that is being killed; :meth:`execute` then raises. For signal handlers."""
        self._killed = True
        self.backend.interrupt()
        self._cancel()

    def _adopt(self, submission: Submission) -> bool:
        """Take over the Runs of an earlier try if they still live or have succeeded; else cancel them."""
        stored = self.store.get(STORE_KEY)
        if not isinstance(stored, dict):
            return False
        self._runs = [Run.from_dict(run) for run in stored.get("runs", [])]
        wanted = {output.name for output in submission.outputs}
        if (
            stored.get("max_tries") == self.max_tries
            and {run.output for run in self._runs} == wanted
            and all(self.backend.poll(run).state in USABLE for run in self._runs)
        ):
            self.log.info("Adopted %s of an earlier try", _names(self._runs))
            return True
        self._cancel()
        self._runs = []
        return False

    def _submit(self, submission: Submission) -> None:
        for run in self.backend.submit(submission):
            self._runs.append(run)
            self.store.set(
                STORE_KEY, {"max_tries": self.max_tries, "runs": [stored.to_dict() for stored in self._runs]}
            )
        self.log.info("Submitted %s to %r", _names(self._runs), self.backend.compute)

    def _wait(self, timeout: float | None) -> None:
        deadline = min(run.submitted_at for run in self._runs) + timeout if timeout else None
        while not self._killed and not all(self.backend.poll(run).state.is_terminal for run in self._runs):
            left = deadline - time.time() if deadline else WATCH_SECONDS
            if left <= 0:
                raise QueryTimeoutError(
                    f"{_names(self._runs)} did not end within timeout={timeout:g} seconds and was cancelled. "
                    "Raise timeout=, or make the query smaller."
                )
            self.backend.watch(self._runs, min(left, WATCH_SECONDS))
        if self._killed:
            raise QueryCancelledError(f"The task was killed; {_names(self._runs)} was cancelled.")

    def _raise_failures(self) -> None:
        statuses = [(run, self.backend.poll(run)) for run in self._runs]
        failed = [(run, status) for run, status in statuses if status.state is not RunState.SUCCEEDED]
        if not failed:
            return
        errors = [status.error or self._stateless(run, status.state) for run, status in failed]
        if len(self._runs) == 1:
            if isinstance(errors[0], PolarsProviderError):
                raise errors[0]
            raise QueryFailedError(f"The query failed with {type(errors[0]).__name__}: {errors[0]}") from errors[0]
        ended = ", ".join(run.output for run, status in statuses if status.state is RunState.SUCCEEDED) or "none"
        outputs_by_reason: dict[str, list[str]] = {}
        for (run, _), error in zip(failed, errors, strict=True):
            outputs_by_reason.setdefault(str(error).rstrip(". \n"), []).append(run.output)
        reasons = "; ".join(f"{', '.join(outputs)}: {reason}" for reason, outputs in outputs_by_reason.items())
        first = errors[0]
        kind = type(first) if _all_permanent(errors) and isinstance(first, PolarsProviderError) else QueryFailedError
        raise kind(
            f"{len(failed)} of {len(self._runs)} outputs failed. {reasons}. Without error: {ended}; "
            "no local result was replaced."
        ) from first

    def _stateless(self, run: Run, state: RunState) -> PolarsProviderError:
        """Return the error for a Run of which its compute says no more than that it has not succeeded."""
        if state is RunState.CANCELLED:
            return QueryCancelledError(f"{_names([run])} was cancelled, not by this task.")
        if state is RunState.LOST:
            return QueryFailedError(f"{_names([run])} is not known to {self.backend.compute!r} any more. Try again.")
        return QueryFailedError(f"{_names([run])} failed and {self.backend.compute!r} gave no reason; see its log.")

    def _cancel(self) -> None:
        for run in self._runs:
            self.backend.cancel(run)


def _all_permanent(errors: Sequence[Exception]) -> bool:
    return all(isinstance(error, PolarsProviderError) and error.permanent for error in errors)


def _names(runs: Sequence[Run]) -> str:
    return "query " + ", ".join(
        run.query_id if run.output == "return_value" else f"{run.query_id} ({run.output})" for run in runs
    )
