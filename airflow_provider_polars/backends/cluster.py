"""The backend of :class:`ClusterCompute`: plans sent to a Polars cluster by the real client, watched by our own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_polars.backends import polars_client
from airflow_provider_polars.backends.base import Backend, Run, RunState, RunStatus, Submission
from airflow_provider_polars.backends.remote_results import failure, reference
from airflow_provider_polars.backends.submitting import ClusterSubmission
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.compute_plane import ComputePlane, ComputeVersions
from airflow_provider_polars.clients.observatory import ask_details, summarise
from airflow_provider_polars.clients.probe import probe
from airflow_provider_polars.compute.cluster import ClusterCompute
from airflow_provider_polars.exceptions import ClusterAccessError, ClusterUnreachableError, QueryFailedError
from airflow_provider_polars.query.result import ResultRef

UNREACHABLE_SECONDS = 300.0
"""How long a query is taken to run on while its cluster cannot be asked."""

CANCEL_SECONDS = 3.0
_STATES = {1: RunState.QUEUED, 2: RunState.RUNNING, 5: RunState.CANCELLED, 6: RunState.RUNNING}
_FAILED = 4
_log = logging.getLogger(__name__)


class ClusterBackend(Backend[ClusterCompute]):
    """Submits queries to one cluster.

    :param access: where it is and what to show it.
    :param scaling: ``auto``, ``distributed`` or ``single-node``, for queries that do not say.
    """

    def __init__(self, compute: ClusterCompute, access: ClusterAccess, *, scaling: str = "auto") -> None:
        super().__init__(compute)
        self.access = access
        self.scaling = scaling
        self._planes: dict[tuple[Any, ...], ComputePlane] = {}
        self._answers: dict[str, Any] = {}
        self._unreachable_since: dict[str, float] = {}
        self._unasked: set[str] = set()
        self._interrupted = threading.Event()
        self._work: ClusterSubmission | None = None

    def submit(self, submission: Submission, keep: Callable[[Run], None]) -> None:
        def kept(run: Run) -> None:
            self._unasked.add(run.query_id)
            keep(run)

        self._work = ClusterSubmission(
            self.compute,
            self.access,
            submission,
            scaling=self.scaling,
            keep=kept,
            has_ended=self._has_ended,
            interrupted=self._interrupted,
        )
        polars_client.show_user(self.access.user_name)
        client = polars_client.load_client()
        self._work.check(client)
        probe(self.access)
        versions = self._plane().ask_versions()
        self._work.run(client, connected=lambda: self._check_versions(client, versions()))

    def returned(self) -> Any:
        return self._work.returned if self._work else None

    def interrupt(self) -> None:
        self._interrupted.set()

    def poll(self, run: Run) -> RunStatus:
        try:
            return self._status(run)
        except ClusterUnreachableError as error:
            now = time.monotonic()
            if now - self._unreachable_since.setdefault(_place(run), now) > UNREACHABLE_SECONDS:
                raise
            return RunStatus(state=RunState.RUNNING, progress=str(error))

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
        planes = {_place(run): self._new_plane(run) for run in runs}

        def ask() -> None:
            for run in runs:
                planes[_place(run)].cancel(run.query_id)
            for plane in planes.values():
                plane.close()

        thread = threading.Thread(target=ask, daemon=True, name="polars-cancel")
        thread.start()
        thread.join(CANCEL_SECONDS)

    def result(self, run: Run) -> ResultRef:
        details = ask_details(self._access(run), run.query_id)
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
                f"query {run.query_id} is not known to the cluster at {self._access(run).uri} any more. Try again."
            )
        return status.state.is_terminal

    def _check_versions(self, client: polars_client.PolarsClient, versions: ComputeVersions) -> None:
        _log.info(
            "Cluster %s: version %s, Polars %s. Here: %s %s, Polars %s",
            self.access.uri,
            versions.compute_plane or "unknown",
            versions.polars or "unknown",
            client.name,
            client.version,
            client.polars,
        )
        polars_client.check_versions(client, versions.polars, self.access.uri)

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
        return RunStatus(state=RunState.FAILED, error=failure(run, messages, self._access(run).uri))

    def _answer(self, run: Run) -> Any:
        if run.query_id not in self._answers:
            answer = self._plane(run).result(run.query_id)
            if answer is None:
                raise ClusterUnreachableError(
                    f"The cluster keeps the result of the query {run.query_id} back. Try again."
                )
            self._answers[run.query_id] = answer
        return self._answers[run.query_id]

    def _access(self, run: Run | None) -> ClusterAccess:
        """Return how to reach the cluster of a Run; None for that of the compute.

        Headers of another cluster, with the token that may be among them, are known to the try alone that submitted.
        """
        if run is None or not _place(run):
            return self.access
        known = self._work.elsewhere.get(_place(run)) if self._work else None
        return known or ClusterAccess(**run.details["cluster"], user_name=self.access.user_name)

    def _plane(self, run: Run | None = None) -> ComputePlane:
        access = self._access(run)
        key = (access.uri, *access.headers.items())
        if key not in self._planes:
            self._planes.setdefault(key, self._new_plane(run))
        return self._planes[key]

    def _new_plane(self, run: Run | None) -> ComputePlane:
        return ComputePlane(
            self._access(run),
            client_version=polars_client.client_version(),
            polars_version=polars_client.polars_version(),
        )


def _place(run: Run) -> str:
    """Return the address of the cluster of a Run, "" for that of its compute."""
    return str(run.details.get("cluster", {}).get("uri", ""))
