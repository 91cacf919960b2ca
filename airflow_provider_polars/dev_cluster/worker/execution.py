"""Runs one plan and says what came out."""

from __future__ import annotations

import glob
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import polars as pl

from . import arrow, plans
from .frames import ROWS_FILE

HEAD_ROWS = 10
BATCH_ROWS = 16_384
MESSAGE_BYTES = 2_000_000  # the client takes 4 MiB
ENGINES = {1: "streaming", 2: "streaming", 3: "in-memory"}
GPU = 4
_EXTENSIONS = {"parquet": "parquet", "ipc": "arrow", "csv": "csv", "ndjson": "jsonl"}
_SCANS: dict[str, Callable[..., pl.LazyFrame]] = {
    "parquet": pl.scan_parquet,
    "ipc": pl.scan_ipc,
    "csv": pl.scan_csv,
    "ndjson": pl.scan_ndjson,
}


def run(message: dict[str, Any], plan: bytes) -> tuple[dict[str, Any], bytes]:
    """Run a plan.

    :param message: ``id`` (of the query), ``engine`` (number on the wire), ``flags``, ``distributed``,
        ``maintain_order``, ``results`` (folder for results without a place of their own).
    :return: ``files``, ``format``, ``rows``, ``head_error`` and ``seconds``; and the head, as an Arrow IPC file.
    :raises BaseException: whatever Polars raises.
    """
    started = time.monotonic()
    sink = plans.sink_of(plan)
    folder = Path(message["results"]) / message["id"]
    if sink is not None and sink.kind == "File" and sink.target == plans.FLIGHT:
        rows, head = _run_for_client(message, plan, folder)
        return _outcome([], "", rows, started), head
    if sink is None or sink.kind not in ("File", "Partitioned"):
        _collect(plan, message)
        return _outcome([], "", None, started), b""
    target = sink.target
    if target == plans.IN_MEMORY:
        folder.mkdir(parents=True, exist_ok=True)
        target = str(folder / "0000.parquet")
    elif sink.kind == "File" and _is_directory(target, message["distributed"]):
        target = f"{target.rstrip('/')}/{message['id']}-0000.{_EXTENSIONS[sink.format]}"
        if "://" not in target:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
    if target != sink.target:
        plan = plans.with_target(plan, sink.target, target)
    before = _files_below(target) if sink.kind == "Partitioned" else {}
    _collect(plan, message)
    files = [target] if sink.kind == "File" else _new_files(target, before)
    done = _outcome(files, sink.format, None if files else 0, started)
    try:
        names = [file if _is_remote(file) else glob.escape(file) for file in files]
        frame = _SCANS[sink.format](names, **_scan_options(sink)) if files else pl.LazyFrame()
        if files:
            done["rows"] = frame.select(pl.len()).collect().item()
        head = _ipc_file(frame.head(HEAD_ROWS).collect())
    except BaseException as error:
        done["head_error"] = f"the output cannot be read back: {describe(error)}"
        head = b""
    return done, head


def describe(error: BaseException) -> str:
    """Return ``TypeName: message`` as the client turns it back into an exception.

    KeyboardInterrupt and SystemExit would end the client, and names without a message break its decoder.
    """
    name = type(error).__name__
    if not isinstance(error, Exception) and name != "PanicException":
        name = f"ComputeError: {name}"
    try:
        text = str(error)
    except Exception:
        text = "it has no text"
    return f"{name}: {text}"[:8000].encode(errors="replace").decode()


def _outcome(files: list[str], file_format: str, rows: int | None, started: float) -> dict[str, Any]:
    return {
        "files": files,
        "format": file_format,
        "rows": rows,
        "head_error": None,
        "seconds": round(time.monotonic() - started, 6),
    }


def _collect(plan: bytes, message: dict[str, Any]) -> pl.DataFrame:
    return plans.load(plan).collect(engine=_engine(message), optimizations=plans.optimizations(message["flags"]))


def _engine(message: dict[str, Any]) -> Any:
    return pl.GPUEngine(raise_on_fail=True) if message["engine"] == GPU else ENGINES[message["engine"]]


def _is_directory(target: str, distributed: bool) -> bool:
    """A distributed query writes a directory, unless the path looks like a file (that is the client's rule too)."""
    if target.endswith("/") or os.path.isdir(target):
        return True
    return distributed and "." not in target.rsplit("/", 1)[-1]


def _files_below(folder: str) -> dict[str, tuple[int, int]]:
    """Return the files below a local folder, with what changes when one of them is written."""
    local = urlparse(folder).path if folder.startswith("file://") else folder
    files = (os.path.join(place, name) for place, _, names in os.walk(local) for name in names)
    return {file: (os.stat(file).st_ino, os.stat(file).st_mtime_ns) for file in sorted(files)}


def _new_files(folder: str, before: dict[str, tuple[int, int]]) -> list[str]:
    if _is_remote(folder):
        return [folder.rstrip("/") + "/"]
    return [file for file, written in _files_below(folder).items() if before.get(file) != written]


def _is_remote(target: str) -> bool:
    return "://" in target and not target.startswith("file://")


def _scan_options(sink: plans.Sink) -> dict[str, Any]:
    remote = {"storage_options": sink.storage_options, "credential_provider": None}
    return sink.scan_options | (remote if _is_remote(sink.target) else {})


def _run_for_client(message: dict[str, Any], plan: bytes, folder: Path) -> tuple[int, bytes]:
    """Write the rows as they come, in messages that the client takes; return their number and the head."""
    frame = plans.load(plans.without_sink(plan))
    head, rows = frame.collect_schema().to_frame(), 0
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ROWS_FILE).open("wb") as file:
        file.write(_stream(head))
        for batch in _batches(frame, message):
            head = pl.concat([head, batch.head(HEAD_ROWS - rows)]) if rows < HEAD_ROWS else head
            rows += batch.height
            size = max(1, int(batch.height * MESSAGE_BYTES / max(1, batch.estimated_size())))
            for part in batch.iter_slices(size):
                (_, _), *messages = arrow.messages(io.BytesIO(_stream(part)))
                file.writelines(arrow.encapsulated(metadata) + body for metadata, body in messages)
        file.write(arrow.END)
    return rows, _ipc_file(head)


def _batches(frame: pl.LazyFrame, message: dict[str, Any]) -> Iterator[pl.DataFrame]:
    engine, flags = _engine(message), plans.optimizations(message["flags"])
    if engine == "streaming":
        return iter(frame.collect_batches(maintain_order=message["maintain_order"], engine=engine, optimizations=flags))
    return frame.collect(engine=engine, optimizations=flags).iter_slices(BATCH_ROWS)


def _stream(frame: pl.DataFrame) -> bytes:
    """Return the Arrow IPC stream of a frame without its end."""
    return frame.rechunk().write_ipc_stream(None).getvalue().removesuffix(arrow.END)


def _ipc_file(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()
