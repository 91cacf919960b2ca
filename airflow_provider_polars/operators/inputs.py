"""Turns what came through XCom, and the tables of an SQL query, into inputs that a backend can scan."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_polars.exceptions import ConfigurationError, InvalidResultError, ResultNotFoundError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.storage import storage_options
from airflow_provider_polars.query.paths import check_location, local_path
from airflow_provider_polars.query.result import ResultRef, is_result
from airflow_provider_polars.query.source import Input

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".ipc": "ipc",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}


class InputResolver:
    """Resolves the inputs of one task; asks for each connection once.

    :param here: this worker reads them; else a cluster does, whose paths mean nothing here.
    """

    def __init__(self, *, here: bool = True) -> None:
        self._here = here
        self._allowed = settings.allowed_prefixes()
        self._storage: dict[str, dict[str, str]] = {}

    def convert(self, value: Any, form: Callable[[], str]) -> Any:
        """Return ``value`` with every result reference in it, at any depth, replaced by an :class:`Input`.

        :param form: tells what the parameter wants; asked only if there is a reference.
        :raises InvalidResultError: for a malformed or forbidden reference.
        :raises ResultNotFoundError: if its local files are gone.
        """
        if is_result(value):
            return self._input(ResultRef.parse(value, self._allowed), form())
        if isinstance(value, Mapping):
            return {key: self.convert(item, form) for key, item in value.items()}
        if type(value) is tuple:
            return tuple(self.convert(item, form) for item in value)
        if _is_list(value):
            return [self.convert(item, form) for item in _items(value)]
        return value

    def table(self, name: str, value: Any) -> Input:
        """Return the input for one entry of ``tables=``: an upstream result, a path or a URL.

        :raises ConfigurationError: if it is none of them.
        """
        converted = self.convert(value, lambda: "lazy")
        if isinstance(converted, Input):
            return converted
        if not isinstance(value, str):
            raise ConfigurationError(
                f"tables[{name!r}] must be a path, a URL or the result of a Polars task, got {type(value).__name__}."
            )
        check_location(value, f"tables[{name!r}]")
        location = local_path(value)
        if self._here and location is not None and "*" not in location and not os.path.exists(location):
            raise ResultNotFoundError(f"tables[{name!r}] = {value!r} does not exist on this worker.")
        path = value.rstrip("/")
        found = _FORMATS.get(os.path.splitext(path)[1].lower())
        if found is None and not value.endswith("/") and not os.path.isdir(local_path(path) or ""):
            raise ConfigurationError(
                f"tables[{name!r}] = {value!r} has no known extension ({', '.join(_FORMATS)}); "
                "a directory of Parquet files ends with a slash."
            )
        return Input(scan={"format": found or "parquet", "locations": [local_path(value) or value]})

    def _input(self, ref: ResultRef, form: str) -> Input:
        if ref.get("signed"):
            raise InvalidResultError(
                f"The result of the query {ref.query_id} is kept by its cluster, which hands it out by signed URLs "
                "only, and those are secrets. Give the upstream task a sink."
            )
        locations = ref.locations
        if ref.format != "iceberg":
            here = self._here or form == "eager"
            locations = [file for location in locations for file in self._files(location, ref, here=here)]
        conn_id = ref.get("conn_id")
        if conn_id and conn_id not in self._storage:
            self._storage[conn_id] = storage_options(conn_id)
        scan = {
            "format": ref.format,
            "locations": locations,
            "schema": ref.get("schema", []),
            "complete": not ref.get("schema_omitted"),
            "options": ref.get("scan_options", {}),
        }
        return Input(scan=scan, form=form, ref=ref, storage_options=self._storage.get(conn_id, {}) if conn_id else {})

    def _files(self, location: str, ref: ResultRef, *, here: bool) -> list[str]:
        """Return what to read for a location; a pattern of files on this disk becomes their names, each allowed."""
        path = local_path(location)
        if path is None or os.path.exists(path):
            return [path or location]
        files = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
        if files:
            ResultRef.parse({**ref, "locations": files}, self._allowed)
        elif here:
            raise ResultNotFoundError(
                f"The upstream result {path} is not on this worker. Either it was removed, or the workers do not "
                "share that folder. Results without a sink lie under [polars] results_path "
                f"({settings.results_path()}): it must be a folder that all workers share, or a URL."
            )
        return files or [path]


def _is_list(value: Any) -> bool:
    """Return True for a list and for what Airflow makes of mapped results; other sequences are the user's own."""
    lazy = isinstance(value, Sequence) and type(value).__module__.startswith("airflow.")
    return lazy or isinstance(value, list)


def _items(value: Sequence[Any]) -> Sequence[Any]:
    """Return the items of a sequence; those of mapped tasks in one request instead of one each."""
    if type(value).__name__ == "LazyXComSequence":
        return value[:]
    try:
        return list(value)
    except TypeError as error:
        raise InvalidResultError(f"The sequence of upstream results cannot be read: {error}.") from error
