"""Tells what went wrong, in this package's words, from an exception or its description by the runner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_polars.backends.staging import write_error
from airflow_provider_polars.exceptions import (
    ConfigurationError,
    GpuUnavailableError,
    PolarsProviderError,
    QueryDefinitionError,
    QueryFailedError,
    RefusedOptionError,
    ResultNotFoundError,
    SchemaError,
    SinkWriteError,
    nearest,
)

SCHEMA_ERRORS = {
    "ColumnNotFoundError",
    "SchemaError",
    "SchemaMismatchError",
    "SchemaFieldNotFoundError",
    "StructFieldNotFoundError",
    "DuplicateError",
    "InvalidOperationError",
}
_DISK_FULL = re.compile(r"os error (28|122)\b|No space left|Disk quota exceeded")
_NOT_WRITABLE = re.compile(r"os error (13|30)\b")
_UPLOAD = re.compile(r"Error performing (PUT|POST) ")


def translate(
    described: Mapping[str, Any],
    *,
    query: str,
    engine: str = "auto",
    target: str = "",
    tables: Iterable[str] = (),
) -> Exception:
    """Return the error of ours for one that the runner described.

    :param described: ``classes`` (names along the MRO), ``message``, ``errno``, ``traceback``.
    :param query: name of the query, for the message.
    :param engine: the engine it was to run on.
    :param target: what it was writing, for the message.
    :param tables: names of the tables that an SQL query was given.
    """
    classes, message = list(described["classes"]), str(described["message"])
    first = classes[0]
    if first == "WrongReturnError":
        return QueryDefinitionError(f"The query {query} {message}. The function of a query returns it unexecuted.")
    if first == "UnknownOptionError":
        return RefusedOptionError(f"{message}. Remove the option from the sink, or upgrade Polars there.")
    if _DISK_FULL.search(message) or (described["errno"] in (28, 122)):
        return write_error(OSError(28, "No space left on device"), target)
    if _NOT_WRITABLE.search(message) or "PermissionError" in classes:
        return SinkWriteError(f"The query {query} was refused by the file system: {message}. Target: {target or '-'}.")
    if _UPLOAD.search(message):
        return SinkWriteError(
            f"The object store refused the result of the query {query}: {message} "
            f"Target: {target or '-'}. Check the bucket, and what the credentials may do there."
        )
    if engine == "gpu" and re.search(r"gpu|cuda|cudf", message, re.IGNORECASE):
        return GpuUnavailableError(
            f'engine="gpu" cannot run the query {query} here: {message.rstrip(". ")}. '
            "Nothing was run on the CPU instead. Choose another engine, or a compute with a GPU and cudf-polars."
        )
    if "ModuleNotFoundError" in classes and re.search(r"deltalake|pyiceberg", message):
        return ConfigurationError(
            f"{message}. Install the extra delta or iceberg of airflow-provider-polars where the query runs."
        )
    if "SQLInterfaceError" in classes or "SQLSyntaxError" in classes:
        return QueryDefinitionError(_sql_message(message, sorted(tables)))
    if "FileNotFoundError" in classes:
        return ResultNotFoundError(f"The query {query} reads a file that is not there: {_first_line(message)}")
    if SCHEMA_ERRORS.intersection(classes):
        return SchemaError(f"The query {query} does not fit its input: {message}")
    if "PanicException" in classes:
        return QueryFailedError(
            f"Polars panicked while it ran the query {query}: {_first_line(message)}. This is a defect of Polars, "
            "not of the query; try another engine= or version."
        )
    return QueryFailedError(f"The query {query} failed with {first}: {message}")


def translate_exception(error: BaseException, **words: Any) -> Exception | None:
    """Return the error of ours for an exception of Polars or the system, None for one of the user's own."""
    from airflow_provider_polars import runner

    if isinstance(error, PolarsProviderError):
        return error
    named = runner.described_error(error)
    own = {"WrongReturnError", "UnknownOptionError", "PolarsError", "PanicException"}
    return translate(named, **words) if own.intersection(named["classes"]) else None


def _sql_message(message: str, tables: list[str]) -> str:
    missing = re.search(r"relation '([^']+)' was not found", message)
    if missing is None:
        return f"The SQL of the query is refused: {message}"
    return (
        f"The SQL names the table {missing[1]!r}, which tables= does not give{nearest(missing[1], tables)} "
        f"Given: {', '.join(tables) or 'none'}."
    )


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "no message"
