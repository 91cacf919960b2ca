"""Runs queries with nothing but the standard library and Polars.

Imported, it is the engine of the embedded backend. Started as ``python -I runner.py`` by another
interpreter, it reads one job (a line of JSON) from standard input, runs it, writes one line of JSON per
output to the descriptor that the job names, and dies with the process that started it. A job holds code
and paths, never a plan and never a pickle.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import glob
import importlib
import inspect
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import polars as pl
from polars.datatypes import DataTypeClass


class UnknownOptionError(TypeError):
    """An option that the Polars installed here does not know."""


class WrongReturnError(TypeError):
    """The function returned something that is not what its outputs need."""


def scan(source: Mapping[str, Any], storage_options: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Return a LazyFrame over ``{"format", "locations", "schema", "complete", "options"}``.

    ``complete`` says that ``schema`` lists every column.
    """
    kind, locations, options = source["format"], list(source["locations"]), dict(source.get("options") or {})
    storage = dict(storage_options or {}) or None
    if kind == "delta":
        return pl.scan_delta(locations[0], storage_options=storage, **options)
    if kind == "iceberg":
        return pl.scan_iceberg(_iceberg_table(options), snapshot_id=options.get("snapshot_id"))
    files = [file for location in locations for file in _expand(location, kind, storage)]
    if kind in ("csv", "ndjson"):
        return _scan_text(files, source, storage, options)
    return getattr(pl, f"scan_{kind}")(files, storage_options=storage, **options)  # type: ignore[no-any-return]


EXTENSIONS = {"parquet": "parquet", "csv": "csv", "ipc": "ipc", "ndjson": "jsonl"}
MANIFEST = "_manifest.json"


def _expand(location: str, kind: str, storage: Any) -> list[str]:
    """Return the files of a directory, as its manifest says where it has one; else the location itself.

    Names of files are escaped: Polars would expand a partition ``code=A*`` to others that match it.
    """
    if "://" in location:
        return _expand_url(location, kind, storage) if location.endswith("/") else [location]
    if not os.path.isdir(location):
        return [glob.escape(location) if os.path.exists(location) else location]
    with contextlib.suppress(FileNotFoundError), open(os.path.join(location, MANIFEST)) as manifest:
        return [glob.escape(os.path.join(location, name)) for name in json.load(manifest)["files"]]
    return [glob.escape(file) for file in list_files(location)]


def _expand_url(root: str, kind: str, storage: Any) -> list[str]:
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
    if source.get("complete") and not options.get("has_header", True):
        options["new_columns"] = [name for name, _ in schema]
    known: dict[str, Any] = {}
    casts: list[pl.Expr] = []
    for name, text in schema:
        dtype, cast = _from_text(kind, pl.col(name), _dtype(text), formats)
        known |= {} if dtype is None else {name: dtype}
        casts += [] if cast is None else [cast]
    complete = bool(schema) and len(known) == len(schema) and source.get("complete", False)
    options["schema" if complete else "schema_overrides"] = known
    frame = getattr(pl, f"scan_{kind}")(files, storage_options=storage, **options)
    return frame.with_columns(casts)  # type: ignore[no-any-return]


def _from_text(kind: str, column: pl.Expr, dtype: Any, formats: list[Any]) -> tuple[Any, pl.Expr | None]:
    """Return the type to read a column as (None: what the reader finds), and what makes ``dtype`` of it after."""
    is_json, (date, moment, clock) = kind == "ndjson", formats
    if dtype == pl.Time and (clock or is_json):
        return pl.String, column.str.to_time(clock or "%H:%M:%S%.f")
    if dtype == pl.Date and date:
        return pl.String, column.str.to_date(date)
    if isinstance(dtype, pl.Datetime) and moment:
        return pl.String, column.str.to_datetime(moment, time_unit=dtype.time_unit, time_zone=dtype.time_zone)
    if is_json and dtype in (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16):
        return pl.Int64, column.cast(dtype)
    if dtype == pl.Null or (is_json and isinstance(dtype, pl.Decimal)):
        return pl.String, column.cast(dtype)
    return (None if is_json and _NOT_IN_JSON.search(str(dtype)) else dtype), None


_NOT_IN_JSON = re.compile(r"\b(Time|Decimal|Duration)\b")


