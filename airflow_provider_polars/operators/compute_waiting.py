"""``ComputeWaitingOperator``: waits for a compute, on the worker for a while and then without it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute_lifecycle import ComputeLifecycle
from airflow_provider_polars.lineage.operator import LineageOperator
from airflow_provider_polars.lineage.record import Lineage
from airflow_provider_polars.operators.base import PolarsBaseOperator

DEFER_AFTER_SECONDS = 10.0
_END = {"ready": "is ready", "over": "has ended"}


class ComputeWaitingOperator(LineageOperator, PolarsBaseOperator):
    """Base of the operators that start a compute and stop it.

    :param deferrable: give the worker back while what is waited for takes longer than ``defer_after`` seconds.
    :param defer_after: seconds.
    """

    def __init__(self, *, deferrable: bool, defer_after: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.defer_after = defer_after
        self.compute_link = ""
        self._lifecycle: ComputeLifecycle[Any] | None = None

    def expected_lineage(self) -> Lineage:
        return Lineage.of_compute(self.compute) if isinstance(self.compute, Compute) else Lineage()

    def _patience(self) -> float:
        """Return the seconds for which this process waits."""
        return self.defer_after if self.deferrable else math.inf

    def _patience_after(self, event: Mapping[str, Any]) -> float:
        """Return the seconds for which the process waits that a trigger has sent for: to the end if none can."""
        if event["status"] not in ("failed", "unreachable"):
            return self._patience()
        self.log.warning("The wait without a worker has ended: %s", event["message"])
        return self._patience() if event["status"] == "unreachable" else math.inf

    def _deadline(self) -> float:
        """Return when Airflow would end this task, which it does not while the task is deferred, in epoch seconds."""
        timeout = self.execution_timeout
        return time.time() + timeout.total_seconds() if timeout and self.deferrable else math.inf

    def _let_wait(
        self,
        handle: Compute,
        until: Literal["ready", "over"],
        since: float,
        deadline: float,
        kept: Mapping[str, Any] | None = None,
        **start: Any,
    ) -> NoReturn:
        """Defer.

        :param kept: what :meth:`go_on` finds in its event besides.
        :param start: arguments of the trigger that are about a start.
        """
        from airflow_provider_polars.triggers.compute import PolarsComputeTrigger

        self.log.info("The task waits without a worker until %r %s", handle, _END[until])
        trigger = PolarsComputeTrigger(
            handle=handle.to_dict(),
            until=until,
            since=since,
            conn_id=self.conn_id,
            deadline=deadline if deadline < math.inf else None,
            **start,
        )
        self.defer(trigger=trigger, method_name="resume", kwargs=dict(kept or {}))
