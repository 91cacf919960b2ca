"""Whether a cluster answers now, and is as it is wanted. It blocks for some seconds."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import Any

from airflow_provider_polars.backends import polars_client
from airflow_provider_polars.backends.cloud import CloudBackend
from airflow_provider_polars.backends.cloud_refusals import refused
from airflow_provider_polars.backends.remote import RemoteBackend
from airflow_provider_polars.clients.compute_plane import ComputePlane
from airflow_provider_polars.clients.probe import probe
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute.cloud import CloudCompute
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import (
    ComputeLostError,
    ComputeStartError,
    ConfigurationError,
    PolarsProviderError,
    RefusedOptionError,
    VersionMismatchError,
)
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.spec import is_template

HERE = "here"
_VERSION = re.compile(r"\d+\.\d+\.\d+\S*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a cluster is to be, besides reachable.

    :param version: of Polars; None for any, ``here`` for the one that is installed where :meth:`settled` is called.
    :param min_workers: None for any number.
    :raises ConfigurationError: for a value that cannot be.
    """

    version: str | None = None
    min_workers: int | None = None

    def __post_init__(self) -> None:
        version: Any = self.version
        workers: Any = self.min_workers
        is_version = version == HERE or (isinstance(version, str) and _VERSION.fullmatch(version))
        if not (version is None or is_template(version) or is_version):
            raise ConfigurationError(
                f"version= must be a version of Polars such as '2.0.0', or 'here', got {version!r}."
            )
        if workers is None or is_template(workers):
            return
        if isinstance(workers, str) and workers.strip().isdecimal():
            workers = int(workers)
            object.__setattr__(self, "min_workers", workers)
        if type(workers) is not int or workers < 1:
            raise ConfigurationError(f"min_workers= must be a whole number above zero, got {workers!r}.")

    def settled(self) -> Wanted:
        """Return what is wanted without ``here``."""
        return dataclasses.replace(self, version=polars_client.polars_version()) if self.version == HERE else self

    def check(self, compute: Compute) -> None:
        """Refuse a compute that is no cluster, or of which what is wanted cannot be known.

        :raises ConfigurationError: see above.
        """
        if not isinstance(compute, RemoteCompute):
            raise ConfigurationError(
                f"{compute!r} is no cluster: there is nothing to wait for. Give compute= a ClusterCompute, or what "
                "PolarsStartComputeOperator returns."
            )
        if compute.needs_start:
            raise ConfigurationError(
                f"{compute!r} is not one that was started. Give compute= what PolarsStartComputeOperator returns."
            )
        if self.min_workers is not None and not isinstance(compute, CloudCompute):
            raise RefusedOptionError(
                f"min_workers={self.min_workers!r} cannot be honoured by {compute!r}: neither its scheduler nor its "
                "observatory tells how many workers it has. Remove it; such a cluster keeps queries until n_workers of "
                "its own configuration are there."
            )


def why_not(compute: Compute, conn_id: str | None, wanted: Wanted) -> PolarsProviderError | None:
    """Return why a cluster is not reachable, or not as it is wanted, for now; None if it is.

    :raises PolarsProviderError: for what no waiting mends.
    """
    try:
        wanted.check(compute)
        with contextlib.closing(make_hook(compute, conn_id).get_backend(compute)) as backend:
            if not isinstance(backend, RemoteBackend):
                raise ConfigurationError(f"{compute!r} cannot be asked whether it takes queries.")
            return _missing(backend, wanted)
    except PolarsProviderError as error:
        if error.permanent or isinstance(error, ComputeLostError):
            raise
        return error


def _missing(backend: RemoteBackend[Any], wanted: Wanted) -> PolarsProviderError | None:
    version = _version(backend)
    if wanted.version not in (None, version):
        return VersionMismatchError(f"{backend.compute!r} runs Polars {version or 'unknown'}, not {wanted.version}.")
    if wanted.min_workers is None:
        return None
    assert isinstance(backend, CloudBackend)
    workers = _workers(backend)
    if workers < wanted.min_workers:
        return ComputeStartError(f"{backend.compute!r} has {workers} workers, not {wanted.min_workers}.")
    return None


def _version(backend: RemoteBackend[Any]) -> str:
    """Return the version of Polars of what takes queries now."""
    instance = backend.instance if isinstance(backend, CloudBackend) else None
    with contextlib.closing(backend.new_plane(None)) as plane:
        if not isinstance(
            plane, ComputePlane
        ):  # Polars Cloud is in between, and says of an instance whether it is ready
            assert instance is not None
            return instance.polars_version
        probe(plane.access)
        return plane.versions().polars


def _workers(backend: CloudBackend) -> int:
    with refused("asked for its nodes", backend.compute):
        return len(backend.plane.pages(f"{backend.instances.workspace.path}/compute/{backend.compute_id}/node"))
