"""Runs a LazyFrame and writes its rows."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import polars as pl

from .reading import EXTENSIONS, MANIFEST, expand_url, iceberg_table, list_files, scan

QUIET_SECONDS = 0.1
QUIET_LIMIT_SECONDS = 5.0


class UnknownOptionError(TypeError):
    """An option that the Polars installed here does not know."""


def run(frame: pl.LazyFrame, write: Mapping[str, Any], engine: str, head_rows: int = 0) -> dict[str, Any]:
    """Run one query and write its result; return what was written. Blocks, and releases the GIL meanwhile.

    :param write: ``format``, ``path``, ``directory``, ``options``, ``storage_options``; for an object store ``rows``, a
        local file for the rows until all are there; for tables also ``mode`` and ``mark``.
    :return: ``files`` (paths), ``rows``, ``bytes``, ``schema`` (pairs), ``head``, ``seconds``, ``scan_options``.
    """
    started = time.monotonic()
    schema: Any = None
    options = dict(write.get("scan_options") or {})
    if write["format"] == "delta":
        options["version"] = _write_delta(frame, write, engine)
    elif write["format"] == "iceberg":
        options["snapshot_id"] = _write_iceberg(frame, write, engine)
    else:
        frame = _computed(frame, engine)
        schema = frame.collect_schema()
        sink_engine = engine if engine == "streaming" else "auto"
        if write.get("rows") and engine not in COLLECTING:
            frame = _complete(frame, write)
        _sink_files(frame, write, sink_engine, schema)
    run_seconds = time.monotonic() - started
    return _describe(write, options, schema, head_rows) | {
        "seconds": round(run_seconds, 4),
        "scan_options": options,
    }


COLLECTING = ("in-memory", "gpu")
"""Engines that sinks do not run on: the rows are collected before they are written."""


def _computed(frame: pl.LazyFrame, engine: str) -> pl.LazyFrame:
    if engine not in COLLECTING:
        return frame
    return frame.collect(engine=gpu_engine() if engine == "gpu" else "in-memory").lazy()


def _complete(frame: pl.LazyFrame, write: Mapping[str, Any]) -> pl.LazyFrame:
    """Return the rows of the frame, all of them, from the file that ``write`` has for them.

    Polars finishes the upload of a query that fails, and so would put a part of its rows in the place of a good object.
    """
    frame.sink_ipc(write["rows"], engine="streaming", maintain_order=write["options"].get("maintain_order", True))
    return pl.scan_ipc(write["rows"])


def gpu_engine() -> Any:
    """Return the GPU engine that raises rather than fall back to the CPU."""
    importlib.import_module("cudf_polars")
    return pl.GPUEngine(raise_on_fail=True)


def check_options(write: Mapping[str, Any]) -> None:
    """Raise :class:`UnknownOptionError` for a writer option that this Polars does not know."""
    if write["format"] in EXTENSIONS:
        known = inspect.signature(getattr(pl.LazyFrame, f"sink_{write['format']}")).parameters
        for name in [name for name in write["options"] if name not in known]:
            raise UnknownOptionError(f"Polars {pl.__version__} has no {name!r} for {write['format']} files")


def _sink_files(frame: pl.LazyFrame, write: Mapping[str, Any], engine: str, schema: pl.Schema) -> None:
    path: Any = write["path"]
    sink = getattr(pl.LazyFrame, f"sink_{write['format']}")
    options = {**write["options"], "storage_options": dict(write.get("storage_options") or {}) or None}
    if "compression" in options and write["format"] in ("csv", "ndjson"):
        options["check_extension"] = False
    options |= {"mkdir": bool(write["directory"] and write["partition_by"]), "engine": engine}
    if write["directory"] and "://" not in path:
        os.makedirs(path, exist_ok=True)
    if not write["directory"]:
        sink(frame, path, **options)
        return
    written: list[str] = []
    failed = False

    def place(file: Any) -> str:
        if failed:
            raise RuntimeError("the query has failed: no further file")
        name = _partition_file(file, write["format"])
        written.append(name)
        return f"{path.rstrip('/')}/{name}"

    if write["partition_by"] or write["max_rows_per_file"]:
        limit = write["max_rows_per_file"]
        target = pl.PartitionBy(
            path, file_path_provider=place, key=write["partition_by"] or None, max_rows_per_file=limit
        )
        try:
            sink(frame, target, **options)
        except BaseException:
            failed = True
            _wait_for_writers(path)
            raise
        frame = schema.to_frame().lazy()
    if not written:
        written.append(f"00000000.{EXTENSIONS[write['format']]}")
        sink(frame, f"{path.rstrip('/')}/{written[0]}", **options)
    if "://" in path:
        manifest = pl.LazyFrame({"files": [sorted(written)]})
        manifest.sink_ndjson(f"{path.rstrip('/')}/{MANIFEST}", storage_options=options["storage_options"])


def _wait_for_writers(folder: str) -> None:
    """Return once nothing in this process has a file below ``folder`` open any more, and opens none for a while.

    A query that fails does not wait for the writers of its other files: they go on for some milliseconds, create files
    and folders that were removed already, and hold the space of a full disk.
    """
    quiet_since = started = time.monotonic()
    while (now := time.monotonic()) - quiet_since < QUIET_SECONDS and now - started < QUIET_LIMIT_SECONDS:
        if any(path.startswith(f"{folder.rstrip('/')}/") for path in _open_files()):
            quiet_since = now
        time.sleep(0.005)


def _open_files() -> Iterator[str]:
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{name}")


def _partition_file(file: Any, kind: str) -> str:
    """Return the name, hive style, of one file of a partition."""
    keys = file.partition_keys.cast(pl.String).row(0, named=True) if file.partition_keys.width else {}
    folders = [
        f"{quote(name, safe='')}={'__HIVE_DEFAULT_PARTITION__' if value is None else quote(value, safe='')}"
        for name, value in keys.items()
    ]
    return "/".join([*folders, f"{file.index_in_partition:08d}.{EXTENSIONS[kind]}"])


def _describe(write: Mapping[str, Any], options: Any, schema: Any, head_rows: int) -> dict[str, Any]:
    path, kind, storage = write["path"], write["format"], write.get("storage_options")
    directory = path.rstrip("/") + "/" if write["directory"] else path
    pairs = [[name, str(dtype)] for name, dtype in schema.items()] if schema is not None else []
    written = scan(
        {"format": kind, "locations": [directory], "schema": pairs, "complete": True, "options": options},
        storage,
    )
    local = "://" not in path and kind in EXTENSIONS
    files = [directory]
    if kind in EXTENSIONS and write["directory"]:
        files = list_files(path) if local else expand_url(directory, kind, storage)
    if schema is None or kind == "parquet":
        pairs = [[name, str(dtype)] for name, dtype in written.collect_schema().items()]
    return {
        "files": files,
        "rows": _count(written, kind, bool(pairs)),
        "bytes": sum(os.path.getsize(file) for file in files) if local else None,
        "schema": pairs,
        "head": json.loads(written.head(head_rows).collect().write_json()) if head_rows else [],
    }


def _count(frame: pl.LazyFrame, kind: str, has_columns: bool) -> int:
    # For pl.len() of a CSV file on an object store, Polars 2.0 may count an earlier version of it from its file cache.
    rows = pl.nth(0).len() if kind == "csv" and has_columns else pl.len()
    return int(frame.select(rows).collect().item())


def _write_delta(frame: pl.LazyFrame, write: Mapping[str, Any], engine: str) -> int:
    """Write to a Delta table unless this run and task did before; return the version that holds the result."""
    from deltalake import CommitProperties, DeltaTable, Transaction

    path, storage = write["path"], dict(write.get("storage_options") or {}) or None
    mark = write["mark"] if write["mode"] == "append" else None
    table = DeltaTable(path, storage_options=storage) if DeltaTable.is_deltatable(path, storage) else None
    if mark and table is not None and table.transaction_version(mark) is not None:
        return table.version()
    delta_options: dict[str, Any] = {}
    if mark:
        delta_options["commit_properties"] = CommitProperties(app_transactions=[Transaction(mark, 1)])
    if write["partition_by"] and table is None:
        delta_options["partition_by"] = write["partition_by"]
    if write["schema_mode"]:
        delta_options["schema_mode"] = write["schema_mode"]
    frame = _computed(frame, engine)
    frame.sink_delta(path, mode=write["mode"], storage_options=storage, delta_write_options=delta_options)
    return DeltaTable(path, storage_options=storage).version()


def _write_iceberg(frame: pl.LazyFrame, write: Mapping[str, Any], engine: str) -> int:
    """Write to an Iceberg table unless this run and task did before; return the snapshot with the result."""
    table, mark = iceberg_table(write["scan_options"]), write["mark"]
    for snapshot in table.metadata.snapshots:
        if write["mode"] == "append" and snapshot.summary and snapshot.summary.get("airflow-polars") == mark:
            return int(snapshot.snapshot_id)
    data = _computed(frame, engine).collect(engine="streaming").to_arrow(compat_level=pl.CompatLevel.oldest())
    getattr(table, write["mode"])(data, snapshot_properties={"airflow-polars": mark})
    return int(table.refresh().current_snapshot().snapshot_id)
