"""``Sink``: where a result is written and how. File formats; tables are in ``table_sinks``."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_polars.exceptions import ConfigurationError, UnsupportedSinkError
from airflow_provider_polars.query.paths import check_location, local_path, static_prefix
from airflow_provider_polars.spec import Spec, is_template

if TYPE_CHECKING:
    from airflow.sdk import Asset


MAX_REFERENCE_BYTES = 3500
"""What of a sink goes into the reference to its result, which has a limit itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Sink(Spec):
    """Where a result is written. It names a connection and never holds a secret.

    :param storage_options: options for the object store without secrets, such as
        ``{"aws_region": "eu-west-1"}``; a key that names a secret is refused.
    :param aws_conn_id: (templated) Airflow connection of type ``aws`` for ``s3://`` targets, resolved only
        in the running task.

    :cvar computes: the kinds of compute that can write it.
    :cvar write_options: its fields that are options of the Polars writer, under the same name.
    """

    family: ClassVar[str] = "sink"
    registry: ClassVar[dict[str, type[Sink]]] = {}
    computes: ClassVar[frozenset[str]]
    write_options: ClassVar[tuple[str, ...]] = ()

    storage_options: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)
    aws_conn_id: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        size = len(json.dumps([self.target, self.scan_options(), self.aws_conn_id]))
        if size > MAX_REFERENCE_BYTES:
            raise ConfigurationError(
                f"{type(self).__name__} takes {size} bytes of JSON to be found and read again, the limit is "
                f"{MAX_REFERENCE_BYTES}: shorten its path, names or null_value."
            )

    @property
    def target(self) -> str:
        """Where it writes, as text that two sinks with one location share."""
        raise NotImplementedError

    def check_compute(self, kind: str) -> None:
        """Raise :class:`UnsupportedSinkError` if compute of this kind cannot write this sink."""
        if kind not in self.computes:
            raise UnsupportedSinkError(
                f"{type(self).__name__} cannot be written by {kind!r} compute; "
                f"it can by: {', '.join(sorted(self.computes))}. Use ParquetSink there instead."
            )

    def scan_options(self) -> dict[str, Any]:
        """Return the reader options, JSON values, that are needed to read back what this sink writes."""
        return {}

    def asset(self, name: str | None = None) -> Asset:
        """Return the Airflow Asset for ``outlets=``, ``inlets=`` and ``schedule=``.

        An asset is the data set, not one write of it: of a templated target it is the folder above the
        first template. The exact location of each write is in the asset event's ``extra``.

        :param name: name of the asset; default its URI.
        :raises ConfigurationError: if the target begins with a template.
        """
        from airflow.sdk import Asset

        uri = Asset(uri=static_prefix(self.target, type(self).__name__)).uri
        return Asset(uri=uri, name=name or uri)

    @classmethod
    def find_kind(cls, kind: str) -> type[Any]:
        importlib.import_module("airflow_provider_polars.query.table_sinks")
        return super().find_kind(kind)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FileSink(Sink):
    """Base of the file formats.

    :param path: (templated) absolute path or URL (``s3://``, ``gs://``, ``abfss://`` ...). With a trailing
        slash, ``partition_by`` or ``max_rows_per_file`` it is a directory, else a single file.
    :param partition_by: columns to partition by, hive style (``column=value/``).
    :param max_rows_per_file: rows after which another file is begun.
    :param maintain_order: keep the order of the rows; default True.
    """

    extension: ClassVar[str]

    path: str = dataclasses.field(kw_only=False)
    partition_by: Sequence[str] = ()
    max_rows_per_file: int | None = None
    maintain_order: bool = True

    @property
    def target(self) -> str:
        return self.path

    @property
    def is_directory(self) -> bool:
        """Whether the target is a directory of files rather than one file."""
        return self.path.endswith("/") or bool(self.partition_by) or self.max_rows_per_file is not None

    def check(self) -> None:
        check_location(self.path, f"{type(self).__name__}(path=)")
        rows = self.max_rows_per_file
        if rows is not None and not is_template(rows) and rows < 1:
            raise ConfigurationError(f"{type(self).__name__}(max_rows_per_file=) must be at least 1, got {rows}.")
        if self.aws_conn_id and not is_template(self.path) and local_path(self.path) is not None:
            raise ConfigurationError(
                f"{type(self).__name__}(aws_conn_id={self.aws_conn_id!r}) is for s3:// targets, "
                f"the path is local: {self.path!r}. Remove one of the two."
            )


