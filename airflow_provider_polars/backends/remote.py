"""What backends share whose queries are plans: sent by the real client, watched by our own."""

from __future__ import annotations

import abc
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from airflow_provider_polars.backends import polars_client
from airflow_provider_polars.backends.base import Backend, Run, RunState, RunStatus, Submission
from airflow_provider_polars.backends.polars_client import PolarsClient
from airflow_provider_polars.backends.remote_results import failure, reference
from airflow_provider_polars.backends.submitting import ClusterSubmission, Target
from airflow_provider_polars.clients import observatory
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.observatory import summarise
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import (
    ClusterAccessError,
    ClusterUnreachableError,
    PolarsProviderError,
    QueryFailedError,
)
from airflow_provider_polars.query.result import ResultRef

R = TypeVar("R", bound=RemoteCompute)

UNREACHABLE_SECONDS = 300.0
"""How long a query is taken to run on while its cluster cannot be asked, if nobody says otherwise."""

LOST_SECONDS = 5.0
"""Between two looks at whether a cluster that cannot be reached is still there."""

CANCEL_SECONDS = 3.0
_STATES = {1: RunState.QUEUED, 2: RunState.RUNNING, 5: RunState.CANCELLED, 6: RunState.RUNNING}
_SUCCEEDED, _FAILED = 3, 4
_log = logging.getLogger(__name__)


