"""The one life cycle of every compute that is started: find or start, wait until it is ready, stop, be sure of it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, Generic

from airflow_provider_polars.backends.base import C
from airflow_provider_polars.backends.managing import PASSING, ComputeManager, ComputeState, ComputeStatus
from airflow_provider_polars.exceptions import ComputeStartError, ComputeStopError, PolarsProviderError
from airflow_provider_polars.hooks.metrics import Metrics
from airflow_provider_polars.lifecycle import Log
from airflow_provider_polars.marks import Owner

LOOK_SECONDS = 1.0
KILL_SECONDS = 0.1
"""After which a wait notices that the task is being killed."""

SAY_AGAIN_SECONDS = 30.0
"""After which a compute that has not begun to stop is told once more."""

UNDO_SECONDS = 20.0
"""For finding, and for stopping, what a failed start leaves behind; what takes longer is left to the next try, or to
the idle timeout."""

FORGET_SECONDS = 5.0
"""For removing the mark of what has ended, and costs no more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """What a compute has cost.

    :param minutes: from ready to its end; what came before and after is not charged by Polars Cloud.
    :param vcpus: of all nodes together, None where nobody says.
    :param end: why it ended, as words.
    """

    compute_id: str
    minutes: float
    vcpus: int | None
    end: str

    def told(self, vcpu_hour_price: float | None) -> str:
        """Return it as words."""
        cost = self.cost(vcpu_hour_price)
        return (
            f"{self.compute_id} ({self.end}) after {self.minutes:.2f} minutes"
            + (f", {self.vcpus} vCPUs" if self.vcpus is not None else "")
            + (f", cost {cost:g}" if cost is not None else "")
        )

    def cost(self, vcpu_hour_price: float | None) -> float | None:
        """Return the price, None where price or vCPUs are not known."""
        if vcpu_hour_price is None or self.vcpus is None:
            return None
        return round(self.minutes / 60 * self.vcpus * vcpu_hour_price, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pending(Generic[C]):
    """A compute that is not ready yet.

    :param adopted: whether it was there before it was waited for.
    :param since: when it was first waited for, in epoch seconds.
    :param ready_at: when somebody has seen that it is ready after all, in epoch seconds.
    """

    handle: C
    adopted: bool
    since: float
    ready_at: float | None = None


class ComputeLifecycle(Generic[C]):
    """Takes one compute from its start to its end.

    :param manager: starts and stops computes of its kind.
    :param log: receives what people read.
    :param announce: called with the handle as soon as there is one; what it raises is logged.
    :param keep: called with what is to be waited for elsewhere; what it raises undoes the start.
    :param shared: whether other tasks may use the compute; one that is adopted and ready is left to them.
    :param deadline: when Airflow would end the task, in epoch seconds; it does not while the task is deferred.
    :param metrics: receives ``polars.compute.minutes``, of what has ended in a stop.
    :ivar pending: what is not ready although a start has returned, as its patience allows.
    """

    def __init__(
        self,
        manager: ComputeManager[C],
        *,
        log: Log,
        announce: Callable[[C], None] = lambda handle: None,
        keep: Callable[[Pending[C]], None] = lambda pending: None,
        shared: bool = True,
        deadline: float = math.inf,
        metrics: Metrics | None = None,
    ) -> None:
        self.manager = manager
        self.log = log
        self.announce = announce
        self.keep = keep
        self.shared = shared
        self.deadline = deadline
        self.metrics = metrics or Metrics(compute=manager.compute.kind)
        self.pending: Pending[C] | None = None
        self._killed = False  # no Event: a signal handler that sets one while the main thread waits for it may hang
        self._adopting = False
        self._starts = False

    def adopt(self, owner: Owner, timeout: float, *, patience: float = math.inf) -> C | None:
        """Return the handle of the compute that lives already, ready; None if there is none.

        Raises what :meth:`start` raises.

        :param patience: see :meth:`start`.
        :raises RefusedOptionError: for what could not be started.
        """
        self.manager.check()
        self._adopting = self.shared
        handle = self._until_ready(owner, timeout, lambda: self.manager.find(owner), patience, adopted=True)
        self._adopting = self._adopting and handle is not None
        return handle

    def start(self, owner: Owner, timeout: float, *, patience: float = math.inf) -> C:
        """Return the handle of a compute that is started now, ready.

        Whatever ends the start otherwise stops what there is of it.

        :param timeout: seconds until it must be ready.
        :param patience: seconds after which it is returned although it is not ready, and is :attr:`pending`.
        :raises ComputeStartError: if it fails, is not ready in time, or the task is killed.
        """
        if self._killed:
            raise ComputeStartError("The task was killed; nothing is started.")
        handle = self._until_ready(owner, timeout, lambda: self.manager.start(owner), patience, adopted=False)
        assert handle is not None
        return handle

    def resume(self, owner: Owner, pending: Pending[C], timeout: float, *, patience: float = math.inf) -> C:
        """Go on where :meth:`start` or :meth:`adopt` has left something pending, in another process; see there."""
        self._adopting = self.shared and pending.adopted
        get = lambda: pending.handle  # noqa: E731
        handle = self._until_ready(owner, timeout, get, patience, adopted=pending.adopted, waited_for=pending)
        assert handle is not None
        return handle

    def abandon(self, owner: Owner, pending: Pending[C], reason: object) -> None:
        """Undo a start that is pending, for a task that nobody goes on with."""
        handle = pending.handle
        try:
            stops = self.manager.is_ours(handle) and self._is_unused(handle, pending.adopted)
        except PolarsProviderError as error:
            self._tell_left(owner, error)
            return
        if stops:
            self.manager.give_up(owner, handle)
        self._undo(owner, handle, reason, adopted=pending.adopted and not stops)

    def stop(self, handle: C, timeout: float) -> Usage:
        """Stop a compute, wait until it has ended, and return what it has cost. One that has ended already is fine.

        :param timeout: seconds until it must have ended.
        :raises ComputeStopError: if it has not, or its service did not answer.
        """
        usage = self.begin_stop(handle, timeout, since=time.time())
        assert usage is not None
        return usage

    def begin_stop(self, handle: C, timeout: float, *, since: float, patience: float = math.inf) -> Usage | None:
        """Stop a compute as :meth:`stop` does, but return None if it was told and has not ended after ``patience``.

        :param since: when it was first told, in epoch seconds: the time-out begins there.
        :param patience: seconds.
        """
        (deadline, limit), patient_until = self.must_end(since, timeout), time.monotonic() + patience
        told_at, problem, lived = 0.0, "", False
        while True:
            try:
                if not told_at or time.monotonic() - told_at > SAY_AGAIN_SECONDS:
                    self.manager.stop(handle)
                    told_at = time.monotonic()
                status = self.manager.status(handle)
                if status.state.is_over:
                    if status.state is not ComputeState.GONE:  # or the mark is all that is left of it
                        self._forget(handle)
                    usage = _usage(status, handle)
                    if lived or (status.ended or 0.0) > since - LOOK_SECONDS:
                        self.metrics.count("compute.minutes", usage.minutes)
                    return usage
                problem, lived = f"it is {status}", True
            except PASSING as error:
                self.log.warning("%s", error)
                problem = str(error)
            if time.time() > deadline or self._killed:
                raise ComputeStopError(
                    f"{handle!r} was told to stop, and has not within {limit}: {problem.rstrip('. ')}. It may run on, "
                    "and cost. Try again, or stop it by hand."
                )
            if told_at and time.monotonic() > patient_until:
                return None
            self._pause(min(LOOK_SECONDS, max(patient_until - time.monotonic(), 0)) if told_at else LOOK_SECONDS)

    def must_end(self, since: float, timeout: float) -> tuple[float, str]:
        """Return when what is awaited since ``since`` must be done, both in epoch seconds, and what says so."""
        return min((since + timeout, f"{timeout:g} seconds"), (self.deadline, "the execution_timeout of the task"))

    def kill(self, owner: Owner | None, handle: C | None = None) -> None:
        """End what is under way for a task that is being killed. For signal handlers.

        A compute that is being adopted, and is ready, is left alone: other tasks may use it.

        :param owner: whose start is to be undone, None for a stop.
        :param handle: what was started, if that is known.
        """
        self._killed = True
        if owner is not None and not self._adopting:
            self.manager.give_up(owner, handle)

    def _until_ready(
        self,
        owner: Owner,
        timeout: float,
        get: Callable[[], C | None],
        patience: float,
        *,
        adopted: bool,
        waited_for: Pending[C] | None = None,
    ) -> C | None:
        handle: C | None = None
        try:
            if (handle := get()) is None:
                return None
            self._announce(handle)
            pending = waited_for or Pending(handle=handle, adopted=adopted, since=time.time())
            ready = self._wait(pending, timeout, patience)
            if ready is None and not self._killed:
                self.keep(pending)
                self.pending = pending
                self._adopting = self._adopting and not self._starts
            if self._killed:
                raise ComputeStartError(f"The task was killed; {handle!r} is to stop, unless other tasks may use it.")
            return ready or handle
        except BaseException as error:
            self._undo(owner, handle, error, adopted)
            raise

    def _wait(self, pending: Pending[C], timeout: float, patience: float) -> C | None:
        """Return the handle of a compute that is ready, None if it is not yet after ``patience`` seconds, or a kill."""
        handle, adopted = pending.handle, pending.adopted
        (deadline, limit), patient_until = self.must_end(pending.since, timeout), time.monotonic() + patience
        first = True
        while not self._killed:
            status = self._look(handle)
            self._starts = status is not None and status.state is ComputeState.STARTING
            if status is not None and status.state is ComputeState.READY:
                at = pending.ready_at or (status.requested if adopted and first else None) or time.time()
                self.log.info("%s is ready", _name(handle, status))
                return self.manager.ready(handle, at)
            if status is not None and not status.state.may_become_ready(adopted=adopted):
                raise ComputeStartError(f"{_name(handle, status)} did not become ready: it is {status}.")
            if time.time() > deadline:
                words = status.words if status else "not to be asked about"
                raise ComputeStartError(
                    f"{handle!r} was not ready within {limit}: it is {words}. It is being stopped: see the log. Raise "
                    "start_timeout=, or try again."
                )
            if (patient := patient_until - time.monotonic()) <= 0:
                return None
            first = first and status is None
            self._pause(min(LOOK_SECONDS, patient))
        return None

    def _look(self, handle: C) -> ComputeStatus | None:
        """Return the status of a compute, None while its service does not answer."""
        try:
            return self.manager.status(handle)
        except PASSING as error:
            self.log.warning("%s", error)
            return None

    def _undo(self, owner: Owner, handle: C | None, reason: object, adopted: bool) -> None:
        """Stop what a start leaves behind, and say so in the log where that is not possible.

        What was adopted is stopped if it starts still: once it is ready, other tasks may use it.
        """
        if handle is None and adopted:
            return
        try:
            if handle is None and not self._killed:
                handle = self._find_late(owner)
            if handle is not None and not (self.manager.is_ours(handle) and self._is_unused(handle, adopted)):
                self.log.info("%r is left alone after a start that failed: %s", handle, reason)
            elif self._killed:
                self.manager.give_up(owner, handle)
            elif handle is not None:
                usage = self.stop(handle, UNDO_SECONDS)
                self.log.info("Stopped %s after a start that failed: %s", usage.compute_id, reason)
        except PolarsProviderError as error:
            self._tell_left(owner, error)

    def _find_late(self, owner: Owner) -> C | None:
        """Return what has come of a start that raised; its service may be at it still."""
        until = time.monotonic() + UNDO_SECONDS
        while (handle := self.manager.find(owner)) is None and self.manager.may_come(owner) and not self._killed:
            if time.monotonic() > until:
                raise ComputeStartError("A compute may still come of the start that was interrupted.")
            self._pause(LOOK_SECONDS)
        return handle

    def _forget(self, handle: C) -> None:
        """Remove the mark of what has ended; where it stays, a next start of its owner takes it over."""
        until = time.monotonic() + FORGET_SECONDS
        while True:
            try:
                self.manager.forget(handle)
                return
            except PolarsProviderError as error:
                self.log.warning("%s", error)
                if not isinstance(error, PASSING) or self._killed or time.monotonic() > until:
                    self.log.warning("%r has ended; its mark stays, which costs nothing.", handle)
                    return
            self._pause(LOOK_SECONDS)

    def _tell_left(self, owner: Owner, error: PolarsProviderError) -> None:
        self.log.warning(
            "%s Its mark is %s: a next try finds it, if there is one, and so does PolarsSweepComputeOperator.",
            error,
            owner.mark,
        )

    def _is_unused(self, handle: C, adopted: bool) -> bool:
        return not (adopted and self.shared) or self.manager.status(handle).state is ComputeState.STARTING

    def _announce(self, handle: C) -> None:
        try:
            self.announce(handle)
        except Exception as error:  # a link is not worth a compute
            self.log.warning("The page of %r cannot be shown: %s", handle, error)

    def _pause(self, seconds: float) -> None:
        """Sleep, or return soon after a kill."""
        end = time.monotonic() + seconds
        while not self._killed and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, KILL_SECONDS))


def _usage(status: ComputeStatus, handle: Any) -> Usage:
    ready_at, ended = getattr(handle, "ready_at", None), status.ended or time.time()
    minutes = max(ended - ready_at, 0.0) / 60 if ready_at else 0.0
    return Usage(
        compute_id=status.compute_id, minutes=round(minutes, 3), vcpus=status.vcpus, end=status.reason or status.words
    )


def _name(handle: Any, status: ComputeStatus) -> str:
    return f"{type(handle).__name__} {status.compute_id}"
