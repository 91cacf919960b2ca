"""Sinks that write tables with a transaction log: Delta Lake and Apache Iceberg."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from airflow_provider_polars.exceptions import ConfigurationError, nearest
from airflow_provider_polars.query.paths import check_location
from airflow_provider_polars.query.result import CATALOG_PROPERTIES
from airflow_provider_polars.query.sinks import Sink
from airflow_provider_polars.spec import is_template


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DeltaSink(Sink):
    """A Delta Lake table; needs the ``delta`` extra where the query runs.

    An append is done once per run and task, however often the task is tried: its application transaction
    is looked up in the table before the query runs.

    :param path: (templated) absolute path or URL of the table.
    :param mode: ``append``, ``overwrite`` or ``error`` (the table must not exist yet).
    :param partition_by: columns to partition a new table by.
    :param schema_mode: ``merge`` adds new columns, ``overwrite`` replaces the schema; default neither.
    """

    kind: ClassVar[str] = "delta"
    computes: ClassVar[frozenset[str]] = frozenset({"local"})

    path: str = dataclasses.field(kw_only=False)
    mode: Literal["append", "overwrite", "error"]
    partition_by: Sequence[str] = ()
    schema_mode: Literal["merge", "overwrite"] | None = None

    @property
    def target(self) -> str:
        return self.path

    def check(self) -> None:
        check_location(self.path, "DeltaSink(path=)")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IcebergSink(Sink):
    """An Apache Iceberg table that exists in a catalog; needs the ``iceberg`` extra where the query runs.

    On a worker an append is done once per run and task: the snapshots of the table are searched for its mark before
    the query runs. A cluster marks nothing: there every query that runs appends.

    :param table: (templated) identifier, ``namespace.table``.
    :param mode: ``append`` or ``overwrite``.
    :param catalog: name of the catalog in PyIceberg's own configuration; default ``default``.
    :param catalog_properties: ``type``, ``uri`` and ``warehouse`` of the catalog, if PyIceberg's configuration
        does not hold them. All else, secrets above all, belongs there.
    """

    kind: ClassVar[str] = "iceberg"
    computes: ClassVar[frozenset[str]] = frozenset({"local", "cloud", "cluster", "slurm"})

    table: str = dataclasses.field(kw_only=False)
    mode: Literal["append", "overwrite"]
    catalog: str = "default"
    catalog_properties: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def target(self) -> str:
        return f"iceberg://{self.catalog}/{self.table}"

    def check(self) -> None:
        for name in ("aws_conn_id", "storage_options"):
            if getattr(self, name):
                raise ConfigurationError(
                    f"IcebergSink({name}=) has no use: PyIceberg takes the storage of the catalog {self.catalog!r} "
                    "from its own configuration. Put it there."
                )
        if not is_template(self.table) and "." not in self.table:
            raise ConfigurationError(f"IcebergSink(table=) must be an identifier namespace.table, got {self.table!r}.")
        for name in self.catalog_properties:
            if name not in CATALOG_PROPERTIES:
                raise ConfigurationError(
                    f"IcebergSink(catalog_properties=) has {name!r}{nearest(name, CATALOG_PROPERTIES)} Only "
                    f"{', '.join(sorted(CATALOG_PROPERTIES))} may be given here; the rest belongs into the "
                    f"configuration of PyIceberg for the catalog {self.catalog!r}."
                )

    def scan_options(self) -> dict[str, Any]:
        return {"table": self.table, "catalog": self.catalog, "catalog_properties": self.catalog_properties}