ParquetCompression = Literal["lz4", "uncompressed", "snappy", "gzip", "brotli", "zstd"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ParquetSink(FileSink):
    """Parquet. Every kind of compute can write it.

    :param compression: default ``zstd``.
    :param compression_level: default that of the codec.
    :param statistics: write column statistics; default True.
    :param row_group_size: rows per row group; default that of Polars.
    :param data_page_size: bytes per data page; default that of Polars.
    """

    kind: ClassVar[str] = "parquet"
    extension: ClassVar[str] = "parquet"
    computes: ClassVar[frozenset[str]] = frozenset({"local", "cloud", "cluster", "slurm", "dask", "polarway"})
    write_options: ClassVar[tuple[str, ...]] = (
        "compression",
        "compression_level",
        "statistics",
        "row_group_size",
        "data_page_size",
        "maintain_order",
    )

    compression: ParquetCompression = "zstd"
    compression_level: int | None = None
    statistics: bool = True
    row_group_size: int | None = None
    data_page_size: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class CsvSink(FileSink):
    """CSV.

    The options are those of ``LazyFrame.sink_csv``, with its defaults; what the Polars of the compute does
    not know is refused by name before the query runs.
    """

    kind: ClassVar[str] = "csv"
    extension: ClassVar[str] = "csv"
    computes: ClassVar[frozenset[str]] = frozenset({"local", "cloud", "cluster", "slurm", "dask"})
    write_options: ClassVar[tuple[str, ...]] = (
        "include_header",
        "include_bom",
        "separator",
        "line_terminator",
        "quote_char",
        "quote_style",
        "null_value",
        "datetime_format",
        "date_format",
        "time_format",
        "float_scientific",
        "float_precision",
        "decimal_comma",
        "batch_size",
        "compression",
        "compression_level",
        "maintain_order",
    )

    include_header: bool = True
    include_bom: bool = False
    separator: str = ","
    line_terminator: str = "\n"
    quote_char: str = '"'
    quote_style: Literal["necessary", "always", "non_numeric", "never"] | None = None
    null_value: str | None = None
    datetime_format: str | None = None
    date_format: str | None = None
    time_format: str | None = None
    float_scientific: bool | None = None
    float_precision: int | None = None
    decimal_comma: bool = False
    batch_size: int = 1024
    compression: Literal["uncompressed", "gzip", "zstd"] = "uncompressed"
    compression_level: int | None = None

    def check(self) -> None:
        super().check()
        end = self.line_terminator
        if not is_template(end) and end != "\r\n" and len(end.encode()) != 1:
            raise ConfigurationError(
                f'CsvSink(line_terminator=) must be one ASCII character or "\\r\\n", got {end!r}: '
                "Polars cannot read back lines that end otherwise."
            )

    def scan_options(self) -> dict[str, Any]:
        reader = {
            "include_header": "has_header",
            "separator": "separator",
            "quote_char": "quote_char",
            "null_value": "null_values",
            "decimal_comma": "decimal_comma",
            "line_terminator": "eol_char",
            "date_format": "date_format",
            "datetime_format": "datetime_format",
            "time_format": "time_format",
        }
        given = {name: value for name, value in self.to_dict().items() if value != "\r\n"}
        return {reader[name]: given[name] for name in reader if name in given}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IpcSink(FileSink):
    """Arrow IPC (Feather v2).

    :param compression: default ``uncompressed``.
    """

    kind: ClassVar[str] = "ipc"
    extension: ClassVar[str] = "ipc"
    computes: ClassVar[frozenset[str]] = frozenset({"local", "cloud", "cluster", "slurm"})
    write_options: ClassVar[tuple[str, ...]] = ("compression", "record_batch_size", "maintain_order")

    compression: Literal["uncompressed", "lz4", "zstd"] = "uncompressed"
    record_batch_size: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NdjsonSink(FileSink):
    """JSON lines. Polars Cloud and Polars on-premises have no such sink.

    :param compression: default ``uncompressed``.
    """

    kind: ClassVar[str] = "ndjson"
    extension: ClassVar[str] = "jsonl"
    computes: ClassVar[frozenset[str]] = frozenset({"local", "dask"})
    write_options: ClassVar[tuple[str, ...]] = ("compression", "compression_level", "maintain_order")

    compression: Literal["uncompressed", "gzip", "zstd"] = "uncompressed"
    compression_level: int | None = None
