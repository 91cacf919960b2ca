"""``PolarsBaseSensor``: one look at a time, on a worker or in a trigger, until a deadline that is carried along."""

from __future__ import annotations

import abc
import functools
import time
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.operators.arguments import check_names
from airflow_provider_polars.operators.base import PolarsBaseOperator, without_retry

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger


class PolarsBaseSensor(PolarsBaseOperator, BaseSensorOperator):
    """A sensor with the arguments of Airflow's, which mean what they mean there.

    Subclasses say what there is to be seen, and what waits for it while no worker does.

    :param deferrable: look once on the worker, then wait in the triggerer; default ``[operators] default_deferrable``.
    """

    taken_arguments: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        check_names(type(self).__name__, kwargs, type(self))
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self._reason: PolarsProviderError | None = None
        self._ends_at = 0.0

    @abc.abstractmethod
    def look(self, context: Context) -> PokeReturnValue | PolarsProviderError:
        """Return what the task returns, or why that cannot be said yet.

        :raises PolarsProviderError: a transient one is a reason too; any other ends the task.
        """

    @abc.abstractmethod
    def make_trigger(self, deadline: float) -> BaseTrigger | None:
        """Return what waits for that of which the last look has seen nothing; None if only a worker can.

        Its event is a dict: ``status``, of which ``timeout`` and ``failed`` have a meaning here, ``message`` and
        ``deadline``.
        """

    def perform(self, context: Context) -> Any:
        self._ends_at = time.time() + self._seconds
        try:
            return BaseSensorOperator.execute(self, context)
        except AirflowSensorTimeout as error:
            raise self._timed_out() from error

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once; with ``deferrable``, wait in the triggerer from then on."""
        found = self._looked(context)
        if isinstance(found, PokeReturnValue):
            return found
        self.log.info("Not yet: %s", found)
        if self.deferrable:
            self._defer(self._ends_at)
        return False

    def go_on(self, context: Context, event: dict[str, Any]) -> Any:
        """Look at what a trigger has seen, and wait on if it was not all."""
        found = self._looked(context)
        if isinstance(found, PokeReturnValue):
            return found.xcom_value
        if event["status"] == "failed":
            raise PolarsProviderError(f"The triggerer could not wait on: {event['message']}")
        if event["status"] == "timeout" or time.time() >= event["deadline"]:
            raise self._timed_out()
        self.log.info("Not yet: %s", found)
        self._defer(event["deadline"])
        raise found

    def _looked(self, context: Context) -> PokeReturnValue | PolarsProviderError:
        try:
            found = self.look(context)
        except PolarsProviderError as error:
            if error.permanent or isinstance(error, AirflowFailException):
                raise without_retry(error) from error.__cause__
            found = error
        self._reason = found if isinstance(found, PolarsProviderError) else None
        return found

    def _defer(self, deadline: float) -> None:
        if (trigger := self.make_trigger(deadline)) is not None:
            self.log.info("The task waits without a worker")
            self.defer(trigger=trigger, method_name="resume")

    @property
    def _seconds(self) -> float:
        """For which it waits. Airflow does not end a task that is deferred, so its ``execution_timeout`` counts too."""
        if self.deferrable and self.execution_timeout is not None:
            return min(self.timeout, self.execution_timeout.total_seconds())
        return self.timeout

    def _timed_out(self) -> BaseException:
        """Return the error for the end of the time, which Airflow takes as it takes its own."""
        reason = self._reason or PolarsProviderError("There was nothing to be seen.")
        if self._seconds == self.timeout:
            kind: Any = type(reason)
            timeout: BaseException = _timeout_of(kind)(f"Not within timeout={self.timeout:g} seconds: {reason}")
            return timeout
        message = f"Not within the execution_timeout of {self._seconds:g} seconds: {reason}"
        if self.soft_fail or self.never_fail:
            return AirflowSkipException(message)
        return AirflowTaskTimeout(message)


@functools.cache
def _timeout_of(kind: Any) -> Any:
    """Return an error class of ours that is Airflow's for a sensor's timeout too."""
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, AirflowSensorTimeout), names)