class RemoteBackend(Backend[R]):
    """Submits queries with the client and watches them without it. Subclasses say where they run.

    :param scaling: ``auto``, ``distributed`` or ``single-node``, for queries that do not say.
    :ivar unreachable_seconds: how long a query is taken to run on while its cluster cannot be asked.
    """

    outlives_task = True

    def __init__(self, compute: R, *, scaling: str = "auto") -> None:
        super().__init__(compute)
        self.unreachable_seconds = UNREACHABLE_SECONDS
        self.scaling = scaling
        self._planes: dict[tuple[Any, ...], Any] = {}
        self._answers: dict[str, Any] = {}
        self._unreachable_since: dict[str, float] = {}
        self._unasked: set[str] = set()
        self._lost_asked = -math.inf
        self._interrupted = threading.Event()
        self._work: ClusterSubmission | None = None

    @property
    def handed_over(self) -> bool:
        return self._work is not None and self._work.handed_over

    @property
    def place(self) -> str:
        known = self.compute.to_dict()
        return " ".join(known[name] for name in ("kind", "compute_id") if known.get(name))

    @abc.abstractmethod
    def target(self) -> Target:
        """Return where queries go to."""

    @abc.abstractmethod
    def load_client(self) -> PolarsClient:
        """Return the installed client."""

    @abc.abstractmethod
    def reach(self, client: PolarsClient) -> Callable[[], None]:
        """Look at what queries are to be sent to; what is returned is called once the client has connected.

        Both raise what speaks against sending anything there.
        """

    @abc.abstractmethod
    def access_of(self, run: Run | None) -> ClusterAccess:
        """Return how to reach the cluster of a Run; None for that of the compute."""

    @abc.abstractmethod
    def new_plane(self, run: Run | None) -> Any:
        """Return a client for the queries of the cluster of a Run; it is closed by who asks for it."""

    def lost(self, run: Run | None) -> Exception | None:
        """Return why the cluster of a Run, None for that of the compute, will not come back; None if it may."""
        return None

    def ask_details(self, run: Run) -> Callable[[], dict[str, Any] | None]:
        """Ask for what the observatory knows of a query; what is returned waits for the answer."""
        return observatory.ask_details(self.access_of(run), run.query_id)

    def submit(self, submission: Submission, keep: Callable[[Run], None]) -> None:
        def kept(run: Run) -> None:
            self._unasked.add(run.query_id)
            keep(run)

        client = self.load_client()
        self._work = ClusterSubmission(
            self.compute,
            self.target(),
            submission,
            scaling=self.scaling,
            keep=kept,
            has_ended=self._has_ended,
            interrupted=self._interrupted,
        )
        self._work.check(client)
        self._work.run(client, connected=self.reach(client))

    def returned(self) -> Any:
        return self._work.returned if self._work else None

    def interrupt(self) -> None:
        self._interrupted.set()

    def poll(self, run: Run) -> RunStatus:
        try:
            return self._status(run)
        except ClusterUnreachableError as error:
            now = time.monotonic()
            if now - self._lost_asked > LOST_SECONDS:
                self._lost_asked = now
                if (reason := self.lost(run)) is not None:
                    return RunStatus(state=RunState.FAILED, error=reason)
            if now - self._unreachable_since.setdefault(_place(run), now) > self.unreachable_seconds:
                raise
            return RunStatus(state=RunState.RUNNING, progress=str(error))

    def progress(self, run: Run) -> str:
        try:
            return observatory.describe(self.ask_details(run)() or {})
        except PolarsProviderError as error:
            _log.debug("%s", error)
            return ""

    def watch(self, runs: Sequence[Run], seconds: float) -> None:
        places: dict[str, list[Run]] = {}
        for run in runs:
            if run.query_id not in self._answers:
                places.setdefault(_place(run), []).append(run)
        for there in places.values():
            query_ids = [run.query_id for run in there]
            long_poll = polars_client.holds_results()
            self._answers |= self._plane(there[0]).wait(query_ids, seconds / len(places), long_poll=long_poll)

    def cancel(self, runs: Sequence[Run]) -> None:
        """Ask in a thread, on a channel of its own: a signal may have interrupted this one in the middle of a call."""
        self._unasked.difference_update(run.query_id for run in runs)
        planes = {_place(run): self.new_plane(run) for run in runs}

        def ask() -> None:
            for run in runs:
                planes[_place(run)].cancel(run.query_id)
            for plane in planes.values():
                plane.close()

        thread = threading.Thread(target=ask, daemon=True, name="polars-cancel")
        thread.start()
        thread.join(CANCEL_SECONDS)

    def result(self, run: Run) -> ResultRef:
        details = self.ask_details(run)
        result = reference(run, self._answer(run), lambda: summarise(details() or {}))
        if result.get("signed"):
            _log.warning(
                "The cluster hands out the result of query %s by signed URLs, which are not passed on, so no task "
                "can read it. Give the task a sink.",
                run.query_id,
            )
        return result

    def close(self) -> None:
        for plane in self._planes.values():
            plane.close()
        self._planes.clear()

    def _has_ended(self, run: Run, seconds: float) -> bool:
        """Wait for a Run and return whether it has ended, for a function that waits for its query itself.

        :raises QueryFailedError: if it is lost; the client would say it in its own words.
        """
        if not (status := self.poll(run)).state.is_terminal:
            self.watch([run], seconds)
            status = self.poll(run)
        if status.state is RunState.LOST:
            raise QueryFailedError(
                f"query {run.query_id} is not known to the cluster at {self.access_of(run).uri} any more. Try again."
            )
        return status.state.is_terminal

    def _status(self, run: Run) -> RunStatus:
        if run.query_id in self._answers:
            return self._verdict(run)
        if run.query_id in self._unasked:
            self._unasked.discard(run.query_id)
            return RunStatus(state=RunState.QUEUED)
        try:
            code = self._plane(run).status(run.query_id)
        except ClusterAccessError as error:
            if not _place(run):
                raise
            _log.warning("query %s cannot be asked about any more: %s", run.query_id, error)
            return RunStatus(state=RunState.LOST)
        self._unreachable_since.pop(_place(run), None)
        if code is None:
            return RunStatus(state=RunState.LOST)
        if code in _STATES:
            return RunStatus(state=_STATES[code])
        try:
            return self._verdict(run)
        except LookupError:
            return RunStatus(state=RunState.LOST)

    def _verdict(self, run: Run) -> RunStatus:
        """Return how a query ended.

        :raises LookupError: if the cluster has forgotten it meanwhile.
        """
        answer = self._answer(run)
        if answer.query_status != _FAILED:
            return RunStatus(state=_STATES.get(answer.query_status, RunState.SUCCEEDED))
        messages = [error.message for error in answer.query_result.errors]
        return RunStatus(state=RunState.FAILED, error=failure(run, messages, self.access_of(run).uri))

    def _answer(self, run: Run) -> Any:
        if run.query_id not in self._answers:
            answer = self._plane(run).result(run.query_id)
            if answer is None:
                raise ClusterUnreachableError(
                    f"The cluster keeps the result of the query {run.query_id} back. Try again."
                )
            self._answers[run.query_id] = answer
        return self._answers[run.query_id]

    def _plane(self, run: Run | None = None) -> Any:
        access = self.access_of(run)
        key = (access.uri, *access.headers.items())
        if key not in self._planes:
            self._planes.setdefault(key, self.new_plane(run))
        return self._planes[key]

    def elsewhere(self, run: Run) -> ClusterAccess | None:
        """Return how to reach the cluster that the function of a Run named by itself, None for that of the compute.

        Headers of another cluster, with the token that may be among them, are known to the try alone that submitted.
        """
        if not _place(run):
            return None
        known = self._work.elsewhere.get(_place(run)) if self._work else None
        return known or ClusterAccess(**run.details["cluster"])


def state_of(status: int | None) -> RunState:
    """Return the state for a status as a scheduler gives it, None for that of a query it does not know."""
    ended = {None: RunState.LOST, _SUCCEEDED: RunState.SUCCEEDED, _FAILED: RunState.FAILED}
    return ended.get(status) or _STATES.get(status or 0, RunState.RUNNING)


def _place(run: Run) -> str:
    """Return the address of the cluster of a Run, "" for that of its compute."""
    return str(run.details.get("cluster", {}).get("uri", ""))
