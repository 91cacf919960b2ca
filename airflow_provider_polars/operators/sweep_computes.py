"""``PolarsSweepComputeOperator``: stops computes of this Airflow that nobody stops any more."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.compute_sweep import ACTIVE_RUNS, Sweep
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.marks import Owner
from airflow_provider_polars.operators.arguments import check_names, positive
from airflow_provider_polars.operators.base import PolarsBaseOperator, as_compute
from airflow_provider_polars.operators.stop_compute import STOP_SECONDS
from airflow_provider_polars.spec import coerce

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_polars.compute.base import Compute

REPORTED = 50
"""Computes that are in what is returned at most; the log has all."""


class PolarsSweepComputeOperator(PolarsBaseOperator):
    """Stop the computes that this Airflow has started and whose run has ended, or that live for too long.

    What does not carry the mark of this Airflow (``[polars] deployment_id``) is listed as "not ours" and left alone.

    :param compute: (templated) where to look: a compute of the kind, such as ``CloudCompute(workspace="etl")``.
    :param conn_id: (templated) Airflow connection.
    :param max_lifetime: (templated) hours after which one is stopped whatever its run does; default the
        ``max_lifetime`` that it was started with, and 24 where that is not known.
    :param report_only: (templated) report only.
    :param stop_timeout: (templated) seconds until each must have ended; default 600.
    :return: a dict of ``stopped``, ``kept`` and ``not_ours``: each with its id, age, billable minutes at most, and why.
    """

    template_fields: Sequence[str] = (
        *PolarsBaseOperator.template_fields,
        "max_lifetime",
        "report_only",
        "stop_timeout",
    )
    ui_color = "#f5ecd7"

    def __init__(
        self,
        *,
        compute: Compute | Mapping[str, Any],
        max_lifetime: float | None = None,
        report_only: bool = False,
        stop_timeout: float = STOP_SECONDS,
        **kwargs: Any,
    ) -> None:
        check_names(type(self).__name__, kwargs, type(self))
        super().__init__(compute=compute, **kwargs)
        self.max_lifetime = max_lifetime
        self.report_only = report_only
        self.stop_timeout = stop_timeout

    def perform(self, context: Context) -> Any:
        lifetime = None if self.max_lifetime is None else positive(self.max_lifetime, "max_lifetime=", "hours")
        timeout = positive(self.stop_timeout, "stop_timeout=", "seconds")
        report_only, price = coerce(self.report_only, bool, "report_only="), settings.known_vcpu_hour_price()
        compute = as_compute(self.compute)
        if not compute.managed:
            raise ConfigurationError(f"{compute!r} is neither started nor stopped: there is nothing to sweep.")
        sweep = Sweep(
            is_active=lambda owner: _is_active(owner, context),
            timeout=timeout,
            lifetime=lifetime,
            price=price,
            report_only=report_only,
        )
        with contextlib.closing(make_hook(compute, self.conn_id).get_manager(compute)) as manager:
            report = sweep.run(manager, self.log)
        report.check()
        places = {"stopped": report.stopped, "kept": report.kept, "not_ours": report.not_ours}
        return {place: rows[:REPORTED] for place, rows in places.items()}


def _is_active(owner: Owner, context: Context) -> bool:
    """Return whether the run of an owner is queued or running."""
    ti: Any = context["ti"]
    if (owner.dag_id, owner.run_id) == (ti.dag_id, ti.run_id):
        return True
    return bool(ti.get_dr_count(dag_id=owner.dag_id, run_ids=[owner.run_id], states=list(ACTIVE_RUNS)))
