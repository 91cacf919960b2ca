"""``PolarsStopComputeOperator``: stops a compute, is sure of it, and says what it has cost."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.compute_lifecycle import ComputeLifecycle, Usage
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.lineage.record import Lineage
from airflow_provider_polars.links.portal import PolarsComputeLink, push
from airflow_provider_polars.operators.arguments import check_names, check_waiting, positive
from airflow_provider_polars.operators.base import PolarsBaseOperator, as_compute
from airflow_provider_polars.operators.compute_waiting import DEFER_AFTER_SECONDS, ComputeWaitingOperator
from airflow_provider_polars.operators.queries_of_compute import queries_of

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_polars.compute.base import Compute

STOP_SECONDS = 600.0
QUERIES_SECONDS = 20.0
"""For asking about queries and waiting for their end; the compute costs meanwhile."""

RETRIES = 3
RETRY_DELAY = timedelta(seconds=30)


class PolarsStopComputeOperator(ComputeWaitingOperator):
    """Stop a compute that :class:`PolarsStartComputeOperator` has started, and wait until it has ended.

    Queries of ``users`` that still run are cancelled first, and named in the log. A compute that has ended already is
    fine; one that this Airflow has not started is left alone. The task is tried three times more by default.

    :param compute: (templated) the handle, as the start returns it; None is nothing to stop.
    :param conn_id: (templated) Airflow connection.
    :param stop_timeout: (templated) seconds until it must have ended; default 600.
    :param users: ids of the tasks that use it.
    :param deferrable: give the worker back while a compute stops that has not ended after ``defer_after`` seconds;
        default ``[operators] default_deferrable``.
    :param defer_after: seconds; a deferral takes about three by itself. Default 10.
    :return: a dict of ``compute_id``, ``minutes``, ``vcpus``, ``end`` (why it ended), ``cancelled`` (ids of queries)
        and, with ``[polars] vcpu_hour_price``, ``cost``.
    """

    template_fields: Sequence[str] = (*PolarsBaseOperator.template_fields, "stop_timeout")
    operator_extra_links: Collection[BaseOperatorLink] = (PolarsComputeLink(),)
    ui_color = "#f5dcd7"

    def __init__(
        self,
        *,
        compute: Compute | Mapping[str, Any] | None,
        stop_timeout: float = STOP_SECONDS,
        users: Sequence[str] = (),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        defer_after: float = DEFER_AFTER_SECONDS,
        **kwargs: Any,
    ) -> None:
        check_names(type(self).__name__, kwargs, type(self))
        kwargs.setdefault("retries", RETRIES)
        kwargs.setdefault("retry_delay", RETRY_DELAY)
        super().__init__(compute=compute, deferrable=deferrable, defer_after=defer_after, **kwargs)
        self.stop_timeout = stop_timeout
        self.users = tuple(users)

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render as Airflow does; without a ``stop_timeout`` that does not render."""
        try:
            self.render_template(self.stop_timeout, context, jinja_env)
        except Exception as error:  # of Jinja, or of what the template calls
            self._take_default("stop_timeout", STOP_SECONDS, error)
        super().render_template_fields(context, jinja_env)

    def perform(self, context: Context) -> Any:
        self.operator_extra_links = ()
        if self.compute is None:
            self.log.info("There is nothing to stop: nothing was started.")
            return None
        compute: Any = as_compute(self.compute)
        if compute.needs_start:
            raise ConfigurationError(
                f"{compute!r} is not one that was started. Give compute= what PolarsStartComputeOperator returns."
            )
        with self._made_lifecycle(compute, self._deadline()) as lifecycle:
            if not lifecycle.manager.is_ours(compute):
                self.log.info("%r was not started here, and is left alone.", compute)
                return None
            self._show(lifecycle, compute, context)
            cancelled = self._cancel_queries(compute, context)
            self._correct(compute)
            return self._stop(lifecycle, compute, time.time(), self._patience(), cancelled)

    def go_on(self, context: Context, event: dict[str, Any]) -> Any:
        """Take over the stop whose end a trigger has waited for."""
        self.operator_extra_links = ()
        compute: Any = as_compute(event["handle"])
        self._correct(compute)
        patience = self._patience_after(event)
        with self._made_lifecycle(compute, event["deadline"] or math.inf) as lifecycle:
            return self._stop(lifecycle, compute, event["since"], patience, event["cancelled"])

    def _correct(self, compute: Compute) -> None:
        """Take the default for an argument that is wrong."""
        try:
            positive(self.stop_timeout, "stop_timeout=", "seconds")
        except ConfigurationError as error:
            self._take_default("stop_timeout", STOP_SECONDS, error)
        try:
            check_waiting(compute, self.defer_after, cancel_on_kill=True)
        except ConfigurationError as error:
            self._take_default("defer_after", DEFER_AFTER_SECONDS, error)

    def _take_default(self, name: str, default: float, error: Exception) -> None:
        self.log.warning("%s It counts as %g: no argument keeps a compute from its stop.", error, default)
        setattr(self, name, default)

    def _show(self, lifecycle: ComputeLifecycle[Any], compute: Compute, context: Context) -> None:
        """Let people look at the compute, if that can be."""
        try:
            if link := lifecycle.manager.link(compute):
                self.compute_link = link
                push(context, link)
                self.operator_extra_links = type(self).operator_extra_links
        except Exception as error:
            self.log.warning("The page of %r cannot be shown: %s", compute, error)

    @contextlib.contextmanager
    def _made_lifecycle(self, compute: Compute, deadline: float) -> Iterator[ComputeLifecycle[Any]]:
        manager = make_hook(compute, self.conn_id).get_manager(compute)
        with contextlib.closing(manager):
            self._lifecycle = ComputeLifecycle(manager, log=self.log, deadline=deadline)
            yield self._lifecycle

    def _stop(
        self,
        lifecycle: ComputeLifecycle[Any],
        compute: Compute,
        since: float,
        patience: float,
        cancelled: list[str],
    ) -> dict[str, Any]:
        """Return what the compute has cost, if it has ended; else defer."""
        self.lineage = Lineage.of_compute(compute)
        timeout = float(self.stop_timeout)
        usage = lifecycle.begin_stop(compute, timeout, since=since, patience=patience)
        if usage is None:
            must_end, _ = lifecycle.must_end(since, timeout)
            self._let_wait(compute, "over", since, must_end, kept={"cancelled": cancelled})
        return self._report(usage, cancelled, settings.known_vcpu_hour_price())

    def on_kill(self) -> None:
        """End the wait; what was told to stop stops all the same."""
        if self._lifecycle is not None:
            self._lifecycle.kill(None)

    def _cancel_queries(self, compute: Compute, context: Context) -> list[str]:
        """Cancel what the users of the compute still run on it, and return the ids. No error keeps it from its stop."""
        try:
            queries = queries_of(self.users, compute, context)
            if not queries:
                return []
            backend = make_hook(compute, self.conn_id).get_backend(compute)
            with contextlib.closing(backend):
                return self._cancel_running(backend, queries)
        except Exception as error:
            self.log.warning("Queries of the compute cannot be asked about: %s", error)
            return []

    def _cancel_running(self, backend: Any, queries: list[Run]) -> list[str]:
        deadline = time.monotonic() + QUERIES_SECONDS
        running = [run for run in queries if time.monotonic() < deadline and not backend.poll(run).state.is_terminal]
        if running:
            names = ", ".join(f"{run.output} ({run.query_id})" for run in running)
            self.log.warning("Queries still run, and are cancelled before the compute is stopped: %s", names)
            backend.cancel(running)
            while time.monotonic() < deadline and not all(backend.poll(run).state.is_terminal for run in running):
                backend.watch(running, 1.0)
        return [run.query_id for run in running]

    def _report(self, usage: Usage, cancelled: list[str], price: float | None) -> dict[str, Any]:
        cost = usage.cost(price)
        self.log.info("Stopped %s", usage.told(price))
        told = {
            "compute_id": usage.compute_id,
            "minutes": usage.minutes,
            "vcpus": usage.vcpus,
            "end": usage.end,
            "cancelled": cancelled,
        }
        return {**told, "cost": cost} if cost is not None else told
