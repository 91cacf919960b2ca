"""The one life cycle of every query: submit or re-attach, store at once, wait, cancel or forget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from airflow_provider_polars.backends.base import Backend, Run, RunState, Submission
from airflow_provider_polars.exceptions import (
    ClusterAccessError,
    ClusterUnreachableError,
    PolarsProviderError,
    QueryCancelledError,
    QueryFailedError,
    QueryTimeoutError,
)
from airflow_provider_polars.query.result import ResultRef

T = TypeVar("T")
STORE_KEY = "polars_runs"
WATCH_SECONDS = 1.0
CANCEL_SECONDS = 30.0
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

    def warning(self, event: str, *args: Any) -> Any:
        """Write a line that someone should read."""


class Lifecycle:
    """Takes one submission of a task from its start to its results.

    :param backend: runs the queries.
    :param store: where the Runs are kept between tries.
    :param max_tries: ``ti.max_tries``: kept by an automatic retry, raised by a clear. Runs stored under another number
        are not adopted but cancelled.
    :param log: receives what people read.
    :param announce: called with each Run once it is stored.
    """

    def __init__(
        self,
        backend: Backend[Any],
        store: RunStore,
        *,
        max_tries: int,
        log: Log,
        announce: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self.backend = backend
        self.store = store
        self.max_tries = max_tries
        self.log = log
        self.announce = announce
        self._runs: list[Run] = []
        self._killed = False

    def execute(self, submission: Submission) -> dict[str, ResultRef]:
        """Return the result of every output.

        :raises QueryFailedError: if any failed, after all have ended, naming each.
        :raises QueryTimeoutError: if they have not all ended within ``options.timeout`` of their submission.
        :raises QueryCancelledError: if the task was killed.
        :raises ClusterUnreachableError: if the compute cannot be asked any more. The queries are left alone then: the
            next try adopts them.
        """
        results = self._guarded(lambda: self._complete(submission))
        self.store.delete(STORE_KEY)
        return results

    def submit(self, submission: Submission) -> list[Run]:
        """Submit the queries and return their Runs without waiting; clearing the task will cancel them."""
        return self._guarded(lambda: self._begin(submission))

    def kill(self) -> None:
        """Cancel the queries of a task that is being killed; :meth:`execute` then raises. For signal handlers."""
        self._killed = True
        self.backend.interrupt()
        self.backend.cancel(self._runs)

    def _guarded(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; whatever ends it otherwise cancels the queries."""
        try:
            return work()
        except Exception as error:
            adopted_later = isinstance(error, ClusterUnreachableError) and all(run.adoptable for run in self._runs)
            if self._killed or not adopted_later:
                self._cancel()
            if self._killed and not isinstance(error, QueryCancelledError):
                raise self._was_killed() from error
            raise
        except BaseException:
            self._cancel()
            raise
        finally:
            self.backend.close()

    def _begin(self, submission: Submission) -> list[Run]:
        if not self._adopt(submission):
            self.backend.submit(submission, self._keep)
            self.log.info("Submitted %s to %r", _names(self._runs), self.backend.compute)
        if self._killed:
            raise self._was_killed()
        return self._runs

    def _complete(self, submission: Submission) -> dict[str, ResultRef]:
        self._begin(submission)
        self._wait(submission.options.timeout)
        self._raise_failures()
        return {run.output: self.backend.result(run) for run in self._runs}

    def _keep(self, run: Run) -> None:
        self._runs.append(run)
        self.store.set(STORE_KEY, {"max_tries": self.max_tries, "runs": [stored.to_dict() for stored in self._runs]})
        self.announce(run)

    def _adopt(self, submission: Submission) -> bool:
        """Take over the Runs of an earlier try if they still live or have succeeded; else cancel them."""
        stored = self.store.get(STORE_KEY)
        if not isinstance(stored, dict):
            return False
        self._runs = [Run.from_dict(run) for run in stored.get("runs", [])]
        wanted = {output.name for output in submission.outputs}
        if (
            stored.get("max_tries") == self.max_tries
            and {run.output for run in self._runs if run.adoptable} == wanted
            and all(run.adoptable and self.backend.poll(run).state in USABLE for run in self._runs)
        ):
            self.log.info("Adopted %s of an earlier try", _names(self._runs))
            for run in self._runs:
                self.announce(run)
            return True
        confirmed, earlier = self._cancel(), self._runs
        self._runs = []
        if not confirmed:
            raise QueryFailedError(
                f"{_names(earlier)} of an earlier try was told to end, which is not confirmed: nothing was "
                "submitted, or two queries would write one result. Try again, or end it at "
                f"{self.backend.compute!r} by hand."
            )
        return False

    def _wait(self, timeout: float | None) -> None:
        deadline = min(run.submitted_at for run in self._runs) + timeout if timeout else None
        while not self._killed and not all(self.backend.poll(run).state.is_terminal for run in self._runs):
            left = deadline - time.time() if deadline else WATCH_SECONDS
            if left <= 0 and (late := self._living()):
                raise QueryTimeoutError(
                    f"{_names(late)} did not end within timeout={timeout:g} seconds and was cancelled. "
                    "Raise timeout=, or make the query smaller."
                )
            self.backend.watch(self._runs, min(max(left, 0), WATCH_SECONDS))
        if self._killed:
            raise self._was_killed()

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
            f"{self.backend.after_failure}."
        ) from first

    def _stateless(self, run: Run, state: RunState) -> PolarsProviderError:
        """Return the error for a Run of which its compute says no more than that it has not succeeded."""
        if state is RunState.CANCELLED:
            return QueryCancelledError(f"{_names([run])} was cancelled, not by this task.")
        if state is RunState.LOST:
            return QueryFailedError(f"{_names([run])} is not known to {self.backend.compute!r} any more. Try again.")
        return QueryFailedError(f"{_names([run])} failed and {self.backend.compute!r} gave no reason; see its log.")

    def _cancel(self) -> bool:
        """Cancel the Runs and return whether they have ended; what has not is said in the log.

        It asks again, for a compute that is out of reach does not hear it. A killed task has a few seconds left, and
        asks once.
        """
        living: Sequence[Run] = self._runs
        deadline = time.monotonic() + (0 if self._killed else CANCEL_SECONDS)
        while living:
            self.backend.cancel(living)
            if not (living := self._living()):
                break
            if time.monotonic() >= deadline:
                self.log.warning(
                    "%s was told to end, which is not confirmed: look at %r", _names(living), self.backend.compute
                )
                return False
            self.backend.watch(living, WATCH_SECONDS)
        return True

    def _was_killed(self) -> QueryCancelledError:
        cancelled = f"; {_names(self._runs)} was cancelled" if self._runs else ""
        return QueryCancelledError(f"The task was killed{cancelled}.")

    def _living(self) -> list[Run]:
        """Return the Runs that have not ended, as far as the compute can be asked."""
        try:
            return [run for run in self._runs if not self.backend.poll(run).state.is_terminal]
        except (ClusterAccessError, ClusterUnreachableError):
            return self._runs


def _all_permanent(errors: Sequence[Exception]) -> bool:
    return all(isinstance(error, PolarsProviderError) and error.permanent for error in errors)


def _names(runs: Sequence[Run]) -> str:
    return "query " + ", ".join(
        run.query_id if run.output == "return_value" else f"{run.query_id} ({run.output})" for run in runs
    )
