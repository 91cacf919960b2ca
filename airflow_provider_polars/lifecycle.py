"""The one life cycle of every query: submit or re-attach, store at once, wait or let wait, cancel or forget."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from airflow_provider_polars import query_failures
from airflow_provider_polars.backends.base import Backend, Run, RunState, RunStatus, Submission
from airflow_provider_polars.exceptions import (
    ClusterAccessError,
    ClusterUnreachableError,
    PolarsProviderError,
    QueryCancelledError,
)
from airflow_provider_polars.hooks.metrics import Metrics
from airflow_provider_polars.kept_runs import STORE_KEY, KeptRuns, RunStore, Try
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query_failures import names

T = TypeVar("T")
WATCH_SECONDS = 1.0
FIRST_WORD_SECONDS, LONGEST_SILENCE_SECONDS = 30.0, 600.0
"""Until people are told how far a query has come, and the longest pause after that; each is twice the last."""

CANCEL_SECONDS = 30.0
USABLE = (RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED)


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
    :param attempt: which try of the task this is. Runs from before the task was cleared are not adopted but cancelled.
    :param log: receives what people read.
    :param announce: called with each Run once it is stored.
    :param durable: whether a later try may take over what this one has submitted.
    :param cancel_on_kill: whether the queries of a task that is killed are cancelled.
    :param deadline: when Airflow would end the task, in epoch seconds; it does not while the task is deferred.
    :param claimed: returns ids of queries on the compute that other tasks have submitted, None if that is not known.
    :param supervisor: id of the process that tells Airflow of this one; None where it does so itself.
    :param metrics: receives ``polars.query.submitted``, ``.reattached``, ``.duration``, ``.cancelled`` and ``.lost``.
    """

    def __init__(
        self,
        backend: Backend[Any],
        store: RunStore,
        *,
        attempt: Try,
        log: Log,
        announce: Callable[[Run], None] = lambda run: None,
        durable: bool = True,
        cancel_on_kill: bool = True,
        deadline: float = math.inf,
        metrics: Metrics | None = None,
        claimed: Callable[[], Collection[str] | None] = lambda: None,
        supervisor: int | None = None,
    ) -> None:
        self.backend = backend
        self.store = store
        self.attempt = attempt
        self.log = log
        self.announce = announce
        self.durable = durable
        self.cancel_on_kill = cancel_on_kill
        self.deadline = deadline
        self.metrics = metrics or Metrics()
        self.claimed = claimed
        self._runs: list[Run] = []
        self._results: Mapping[str, ResultRef] | None = None
        self._states: dict[str, RunState] = {}
        self._killed = False
        self._kept = True
        self._supervisor = supervisor

    def execute(self, submission: Submission, *, patience: float = math.inf) -> dict[str, ResultRef] | None:
        """Return the result of every output; None if not all have ended after ``patience`` seconds, and run on.

        What the function of the task has submitted by itself is waited for here, however long it takes.

        :raises QueryFailedError: if any failed, after all have ended, naming each.
        :raises QueryTimeoutError: if they have not all ended within ``options.timeout`` of their submission.
        :raises QueryCancelledError: if the task was killed.
        :raises ClusterUnreachableError: if the compute cannot be asked any more. The queries are left alone then if a
            next try can adopt them, and else cancelled.
        """
        return self._completed(lambda: self._begin(submission), submission.options.timeout, patience)

    def resume(
        self,
        runs: Sequence[Run],
        *,
        timeout: float | None,
        patience: float = math.inf,
        trouble: PolarsProviderError | None = None,
    ) -> dict[str, ResultRef] | None:
        """Go on where :meth:`execute` has returned None, in another process; see there.

        :param trouble: what has ended the waiting meanwhile; it is raised.
        """

        def take_over() -> None:
            self._runs = list(runs)
            for run in runs:
                self.announce(run)
            if trouble is not None:
                raise trouble

        return self._completed(take_over, timeout, patience)

    def submit(self, submission: Submission) -> list[Run]:
        """Submit the queries and return their Runs without waiting; clearing the task will cancel them."""
        return self._guarded(lambda: self._begin(submission))

    @property
    def runs(self) -> list[Run]:
        """The queries that were submitted or taken over."""
        return list(self._runs)

    def state(self, run: Run) -> RunState:
        """Return the state of a query when it was last asked for."""
        return self._states.get(run.query_id, RunState.QUEUED)

    def kill(self, *, cancel: bool = True) -> None:
        """Cancel the queries of a task that is being killed; :meth:`execute` then raises. For signal handlers.

        :param cancel: False where their compute ends with them.
        """
        self._killed = True
        self.backend.interrupt()
        if cancel and self.cancel_on_kill:
            self.backend.cancel(self._runs)

    def _guarded(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; whatever ends it otherwise cancels the queries."""
        try:
            return work()
        except Exception as error:
            nobodys_fault = isinstance(error, ClusterUnreachableError) or (self._is_alone() and self._kept)
            adopted_later = nobodys_fault and self._is_adopted_later()
            if (self._killed and self.cancel_on_kill) or not (self._killed or adopted_later):
                self._cancel()
            self._keep_end()
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
            self._submit(submission)
            self.log.info("Submitted %s to %s", names(self._runs), self.backend.where(next(iter(self._runs), None)))
        if self._killed:
            raise self._was_killed()
        return self._runs

    def _completed(
        self, begin: Callable[[], object], timeout: float | None, patience: float
    ) -> dict[str, ResultRef] | None:
        def complete() -> dict[str, ResultRef] | None:
            begin()
            if self._results is not None:
                return dict(self._results)
            if not self._wait(timeout, patience):
                return None
            query_failures.raise_failures([(run, self._poll(run)) for run in self._runs], self.backend)
            results = {run.output: self.backend.result(run) for run in self._runs}
            self._check_ours(results)
            return results

        results = self._guarded(complete)
        if results is not None:
            self._keep_results(results)
        return results

    def _keep_results(self, results: Mapping[str, ResultRef]) -> None:
        """Keep them for a next try: this one may be lost before Airflow hears that it has ended well."""
        if self.durable and all(run.adoptable for run in self._runs):
            self._save(results=results)
        else:
            self.store.delete(STORE_KEY)

    def _keep_end(self) -> None:
        """Keep that no query runs on: a next try on another compute could not ask."""
        if self.backend.place and self._kept and self._runs and all(self.state(run).is_terminal for run in self._runs):
            with contextlib.suppress(Exception):  # another error is on its way
                self._save(ended=True)

    def _save(self, **known: Any) -> None:
        KeptRuns(self._owner, self._runs, place=self.backend.place, **known).save(self.store)

    def _submit(self, submission: Submission) -> None:
        """Submit, and leave a note before: a process that is lost between a submission and its Run leaves just that."""
        if self.backend.outlives_task:
            KeptRuns.note(self.store, self._owner, self.backend.place)
        try:
            self.backend.submit(submission, self._keep)
        except Exception as error:
            is_refused = isinstance(error, PolarsProviderError) and error.permanent
            if self.backend.outlives_task and not self._runs and (is_refused or not self.backend.handed_over):
                self.store.delete(STORE_KEY)
            raise

    def _keep(self, run: Run) -> None:
        self._runs.append(run)
        self._kept = False
        self._save()
        self._kept = True
        self.metrics.count("query.submitted")
        self.announce(run)

    @property
    def _owner(self) -> Try | None:
        return self.attempt if self.durable else None

    def _poll(self, run: Run) -> RunStatus:
        """Return the state of a query; that it has ended is counted once."""
        status, before = self.backend.poll(run), self.state(run)
        self._states[run.query_id] = status.state
        if status.state.is_terminal and not before.is_terminal:
            self.metrics.time("query.duration", time.time() - run.submitted_at, state=status.state.value)
            if status.state in (RunState.CANCELLED, RunState.LOST):
                self.metrics.count(f"query.{status.state.value}")
        return status

    def _is_alone(self) -> bool:
        """Return whether the process is gone that tells Airflow of this one; another try follows then."""
        return self._supervisor not in (None, os.getppid())

    def _is_adopted_later(self) -> bool:
        return self.durable and not self.attempt.is_last and all(run.adoptable for run in self._runs)

    def _adopt(self, submission: Submission) -> bool:
        """Take over the Runs of an earlier try if they still live or have succeeded; else cancel them."""
        kept = KeptRuns.load(self.store)
        if kept is None:
            return False
        if kept.results is None and kept.is_elsewhere(self.backend.place):
            if not kept.ended:
                self.log.warning("%s", query_failures.left_elsewhere(kept.runs, kept.place))
            return False
        if not kept.runs and self.backend.outlives_task:
            return self._find(submission, kept)
        wanted = {output.name for output in submission.outputs}
        if kept.results is not None:
            return self._take_results(kept, wanted)
        self._runs = list(kept.runs)
        if (
            self.attempt.is_retry_of(kept.owner)
            and {run.output for run in self._runs if run.adoptable} == wanted
            and all(run.adoptable and self._poll(run).state in USABLE for run in self._runs)
        ):
            self.log.info("Adopted %s of an earlier try", names(self._runs))
            self._tell_reattached()
            return True
        confirmed, earlier = self._cancel(), self._runs
        self._runs = []
        if not confirmed:
            raise query_failures.not_confirmed(earlier, self.backend.compute)
        return False

    def _take_results(self, kept: KeptRuns, wanted: Collection[str]) -> bool:
        """Take the results of an earlier try that had them and was lost before Airflow heard of it."""
        owner, results = kept.owner, kept.results or {}
        is_retry = self.durable and self.attempt.is_retry_of(owner)
        if owner is None or not is_retry or self.attempt.number <= owner.number or set(results) != wanted:
            return False
        self._runs, self._results = list(kept.runs), results
        self._states = {run.query_id: RunState.SUCCEEDED for run in self._runs}
        self.log.info("An earlier try had the result of %s already, and could not tell Airflow", names(self._runs))
        self._tell_reattached()
        return True

    def _tell_reattached(self) -> None:
        for run in self._runs:
            self.metrics.count("query.reattached")
            self.announce(run)

    def _find(self, submission: Submission, note: KeptRuns) -> bool:
        """Take over the one query that an earlier try can have submitted before it was lost, where that can be told."""
        claimed, found = self.claimed(), []
        if self.attempt.is_retry_of(note.owner) and claimed is not None and note.noted_at is not None:
            found = self.backend.unkept(submission, note.noted_at)
        found = [run for run in found if run.query_id not in (claimed or ())]
        if len(found) == 1:
            if self._poll(found[0]).state not in USABLE:
                return False
            self.log.info("Found %s, which an earlier try has submitted and could not keep", names(found))
            self._runs = found
            self._save()
            self._tell_reattached()
            return True
        self.log.warning("%s", query_failures.lost_in_submission(found, self.backend.compute))
        return False

    def must_end(self, timeout: float | None) -> tuple[float, str]:
        """Return when the queries must have ended, in epoch seconds, and the limit that says so.

        :param timeout: seconds that each may take.
        """
        submitted = min(run.submitted_at for run in self._runs)
        limits = [
            (submitted + timeout if timeout else math.inf, f"timeout={timeout or 0:g} seconds"),
            (self.backend.ends_at or math.inf, f"the max_lifetime= of {self.backend.compute!r}"),
            (self.deadline, "the execution_timeout of the task"),
        ]
        return min(limits, key=lambda limit: limit[0])

    def _wait(self, timeout: float | None, patience: float) -> bool:
        """Return True once all queries have ended, False if that has not been so after ``patience`` seconds."""
        if not all(run.adoptable for run in self._runs):
            patience = math.inf
        (deadline, limit), patient_until = self.must_end(timeout), time.monotonic() + patience
        silence, talks_at = FIRST_WORD_SECONDS, time.monotonic() + FIRST_WORD_SECONDS
        while not self._killed and not all(self._poll(run).state.is_terminal for run in self._runs):
            if self._is_alone():
                raise QueryCancelledError("The supervisor of the task is gone: nobody would hear of a result.")
            left = deadline - time.time()
            if left <= 0 and (late := self._living()):
                raise query_failures.too_late(late, limit)
            if (patient := patient_until - time.monotonic()) <= 0:
                return False
            if time.monotonic() >= talks_at:
                silence = min(silence * 2, LONGEST_SILENCE_SECONDS)
                talks_at = time.monotonic() + silence
                self._tell_progress()
            self.backend.watch(self._runs, min(max(left, 0), WATCH_SECONDS, patient))
        if self._killed:
            raise self._was_killed()
        if time.time() >= deadline and (late := [run for run in self._runs if self.state(run) is RunState.CANCELLED]):
            raise query_failures.too_late(late, limit)  # a trigger has told them to end
        return True

    def _check_ours(self, results: Mapping[str, ResultRef]) -> None:
        for run in self._runs:
            if not self.backend.is_ours(run, results[run.output]):
                self.store.delete(STORE_KEY)
                self._kept = False
                raise query_failures.not_ours(run, results[run.output])

    def _tell_progress(self) -> None:
        for run in self._living():
            minutes, progress = (time.time() - run.submitted_at) / 60, self.backend.progress(run)
            self.log.info("%s runs for %.1f minutes%s", names([run]), minutes, f": {progress}" if progress else "")

    def _cancel(self) -> bool:
        """Cancel the Runs and return whether they have ended; what has not is said in the log.

        It asks again, for a compute that is out of reach does not hear it. A killed task has a few seconds left, and
        asks once.
        """
        living: Sequence[Run] = self._runs
        deadline = time.monotonic() + (0 if self._killed else CANCEL_SECONDS)
        try:
            while living:
                self.backend.cancel(living)
                if not (living := self._living()) or time.monotonic() >= deadline:
                    break
                self.backend.watch(living, WATCH_SECONDS)
        except PolarsProviderError as error:
            self.log.warning("%s", error)
        if living:
            self.log.warning(
                "%s was told to end, which is not confirmed: look at %r", names(living), self.backend.compute
            )
        return not living

    def _was_killed(self) -> QueryCancelledError:
        became = "was cancelled" if self.cancel_on_kill else "runs on, as cancel_on_kill=False says"
        cancelled = f"; {names(self._runs)} {became}" if self._runs else ""
        return QueryCancelledError(f"The task was killed{cancelled}.")

    def _living(self) -> list[Run]:
        """Return the Runs that have not ended, as far as the compute can be asked."""
        try:
            return [run for run in self._runs if not self._poll(run).state.is_terminal]
        except (ClusterAccessError, ClusterUnreachableError):
            return self._runs
