"""A compute that one task starts for itself, and stops."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_polars.compute_lifecycle import ComputeLifecycle, Usage
from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.lifecycle import Log
from airflow_provider_polars.operators.owners import owner_of
from airflow_provider_polars.operators.start_compute import START_SECONDS
from airflow_provider_polars.operators.stop_compute import STOP_SECONDS

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_polars.compute.base import Compute


class OwnCompute:
    """Starts the compute of a task, and stops it at the end of each try. It lives on while the task is deferred.

    :param compute: what to start, or the handle of what an earlier process of the try has started.
    :param announce: called with the page of what was started.
    :param ended: called with what it has cost, None if its end is not confirmed, once the task has ended well.
    :ivar owner: whom it is started for.
    """

    def __init__(
        self,
        compute: Compute,
        conn_id: str | None,
        context: Context,
        log: Log,
        announce: Callable[[str], None],
        ended: Callable[[Usage | None], None] = lambda usage: None,
    ) -> None:
        self.owner = owner_of(context)
        self._manager = make_hook(compute, conn_id).get_manager(compute)
        self._lifecycle: ComputeLifecycle[Any] = ComputeLifecycle(
            self._manager, log=log, announce=self._announce, shared=False
        )
        self._show = announce
        self._ended = ended
        self._handle: Any = None
        self._log = log
        self._killed = False

    @contextlib.contextmanager
    def started(self) -> Iterator[Compute]:
        """Give the handle of the compute, which is stopped when the block ends, however it does but by a deferral."""
        with contextlib.closing(self._manager):
            handle = self._lifecycle.adopt(self.owner, START_SECONDS)
            if handle is None:
                settings.vcpu_hour_price()  # or it is known at the end alone that it is wrong
                handle = self._lifecycle.start(self.owner, START_SECONDS)
            with self._stopped_after(handle):
                yield handle

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """Stop what an earlier process of the try has started when the block ends, as :meth:`started` does."""
        with contextlib.closing(self._manager), self._stopped_after(self._manager.compute):
            yield

    @contextlib.contextmanager
    def _stopped_after(self, handle: Any) -> Iterator[None]:
        self._handle = handle
        try:
            yield
        except TaskDeferred:
            if self._killed:
                self._stop(handle, failed=True)
            raise
        except BaseException:
            self._stop(handle, failed=True)
            raise
        self._stop(handle, failed=False)

    def kill(self) -> None:
        """Stop the compute of a task that is being killed. For signal handlers."""
        self._killed = True
        self._lifecycle.kill(self.owner, self._handle)

    def _announce(self, handle: Any) -> None:
        self._handle = handle
        self._show(self._manager.link(handle))

    def _stop(self, handle: Any, *, failed: bool) -> None:
        if self._killed:
            self._manager.give_up(self.owner, handle)
            return
        try:
            usage = self._lifecycle.stop(handle, STOP_SECONDS)
            self._log.info("Stopped %s", usage.told(settings.known_vcpu_hour_price()))
            if not failed:
                self._ended(usage)
        except PolarsProviderError as error:
            if not failed:
                self._ended(None)
                raise
            self._log.warning("%s", error)
