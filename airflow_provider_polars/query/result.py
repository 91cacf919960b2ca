"""``ResultRef``: what a task hands on instead of rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_polars.exceptions import InvalidResultError
from airflow_provider_polars.query.paths import is_under, is_usable, local_path

MARKER = "polars_result"
VERSION = 1
FORMATS = frozenset({"parquet", "csv", "ipc", "ndjson", "delta", "iceberg"})
SCAN_OPTIONS: dict[str, dict[str, type]] = {
    "csv": {
        **dict.fromkeys(("has_header", "decimal_comma"), bool),
        **dict.fromkeys(("separator", "quote_char", "null_values", "eol_char"), str),
        **dict.fromkeys(("date_format", "datetime_format", "time_format"), str),
    },
    "delta": {"version": int},
    "iceberg": {"table": str, "catalog": str, "catalog_properties": dict, "snapshot_id": int},
}
CATALOG_PROPERTIES = {"type", "uri", "warehouse"}
MAX_BYTES = 4096
MAX_SCHEMA_BYTES = 2048
MAX_HEAD_BYTES = 1024
MAX_LOCATIONS = 20
MAX_LOCATIONS_BYTES = 1024
_FIELDS = {
    MARKER: int,
    "locations": list,
    "format": str,
    "rows": (int, type(None)),
    "bytes": (int, type(None)),
    "files": int,
    "schema": list,
    "schema_omitted": int,
    "schema_hash": str,
    "query_id": str,
    "timings": dict,
    "scan_options": dict,
    "conn_id": (str, type(None)),
    "head": list,
    "statistics": dict,
    "signed": int,
}


class ResultRef(dict[str, Any]):
    """A reference to a written result: a plain JSON object of at most 4 KB, whatever the data.

    ``locations`` (list of str), ``format``, ``rows`` and ``bytes`` (int, or None where the store does not
    tell), ``files`` (int), ``schema`` (list of ``[name, dtype]`` up to 2 KB, ``schema_omitted`` counts the
    rest), ``schema_hash`` (of the whole schema), ``query_id``, ``timings`` (seconds), ``head`` (list of
    rows, at most 1 KB, only if asked for), ``conn_id`` (of the connection that reads it), ``statistics`` (what a
    cluster counts: ``stages``, ``rows_read``, ``bytes_read``, ``bytes_shuffled``), ``signed`` (1 if the cluster hands
    the result out by signed URLs only: ``locations`` lack the signature, and cannot be read).
    """

    @classmethod
    def build(
        cls,
        *,
        locations: Sequence[str],
        root: str,
        format: str,
        rows: int | None,
        bytes: int | None,
        schema: Sequence[tuple[str, str]],
        query_id: str,
        timings: Mapping[str, float],
        scan_options: Mapping[str, Any] | None = None,
        conn_id: str | None = None,
        head: Sequence[Mapping[str, Any]] = (),
        statistics: Mapping[str, int] | None = None,
        signed: bool = False,
    ) -> ResultRef:
        """Return the reference, cut to its limits.

        :param locations: the files; above 20, or 1 KB, ``root`` stands for all of them.
        :param root: the directory or file that holds them all.
        :param signed: whether ``locations`` can be read with a signature only, which they lack.
        """
        shown = list(locations)
        if len(shown) > MAX_LOCATIONS or _size(shown) > MAX_LOCATIONS_BYTES:
            shown = [root]
        pairs = [[name, dtype] for name, dtype in schema]
        ref = cls(
            {
                MARKER: VERSION,
                "locations": shown,
                "format": format,
                "rows": rows,
                "bytes": bytes,
                "files": len(locations),
                "schema": fitting(pairs, MAX_SCHEMA_BYTES),
                "schema_hash": hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16],
                "query_id": query_id,
                "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
            }
        )
        if omitted := len(pairs) - len(ref["schema"]):
            ref["schema_omitted"] = omitted
        if scan_options:
            ref["scan_options"] = dict(scan_options)
        if conn_id:
            ref["conn_id"] = conn_id
        if statistics:
            ref["statistics"] = dict(statistics)
        if signed:
            ref["signed"] = 1
        if _size(ref) > MAX_BYTES:
            ref |= {"schema": [], "schema_omitted": len(pairs)}
        room = min(MAX_HEAD_BYTES, MAX_BYTES - _size(ref) - len('"head": , '))
        if rows_shown := fitting(list(head), room):
            ref["head"] = rows_shown
        return ref

    @classmethod
    def parse(cls, value: Mapping[str, Any], allowed_prefixes: Sequence[str] = ()) -> ResultRef:
        """Return the reference in ``value``, which came through XCom and is not trusted.

        :param allowed_prefixes: where locations may lie; empty means anywhere.
        :raises InvalidResultError: if it is malformed, or a location is outside.
        """
        for name, item in value.items():
            if name not in _FIELDS or not isinstance(item, _FIELDS[name]) or isinstance(item, bool):  # type: ignore[arg-type]
                raise InvalidResultError(
                    f"This is no result of a Polars task: field {name!r} is {str(item)[:100]!r}. "
                    "Pass on what the upstream task returned, unchanged."
                )
        ref = cls(value)
        locations = ref.get("locations") or []
        if ref.get(MARKER) != VERSION or ref.get("format") not in FORMATS or not locations:
            raise InvalidResultError(
                f"This is no result of a Polars task that this version can read: "
                f"version {ref.get(MARKER)!r}, format {ref.get('format')!r}, {len(locations)} locations."
            )
        _check_columns(ref)
        _check_options(ref)
        for location in [*locations, *_catalog_locations(ref)]:
            if (
                not isinstance(location, str)
                or not is_usable(location)
                or not (local_path(location) or "/").startswith("/")
            ):
                raise InvalidResultError(
                    f"A location of a Polars result must be an absolute path or a URL, got {location!r}."
                )
            if allowed_prefixes and not is_under(location, list(allowed_prefixes)):
                raise InvalidResultError(
                    f"The result location {location!r} is outside [polars] allowed_prefixes "
                    f"({', '.join(allowed_prefixes)}). Add its prefix there if this data is to be read."
                )
        return ref

    @property
    def locations(self) -> list[str]:
        """Paths or URLs of the files, or the one directory that holds them."""
        return list(self["locations"])

    @property
    def format(self) -> str:
        """``parquet``, ``csv``, ``ipc``, ``ndjson``, ``delta`` or ``iceberg``."""
        return str(self["format"])

    @property
    def rows(self) -> int | None:
        """Number of rows written."""
        return self.get("rows")

    @property
    def bytes(self) -> int | None:
        """Bytes written; None where the store does not tell."""
        return self.get("bytes")

    @property
    def schema(self) -> list[tuple[str, str]]:
        """Column names and Polars data types, as far as they fit."""
        return [(name, dtype) for name, dtype in self.get("schema", [])]

    @property
    def query_id(self) -> str:
        """Id of the query that wrote it."""
        return str(self.get("query_id", ""))

    @property
    def head(self) -> list[dict[str, Any]]:
        """The first rows, if they were asked for."""
        return list(self.get("head", []))


def is_result(value: object) -> bool:
    """Return True for a JSON object that says it is a result reference."""
    return isinstance(value, Mapping) and MARKER in value


def _check_columns(ref: ResultRef) -> None:
    for pair in ref.get("schema", []):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise InvalidResultError(f"A column of a Polars result must be [name, data type], got {str(pair)[:100]}.")
    for row in ref.get("head", []):
        if not isinstance(row, Mapping):
            raise InvalidResultError(f"A row in the head of a Polars result must be an object, got {str(row)[:100]}.")


def _check_options(ref: ResultRef) -> None:
    known, options = SCAN_OPTIONS.get(ref.format, {}), ref.get("scan_options", {})
    wrong = [name for name, item in options.items() if not isinstance(item, known.get(name, ()))]
    properties = options.get("catalog_properties", {}) if not wrong else {}
    wrong += [name for name, item in properties.items() if name not in CATALOG_PROPERTIES or not isinstance(item, str)]
    if ref.format == "iceberg":
        wrong += [name for name in ("table", "catalog", "catalog_properties") if name not in options]
    if wrong:
        raise InvalidResultError(
            f"The reader options of this {ref.format} result are wrong: {', '.join(sorted(wrong))}."
        )


def _catalog_locations(ref: ResultRef) -> list[str]:
    """Return what an Iceberg result reads besides its ``locations``, which only describe it."""
    if ref.format != "iceberg":
        return []
    options = ref["scan_options"]
    uri = options["catalog_properties"].get("uri")
    return [f"iceberg://{options['catalog']}/{options['table']}", *([uri] if uri else [])]


def _size(value: Any) -> int:
    return len(json.dumps(value).encode())


def fitting(items: list[Any], limit: int) -> list[Any]:
    """Return the leading items whose JSON list stays within ``limit`` bytes."""
    size = 2
    for count, item in enumerate(items):
        size += _size(item) + 2
        if size > limit:
            return items[:count]
    return items
