"""Queries run through the life cycle and the embedded backend, as an operator runs them, without Airflow."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from airflow_provider_polars import runner
from airflow_provider_polars.backends.base import Backend, Output, Run, Submission
from airflow_provider_polars.backends.local import LocalBackend
from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.kept_runs import Try
from airflow_provider_polars.lifecycle import Lifecycle
from airflow_provider_polars.query.options import QueryOptions
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import Sink
from airflow_provider_polars.query.source import Query, QuerySource, make_source

IN_PROCESS = LocalCompute()
IN_CHILD = LocalCompute(python=sys.executable)
LOG = logging.getLogger(__name__)


class MemoryStore:
    """What a task remembers between its tries."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


def submission(
    query: Callable[..., Any] | str | QuerySource,
    sinks: Sink | Mapping[str, Sink],
    *,
    mark: str = "run 1",
    kwargs: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, str] | None = None,
    **options: Any,
) -> Submission:
    """Return what a task submits: one sink for a bare LazyFrame, a dict of sinks for a dict of them."""
    single = isinstance(sinks, Sink)
    named = {"return_value": sinks} if isinstance(sinks, Sink) else sinks
    outputs = tuple(
        Output(
            name=name,
            sink=sink,
            mark=hashlib.sha256(f"{mark} {name}".encode()).hexdigest()[:16],
            storage_options=storage_options or {},
        )
        for name, sink in named.items()
    )
    return Submission(
        query=Query(make_source(query), kwargs=kwargs or {}),
        outputs=outputs,
        options=QueryOptions(**options),
        single=single,
    )


def submitted(backend: Backend[Any], given: Submission) -> list[Run]:
    """Submit, and return the Runs."""
    runs: list[Run] = []
    backend.submit(given, runs.append)
    return runs


def lifecycle(compute: LocalCompute = IN_PROCESS) -> Lifecycle:
    """Return the life cycle of a first try on this worker."""
    return Lifecycle(LocalBackend(compute), MemoryStore(), attempt=Try(), log=LOG)


def run_all(
    query: Callable[..., Any] | str | QuerySource,
    sinks: Sink | Mapping[str, Sink],
    compute: LocalCompute = IN_PROCESS,
    **details: Any,
) -> dict[str, ResultRef]:
    """Run a query to its end and return the result of every output."""
    return lifecycle(compute).execute(submission(query, sinks, **details))


def run_one(
    query: Callable[..., Any] | str | QuerySource,
    sink: Sink,
    compute: LocalCompute = IN_PROCESS,
    **details: Any,
) -> ResultRef:
    """Run a query with one output to its end and return its result."""
    return run_all(query, sink, compute, **details)["return_value"]


def scan_source(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as a downstream task hands it to the reader."""
    ref = ResultRef.parse(result)
    return {
        "format": ref.format,
        "locations": ref.locations,
        "schema": ref.get("schema", []),
        "complete": not ref.get("schema_omitted"),
        "options": ref.get("scan_options", {}),
    }


def read(result: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows of a result, read as a downstream task reads them."""
    return runner.scan(scan_source(result)).collect()
