"""Polars queries from Apache Airflow.

Public names are resolved on first use, so that importing this package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "CloudCompute": "compute.cloud",
    "ClusterCompute": "compute.cluster",
    "Compute": "compute.base",
    "LocalCompute": "compute.local",
    "CsvSink": "query.sinks",
    "DeltaSink": "query.table_sinks",
    "IcebergSink": "query.table_sinks",
    "IpcSink": "query.sinks",
    "NdjsonSink": "query.sinks",
    "ParquetSink": "query.sinks",
    "PolarsCleanResultsOperator": "operators.clean_results",
    "PolarsClusterSensor": "sensors.cluster",
    "PolarsQuerySensor": "sensors.query",
    "PolarsRemoteOperator": "operators.remote",
    "PolarsStartComputeOperator": "operators.start_compute",
    "PolarsStopComputeOperator": "operators.stop_compute",
    "PolarsSweepComputeOperator": "operators.sweep_computes",
    "ResultRef": "query.result",
    "polars_compute": "decorators.compute_group",
    "polars_task": "decorators.task",
}

if TYPE_CHECKING:
    from airflow_provider_polars.compute.base import Compute as Compute
    from airflow_provider_polars.compute.cloud import CloudCompute as CloudCompute
    from airflow_provider_polars.compute.cluster import ClusterCompute as ClusterCompute
    from airflow_provider_polars.compute.local import LocalCompute as LocalCompute
    from airflow_provider_polars.decorators.compute_group import polars_compute as polars_compute
    from airflow_provider_polars.decorators.task import polars_task as polars_task
    from airflow_provider_polars.operators.clean_results import (
        PolarsCleanResultsOperator as PolarsCleanResultsOperator,
    )
    from airflow_provider_polars.operators.remote import PolarsRemoteOperator as PolarsRemoteOperator
    from airflow_provider_polars.operators.start_compute import (
        PolarsStartComputeOperator as PolarsStartComputeOperator,
    )
    from airflow_provider_polars.operators.stop_compute import (
        PolarsStopComputeOperator as PolarsStopComputeOperator,
    )
    from airflow_provider_polars.operators.sweep_computes import (
        PolarsSweepComputeOperator as PolarsSweepComputeOperator,
    )
    from airflow_provider_polars.query.result import ResultRef as ResultRef
    from airflow_provider_polars.query.sinks import CsvSink as CsvSink
    from airflow_provider_polars.query.sinks import IpcSink as IpcSink
    from airflow_provider_polars.query.sinks import NdjsonSink as NdjsonSink
    from airflow_provider_polars.query.sinks import ParquetSink as ParquetSink
    from airflow_provider_polars.query.table_sinks import DeltaSink as DeltaSink
    from airflow_provider_polars.query.table_sinks import IcebergSink as IcebergSink
    from airflow_provider_polars.sensors.cluster import PolarsClusterSensor as PolarsClusterSensor
    from airflow_provider_polars.sensors.query import PolarsQuerySensor as PolarsQuerySensor

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
