"""Tells what went wrong, in this package's words, from an exception or its description by the runner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_polars.backends.staging import write_error
from airflow_provider_polars.exceptions import (
    ClusterAccessError,
    ClusterUnreachableError,
    ConfigurationError,
    GpuUnavailableError,
    PolarsProviderError,
    QueryDefinitionError,
    QueryFailedError,
    RefusedOptionError,
    ResultNotFoundError,
    SchemaError,
    SinkWriteError,
    VersionMismatchError,
    nearest,
)
from airflow_provider_polars.query.paths import public_text

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
_GRPC = re.compile(r"Error (?:calling|setting up) gRPC (?:endpoint|connection),? ?(.*)", re.DOTALL)
_GRPC_KINDS: dict[str, type[PolarsProviderError]] = {
    "currently unavailable": ClusterUnreachableError,
    "transport error": ClusterUnreachableError,
    "Deadline expired": ClusterUnreachableError,
    "authentication credentials": ClusterAccessError,
    "have permission": ClusterAccessError,
}
"""Sentences of the client for gRPC's status codes; it gives no code."""
_OTHER_PYTHON = re.compile(
    r"current Python version \((.+?)\) does not match the Python version used to serialize the UDF \((.+?)\)"
)
_OS_ERRORS = {"OSError", "FileNotFoundError", "PermissionError", "IsADirectoryError", "NotADirectoryError"}
_SHOWN_OF_PATH = 40
"""Characters at the end of a path that Polars shows of any."""
_NO_FILES = "expanded paths were empty"
"""Words of Polars for a pattern that nothing matches."""
_UPLOAD = re.compile(r"Error performing (PUT|POST) ")


def translate(
    described: Mapping[str, Any],
    *,
    query: str,
    engine: str = "auto",
    target: str = "",
    tables: Iterable[str] = (),
    cluster: str = "",
) -> Exception:
    """Return the error of ours for one that the runner described, without the secrets of URLs that Polars repeats.

    :param described: ``classes`` (names along the MRO), ``message``, ``errno``, ``traceback``.
    :param query: name of the query, for the message.
    :param engine: the engine it was to run on.
    :param target: what it was writing, for the message.
    :param tables: names of the tables that an SQL query was given.
    :param cluster: where it was to run, if not here.
    """
    classes, message = list(described["classes"]), public_text(str(described["message"]))
    first = classes[0]
    if cluster and (ours := _of_cluster(classes, message, query, target, cluster)) is not None:
        return ours
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


def _of_cluster(classes: list[str], message: str, query: str, target: str, cluster: str) -> Exception | None:
    """Return the error for what goes wrong because the query runs somewhere else."""
    if (grpc := _GRPC.search(message)) is not None:
        kind = next((kind for sentence, kind in _GRPC_KINDS.items() if sentence in grpc[1]), QueryFailedError)
        return kind(
            f"The cluster at {cluster} failed a call for the query {query}: {grpc[1]}. Check its log and the "
            "connection."
        )
    if _OS_ERRORS.intersection(classes) and target and target.rstrip("/")[-_SHOWN_OF_PATH:] in message:
        return SinkWriteError(
            f"The cluster at {cluster} cannot write the result of the query {query} to {target}: "
            f"{_first_line(message)}. Paths are those of its machines: use a folder that they may write, or a URL."
        )
    if ("FileNotFoundError" in classes and not _UPLOAD.search(message)) or _NO_FILES in message:
        return ResultNotFoundError(
            f"The query {query} reads a file that the cluster at {cluster} does not see: {_first_line(message)}. Paths "
            "are those of its machines: use a folder that they share with the workers, or a URL."
        )
    if "ModuleNotFoundError" in classes:
        return QueryDefinitionError(
            f"The query {query} needs a package that the cluster at {cluster} lacks: {_first_line(message)}. "
            "Install it there, or do without."
        )
    if (versions := _OTHER_PYTHON.search(message)) is not None:
        there, here = (version.replace(", ", ".") for version in versions.groups())
        return VersionMismatchError(
            f"A Python function of the query {query} cannot be read by the cluster at {cluster}: that has Python "
            f"{there}, this worker {here}. Functions travel between equal versions only: install Python {there} on "
            "the workers, or write the query with expressions."
        )
    return None


def translate_exception(error: BaseException, *, submitting: bool = False, **words: Any) -> Exception | None:
    """Return the error of ours for an exception of Polars, its client or the system, None for one of the user's own.

    :param submitting: whether none of the user's code was running.
    """
    from airflow_provider_polars import runner

    if isinstance(error, PolarsProviderError):
        return error
    named = runner.described_error(error)
    own = {"WrongReturnError", "UnknownOptionError", "PolarsError", "PanicException"}
    known = own.intersection(named["classes"]) or _GRPC.search(named["message"])
    if not known and not (submitting and isinstance(error, Exception)):
        return None
    hide_secrets(error)
    return translate(named, **words)


def hide_secrets(error: BaseException) -> None:
    """Take the secrets of URLs out of the text of an exception, and of those that led to it: logs show them all."""
    seen: set[int] = set()
    led: list[BaseException | None] = [error]
    while led:
        each = led.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.args = tuple(public_text(given) if isinstance(given, str) else given for given in each.args)
        if isinstance(each, OSError) and isinstance(each.filename, str):
            each.filename = public_text(each.filename)
        led += [each.__cause__, each.__context__]


def _sql_message(message: str, tables: list[str]) -> str:
    missing = re.search(r"relation '([^']+)' was not found", message)
    if missing is None:
        return f"The SQL of the query is refused: {message}"
    return (
        f"The SQL names the table {missing[1]!r}, which tables= does not give{nearest(missing[1], tables)} "
        f"Given: {', '.join(tables) or 'none'}."
    )


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0].rstrip(". ") if message.strip() else "no message"
