"""Tasks that start and stop a compute, and computes for them."""

from __future__ import annotations

import dataclasses
from typing import Any

from airflow_provider_polars import CloudCompute, PolarsStartComputeOperator, PolarsStopComputeOperator
from tests.unit.scripted_manager import ASKED, HANDLE, INSTANCE, REQUESTED

MINE = dataclasses.replace(HANDLE, ready_at=REQUESTED)
SOMEBODY_ELSES = CloudCompute(compute_id=INSTANCE)


def start(**arguments: Any) -> PolarsStartComputeOperator:
    """Make the task that starts a compute."""
    return PolarsStartComputeOperator(**{"task_id": "start", "compute": ASKED, **arguments})


def stop(compute: Any = MINE, **arguments: Any) -> PolarsStopComputeOperator:
    """Make the task that stops a compute."""
    return PolarsStopComputeOperator(**{"task_id": "stop", "compute": compute, **arguments})