def _dtype(text: str) -> Any:
    """Return the data type that Polars prints as ``text``, None for other text. Nothing of it is evaluated."""
    with contextlib.suppress(SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        found = _dtype_of(ast.parse(text, mode="eval").body)
        return found if isinstance(found, pl.DataType | DataTypeClass) else None
    return None


def _dtype_of(node: Any) -> Any:
    if isinstance(node, ast.Name):
        found = getattr(pl, node.id, None)
        return found if isinstance(found, DataTypeClass) else None
    if isinstance(node, ast.Call):
        arguments: Any = {word.arg: _dtype_of(word.value) for word in node.keywords}
        return _dtype_of(node.func)(*map(_dtype_of, node.args), **arguments)
    if isinstance(node, ast.Dict):
        return {_dtype_of(key): _dtype_of(value) for key, value in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)


def sql_function(sql: str) -> Callable[..., pl.LazyFrame]:
    """Return a function of the tables, by name, that builds the query of one SELECT."""

    def build(**tables: pl.LazyFrame) -> pl.LazyFrame:
        return pl.SQLContext(tables).execute(sql, eager=False)

    return build


def load(code: Mapping[str, str]) -> Callable[..., Any]:
    """Return the function that ``{"source", "function"}``, ``{"reference"}`` or ``{"sql"}`` stands for."""
    if "sql" in code:
        return sql_function(code["sql"])
    if "reference" in code:
        module, _, path = code["reference"].partition(":")
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]
    namespace: dict[str, Any] = {"pl": pl, "__name__": "polars_task"}
    exec(compile(code["source"], "<polars_task>", "exec"), namespace)
    return namespace[code["function"]]  # type: ignore[no-any-return]


def frames(value: Any, keys: list[str], single: bool) -> dict[str, pl.LazyFrame]:
    """Return what the function gave as LazyFrames by output.

    :param keys: the outputs; ``single`` says that there is one and the function returns it bare.
    """
    if single:
        value = {keys[0]: value}
    if not isinstance(value, Mapping):
        got = _described(value)
        raise WrongReturnError(f"must return a dict of LazyFrames with the keys {keys}, got {got}")
    if set(value) != set(keys):
        raise WrongReturnError(
            f"must return a dict with the keys {sorted(keys)}, got the keys {sorted(map(str, value))}"
        )
    for key, frame in value.items():
        if not isinstance(frame, pl.LazyFrame | pl.DataFrame):
            where = "" if single else f" for {key!r}"
            raise WrongReturnError(f"must return a LazyFrame{where}, got {_described(frame)}")
    return {key: frame.lazy() for key, frame in value.items()}


