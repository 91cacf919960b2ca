"""Whether anyone listens to lineage, and as which run a task is known there."""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_polars.backends.base import ParentRun

_log = logging.getLogger(__name__)


def is_listened_to() -> bool:
    """Return whether Airflow's OpenLineage provider is installed here and has been told where events go."""
    try:
        from airflow.providers.openlineage import conf

        return not conf.is_disabled()
    except (ImportError, ValueError):
        return False


def parent_run(task_instance: Any) -> ParentRun | None:
    """Return the run of a task as its events name it; None without the provider, which the log says."""
    try:
        from airflow.providers.openlineage.plugins import macros
    except ImportError:
        _log.info("The query is not told of its task's run: apache-airflow-providers-openlineage is not installed")
        return None
    return ParentRun(
        namespace=macros.lineage_job_namespace(),  # type: ignore[no-untyped-call]
        job=macros.lineage_job_name(task_instance),
        run_id=str(macros.lineage_run_id(task_instance)),
    )
