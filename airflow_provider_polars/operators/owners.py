"""Whom a compute is started for, as Airflow knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_polars.hooks import settings
from airflow_provider_polars.marks import Owner

if TYPE_CHECKING:
    from airflow.sdk import Context


def owner_of(context: Context) -> Owner:
    """Return the owner of what this task instance starts, the same for all its tries.

    :raises ConfigurationError: if ``[polars] deployment_id`` is not set.
    """
    ti = context["ti"]
    return Owner(
        deployment=settings.deployment_id(),
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
    )
