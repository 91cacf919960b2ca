"""From a sink to the call of the client that writes it on a cluster."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.backends.base import ParentRun
from airflow_provider_polars.backends.plan_secrets import PlanSecrets
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.query.paths import local_path
from airflow_provider_polars.query.sinks import FileSink, Sink
from airflow_provider_polars.query.table_sinks import IcebergSink

if TYPE_CHECKING:
    import polars as pl


def scaled(
    frame: pl.LazyFrame,
    context: Any,
    settings: Mapping[str, Any] | None,
    labels: list[str],
    lineage: Mapping[str, str],
    **options: Any,
) -> Any:
    """Return the client's ``ExecuteRemote`` for a query.

    :param settings: of the distributed query, None for one node.
    :param lineage: arguments of the client's ``with_lineage``, none for not to call it.
    :param options: ``engine``, ``n_retries``, ``priority``, as far as they are given.
    """
    remote: Any = frame.remote(context, **options)
    if labels:
        remote = remote.labels(labels)
    if lineage:
        remote = remote.with_lineage(**lineage)
    if settings is None:
        return remote.single_node()
    return remote.distributed(**{name: value for name, value in settings.items() if name != "sink_to_single_file"})


def write(
    remote: Any,
    sink: Sink | None,
    storage_options: Mapping[str, str],
    as_single_file: bool | None,
    secrets: PlanSecrets,
) -> Any:
    """Submit a query with its sink and return the client's handle of it.

    :param sink: None leaves the result where the cluster keeps those that nobody named a place for.
    :param storage_options: for the store of the sink; they travel in the plan.
    :param as_single_file: what :func:`single_file` says.
    :param secrets: decides about those of the catalog of an Iceberg table.
    """
    if sink is None:
        return remote.execute(blocking=False)
    if isinstance(sink, IcebergSink):
        return remote.sink_iceberg(iceberg_table(sink.scan_options(), secrets), mode=sink.mode)
    assert isinstance(sink, FileSink)
    method = getattr(remote, f"sink_{sink.kind}")
    if not sink.is_directory and (path := local_path(sink.path)) is not None:
        _make_folder(Path(path).parent)
    known = inspect.signature(method).parameters
    options = {name: getattr(sink, name) for name in sink.write_options if name in known}
    return method(
        _target(sink),
        **options,
        storage_options=dict(storage_options) or None,
        credential_provider=None,
        sink_to_single_file=as_single_file,
    )


def lineage(parent: ParentRun | None, output: str) -> dict[str, str]:
    """Return how the cluster is to name the run of an output, and the run that it is a part of."""
    if parent is None:
        return {}
    return {
        "job_namespace": parent.namespace,
        "job_name": f"{parent.job}.{output}",
        "parent_run_id": parent.run_id,
        "parent_job_namespace": parent.namespace,
        "parent_job_name": parent.job,
    }


def single_file(sink: Sink | None, settings: Mapping[str, Any] | None, *, asked: bool) -> bool | None:
    """Return what to tell the client of a path that looks like one of a file; None where it need not know.

    :param settings: of the distributed query, None for one node.
    :param asked: whether the author asked for a distributed query, rather than left it to the compute.
    :raises ConfigurationError: if the query would write something else than the sink says.
    """
    if settings is None or not isinstance(sink, FileSink) or sink.is_directory:
        return None
    if "." not in sink.path.rsplit("/", 1)[-1]:
        raise ConfigurationError(
            f"{sink.path!r} is one file to its sink, and a distributed query would make a directory of it. End the "
            "path with a slash for a directory, or with an extension for one file, or give distributed=False."
        )
    if asked and not settings.get("sink_to_single_file"):
        raise ConfigurationError(
            f"A distributed query writes a directory of files, and {sink.path!r} looks like one file. End the path "
            "with "
            'a slash, or give distributed={"sink_to_single_file": True}, which leaves the writing to one worker, or '
            "distributed=False."
        )
    return True


def _make_folder(folder: Path) -> None:
    """Make the folder of a file on a disk that this worker shares with the cluster, for sinks of files make none.

    A path of which nothing is here but the root is left alone: it is one of the cluster's own disks.
    """
    if next((part for part in folder.parents if part.exists()), Path("/")) != Path("/"):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)


def _target(sink: FileSink) -> Any:
    import polars as pl

    if not sink.partition_by and not sink.max_rows_per_file:
        return sink.path
    return pl.PartitionBy(sink.path, key=list(sink.partition_by) or None, max_rows_per_file=sink.max_rows_per_file)


def iceberg_table(options: Mapping[str, Any], secrets: PlanSecrets) -> Any:
    """Return the PyIceberg table that ``catalog``, ``catalog_properties`` and ``table`` name.

    :raises ConfigurationError: if its catalog has secrets that may not be part of a plan.
    """
    from airflow_provider_polars import runner

    table = runner.iceberg_table(options)
    secrets.check_catalog(options["catalog"], table.catalog.properties)
    return table