def _described(value: Any) -> str:
    if value is None:
        return "None (is a return missing?)"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def run(frame: pl.LazyFrame, write: Mapping[str, Any], engine: str, head_rows: int = 0) -> dict[str, Any]:
    """Run one query and write its result; return what was written. Blocks, and releases the GIL meanwhile.

    :param write: ``format``, ``path``, ``directory``, ``options``, ``storage_options``; for tables also
        ``mode`` and ``mark``.
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
        with _complete(frame, write, sink_engine) as rows:
            _sink_files(rows, write, sink_engine, schema)
    run_seconds = time.monotonic() - started
    return _describe(write, options, schema, head_rows) | {
        "seconds": round(run_seconds, 4),
        "scan_options": options,
    }


def _computed(frame: pl.LazyFrame, engine: str) -> pl.LazyFrame:
    """Return the frame itself, or its rows where the engine is one that sinks do not run on."""
    if engine == "in-memory":
        return frame.collect(engine="in-memory").lazy()
    return frame.collect(engine=gpu_engine()).lazy() if engine == "gpu" else frame


@contextlib.contextmanager
def _complete(frame: pl.LazyFrame, write: Mapping[str, Any], engine: str) -> Iterator[pl.LazyFrame]:
    """Give the frame or, for an object store, its rows from a local file that ends with this process.

    Polars finishes the upload of a query that fails, and so would put a part of its rows in the place of a good object.
    """
    if "://" not in write["path"]:
        yield frame
        return
    with tempfile.TemporaryFile() as file:
        rows = f"/proc/self/fd/{file.fileno()}"
        frame.sink_ipc(rows, engine=engine, maintain_order=write["options"].get("maintain_order", True))  # type: ignore[call-overload]
        yield pl.scan_ipc(rows)


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

    def place(file: Any) -> str:
        written.append(_partition_file(file, write["format"]))
        return f"{path.rstrip('/')}/{written[-1]}"

    if write["partition_by"] or write["max_rows_per_file"]:
        limit = write["max_rows_per_file"]
        target = pl.PartitionBy(
            path, file_path_provider=place, key=write["partition_by"] or None, max_rows_per_file=limit
        )
        sink(frame, target, **options)
        frame = schema.to_frame().lazy()
    if not written:
        written.append(f"00000000.{EXTENSIONS[write['format']]}")
        sink(frame, f"{path.rstrip('/')}/{written[0]}", **options)
    if "://" in path:
        manifest = pl.LazyFrame({"files": [sorted(written)]})
        manifest.sink_ndjson(f"{path.rstrip('/')}/{MANIFEST}", storage_options=options["storage_options"])


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
        files = list_files(path) if local else _expand_url(directory, kind, storage)
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


def _iceberg_table(options: Mapping[str, Any]) -> Any:
    from pyiceberg.catalog import load_catalog

    return load_catalog(options["catalog"], **options["catalog_properties"]).load_table(options["table"])


def _write_iceberg(frame: pl.LazyFrame, write: Mapping[str, Any], engine: str) -> int:
    """Write to an Iceberg table unless this run and task did before; return the snapshot with the result."""
    table, mark = _iceberg_table(write["scan_options"]), write["mark"]
    for snapshot in table.metadata.snapshots:
        if write["mode"] == "append" and snapshot.summary and snapshot.summary.get("airflow-polars") == mark:
            return int(snapshot.snapshot_id)
    data = _computed(frame, engine).collect(engine="streaming").to_arrow(compat_level=pl.CompatLevel.oldest())
    getattr(table, write["mode"])(data, snapshot_properties={"airflow-polars": mark})
    return int(table.refresh().current_snapshot().snapshot_id)


def main() -> None:
    """Run the job on standard input; see the module."""
    job = json.loads(sys.stdin.readline())
    _die_with(job["parent"])
    sys.path[:0] = job["sys_path"]
    answers = os.fdopen(job["answers"], "w", buffering=1)
    with answers:
        try:
            for write in job["writes"].values():
                check_options(write)
            function = load(job["code"])
            value = function(**_with_inputs(job["arguments"]))
            built = frames(value, list(job["writes"]), job["single"])
        except BaseException as error:
            _answer(answers, {"key": None, "error": described_error(error)})
            return
        runs = [threading.Thread(target=_run_output, args=(answers, key, built[key], job)) for key in built]
        for thread in runs:
            thread.start()
        for thread in runs:
            thread.join()


def _run_output(answers: Any, key: str, frame: pl.LazyFrame, job: Mapping[str, Any]) -> None:
    try:
        done = run(frame, job["writes"][key], job["engine"], job["head_rows"])
        _answer(answers, {"key": key, "done": done})
    except BaseException as error:
        _answer(answers, {"key": key, "error": described_error(error)})


def _answer(answers: Any, message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")


def described_error(error: BaseException) -> dict[str, Any]:
    """Return an exception as JSON: its class names up to ``BaseException``, message and traceback text."""
    return {
        "classes": [base.__name__ for base in type(error).__mro__[:-1]],
        "message": str(error),
        "errno": getattr(error, "errno", None),
        "traceback": "".join(traceback.format_exception(error))[-8000:],
    }


class _Ref(dict[str, Any]):
    __getattr__ = dict.__getitem__


def _with_inputs(value: Any) -> Any:
    if isinstance(value, dict) and "$input" in value:
        given = value["$input"]
        if given["form"] == "ref":
            return _Ref(given["ref"])
        frame = scan(given["scan"], given["storage_options"])
        return frame.collect() if given["form"] == "eager" else frame
    if isinstance(value, dict):
        return {key: _with_inputs(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_inputs(item) for item in value]
    return value


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()


def _exit_at_end_of_input() -> None:
    standard_input = 0  # not sys.stdin, whose lock would stop the interpreter from shutting down
    while os.read(standard_input, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
