"""What all computes share that run plans which a Polars client sends them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from airflow_provider_polars.compute.base import Compute, Engine
from airflow_provider_polars.exceptions import ConfigurationError

Scaling = Literal["auto", "distributed", "single-node"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class RemoteCompute(Compute):
    """Base of the computes that queries are sent to as plans.

    :param scaling: ``auto`` (distributed, unless ``POLARS_CLOUD_SINGLE_NODE=1``), ``distributed`` or ``single-node``;
        default ``auto``. A task's own ``distributed=`` wins.
    :param engine: ``auto``, ``streaming``, ``in-memory`` or ``gpu``; default ``auto``. A task's own ``engine=`` wins.
    :param send_credentials: send the secrets of ``aws_conn_id`` connections inside of plans, over TLS only; default
        False: sinks and scans use the role of the cluster.
    :param airflow_labels: label each query with its DAG, task and run; default True.
    :param max_plan_mb: size in MB (10**6 bytes) above which a plan is not sent; default 100.
    """

    options: ClassVar[frozenset[str]] = frozenset(
        {"engine", "distributed", "labels", "priority", "n_retries", "head_rows", "timeout", "wait"}
    )

    scaling: Scaling | None = None
    engine: Engine = "auto"
    send_credentials: bool = False
    airflow_labels: bool = True
    max_plan_mb: float = 100.0

    def check(self) -> None:
        if isinstance(self.max_plan_mb, float) and self.max_plan_mb <= 0:
            raise ConfigurationError(
                f"{type(self).__name__}(max_plan_mb=) must be above zero, got {self.max_plan_mb!r}."
            )
