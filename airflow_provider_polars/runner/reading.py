"""From files and tables to LazyFrames."""

from __future__ import annotations

import ast
import contextlib
import glob
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

EXTENSIONS = {"parquet": "parquet", "csv": "csv", "ipc": "ipc", "ndjson": "jsonl"}
MANIFEST = "_manifest.json"


def scan(source: Mapping[str, Any], storage_options: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Return a LazyFrame over ``{"format", "locations", "schema", "complete", "options"}``.

    ``complete`` says that ``schema`` lists every column.
    """
    kind, locations, options = source["format"], list(source["locations"]), dict(source.get("options") or {})
    storage = dict(storage_options or {}) or None
    if kind == "delta":
        return pl.scan_delta(locations[0], storage_options=storage, **options)
    if kind == "iceberg":
        return pl.scan_iceberg(iceberg_table(options), snapshot_id=options.get("snapshot_id"))
    files = [file for location in locations for file in _expand(location, kind, storage)]
    if kind in ("csv", "ndjson"):
        return _scan_text(files, source, storage, options)
    return getattr(pl, f"scan_{kind}")(files, storage_options=storage, **options)  # type: ignore[no-any-return]


def iceberg_table(options: Mapping[str, Any]) -> Any:
    """Return the PyIceberg table that ``catalog``, ``catalog_properties`` and ``table`` name."""
    from pyiceberg.catalog import load_catalog

    return load_catalog(options["catalog"], **options["catalog_properties"]).load_table(options["table"])


def _expand(location: str, kind: str, storage: Any) -> list[str]:
    """Return the files of a directory, as its manifest says where it has one; else the location itself.

    Names of files are escaped: Polars would expand a partition ``code=A*`` to others that match it.
    """
    if "://" in location:
        return expand_url(location, kind, storage) if location.endswith("/") else [location]
    if not os.path.isdir(location):
        return [glob.escape(location) if os.path.exists(location) else location]
    with contextlib.suppress(FileNotFoundError), open(os.path.join(location, MANIFEST)) as manifest:
        return [glob.escape(os.path.join(location, name)) for name in json.load(manifest)["files"]]
    return [glob.escape(file) for file in list_files(location)]


def expand_url(root: str, kind: str, storage: Any) -> list[str]:
    """Return the objects below ``root`` that its manifest lists; where it has none, a pattern for all of the format."""
    try:
        names = pl.scan_ndjson(root + MANIFEST, storage_options=storage).collect()["files"][0]
    except FileNotFoundError:
        return [f"{root}**/*.{EXTENSIONS[kind]}"]
    return [root + glob.escape(name) for name in names]


def list_files(directory: str) -> list[str]:
    """Return the files below a local directory, sorted, without those whose name begins with ``.`` or ``_``."""
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(directory)
        for name in names
        if not name.startswith((".", "_"))
    )


def _scan_text(files: list[str], source: Mapping[str, Any], storage: Any, options: Any) -> pl.LazyFrame:
    """Scan files that hold no types, with those of the schema as far as it tells."""
    formats = [options.pop(name, None) for name in ("date_format", "datetime_format", "time_format")]
    kind, schema = source["format"], source.get("schema") or []
    known: dict[str, Any] = {}
    casts: list[pl.Expr] = []
    for name, text in schema:
        dtype, cast = _from_text(kind, pl.col(name), parse_dtype(text), formats)
        known |= {} if dtype is None else {name: dtype}
        casts += [] if cast is None else [cast]
    complete = bool(schema) and len(known) == len(schema) and source.get("complete", False)
    options["schema" if complete else "schema_overrides"] = known
    if source.get("complete") and not complete and not options.get("has_header", True):
        options["new_columns"] = [name for name, _ in schema]
    frame = getattr(pl, f"scan_{kind}")(files, storage_options=storage, **options)
    return frame.with_columns(casts)  # type: ignore[no-any-return]


def _from_text(kind: str, column: pl.Expr, dtype: Any, formats: list[Any]) -> tuple[Any, pl.Expr | None]:
    """Return the type to read a column as (None: what the reader finds), and what makes ``dtype`` of it after."""
    is_json, (date, moment, clock) = kind == "ndjson", formats
    if dtype == pl.Time:
        return pl.String, column.str.to_time(clock or "%H:%M:%S%.f")
    if dtype == pl.Date and date:
        return pl.String, column.str.to_date(date)
    if isinstance(dtype, pl.Datetime) and not is_json and dtype.time_zone and not moment:
        moment = _CSV_MOMENT  # Polars 1.39 cannot find it out for a column without values
    if isinstance(dtype, pl.Datetime) and moment:
        return pl.String, column.str.to_datetime(moment, time_unit=dtype.time_unit, time_zone=dtype.time_zone)
    if is_json and dtype in (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16):
        return pl.Int64, column.cast(dtype)
    if dtype == pl.Null or (is_json and isinstance(dtype, pl.Decimal)):
        return pl.String, column.cast(dtype)
    return (None if is_json and _NOT_IN_JSON.search(str(dtype)) else dtype), None


_CSV_MOMENT = "%Y-%m-%dT%H:%M:%S%.f%z"
_NOT_IN_JSON = re.compile(r"\b(Time|Decimal|Duration)\b")


def parse_dtype(text: str) -> Any:
    """Return the data type that Polars prints as ``text``, None for other text. Nothing of it is evaluated."""
    with contextlib.suppress(SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        found = _dtype_node(ast.parse(text, mode="eval").body)
        return found if isinstance(found, pl.DataType | DataTypeClass) else None
    return None


def _dtype_node(node: Any) -> Any:
    if isinstance(node, ast.Name):
        found = getattr(pl, node.id, None)
        return found if isinstance(found, DataTypeClass) else None
    if isinstance(node, ast.Call):
        arguments: Any = {word.arg: _dtype_node(word.value) for word in node.keywords}
        return _dtype_node(node.func)(*map(_dtype_node, node.args), **arguments)
    if isinstance(node, ast.Dict):
        return {_dtype_node(key): _dtype_node(value) for key, value in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)
