"""The backend of :class:`LocalCompute`: queries on the Airflow worker itself."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_polars.backends.base import Backend, Output, Run, RunState, RunStatus, Submission
from airflow_provider_polars.backends.errors import hide_secrets, translate, translate_exception
from airflow_provider_polars.backends.execution import (
    DescribedError,
    Execution,
    InProcessExecution,
    RunnerExecution,
    call_in_background,
    import_paths,
)
from airflow_provider_polars.backends.staging import Staging
from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.exceptions import PolarsProviderError, QueryCancelledError
from airflow_provider_polars.query.datasets import all_inputs
from airflow_provider_polars.query.paths import local_path, public_text
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import FileSink, Sink
from airflow_provider_polars.query.source import Input, SqlSource, map_inputs
from airflow_provider_polars.query.table_sinks import DeltaSink, IcebergSink


class LocalBackend(Backend[LocalCompute]):
    """Runs a query in threads of the task's process, or, where the compute asks for it, in a child process."""

    after_failure = "no local result was replaced"

    def __init__(self, compute: LocalCompute) -> None:
        super().__init__(compute)
        self._execution: Execution | None = None
        self._submission: Submission | None = None
        self._outputs: dict[str, Output] = {}
        self._staged: dict[str, Staging] = {}
        self._rows: list[Staging] = []
        self._engine = str(compute.engine)
        self._interrupted = threading.Event()

    def submit(self, submission: Submission, keep: Callable[[Run], None]) -> None:
        self._submission = submission
        self._engine = submission.options.engine or str(self.compute.engine)
        self._outputs = {output.name: output for output in submission.outputs}
        try:
            writes = {output.name: self._write(output) for output in submission.outputs}
            self._execution = self._start(submission, writes)
        except BaseException:
            self.close()
            raise
        for output in submission.outputs:
            keep(
                Run(
                    query_id=uuid.uuid4().hex,
                    output=output.name,
                    compute=self.compute.to_dict(),
                    submitted_at=time.time(),
                )
            )

    def poll(self, run: Run) -> RunStatus:
        if self._execution is None or run.output not in self._outputs:
            return RunStatus(state=RunState.LOST)
        outcome = self._execution.outcomes.get(run.output)
        if outcome is None:
            return RunStatus(state=RunState.RUNNING)
        if not isinstance(outcome, BaseException):
            return RunStatus(state=RunState.SUCCEEDED)
        state = RunState.CANCELLED if isinstance(outcome, QueryCancelledError) else RunState.FAILED
        return RunStatus(state=state, error=self._run_failure(outcome, _sink(self._outputs[run.output]).target))

    def where(self, run: Run | None = None) -> str:
        compute = self.compute
        polars = f"the Polars of {compute.python}" if compute.python else f"Polars {_polars_version()}"
        threads = f", {compute.threads} thread{'s' * (compute.threads > 1)}" if compute.threads else ""
        return f"worker {socket.gethostname()}, {polars}, engine {self._engine}{threads}"

    def watch(self, runs: Sequence[Run], seconds: float) -> None:
        if self._execution is not None:
            self._execution.wait(seconds)

    def interrupt(self) -> None:
        self._interrupted.set()

    def cancel(self, runs: Sequence[Run]) -> None:
        if self._execution is not None:
            self._execution.cancel()

    def result(self, run: Run) -> ResultRef:
        assert self._execution is not None
        done = self._execution.outcomes[run.output]
        assert isinstance(done, dict)
        sink = _sink(self._outputs[run.output])
        started = time.monotonic()
        staging = self._staged.pop(run.output, None)
        files = staging.commit() if staging else done["files"]
        root = sink.target
        if isinstance(sink, FileSink):
            location = local_path(sink.path) or sink.path
            root = location.rstrip("/") + "/" if sink.is_directory else location
        return ResultRef.build(
            locations=files,
            root=root,
            format=sink.kind,
            rows=done["rows"],
            bytes=done["bytes"],
            schema=done["schema"],
            query_id=run.query_id,
            timings={"run": done["seconds"], "commit": time.monotonic() - started},
            scan_options=done["scan_options"],
            conn_id=sink.aws_conn_id,
            head=done["head"],
        )

    def inputs(self, run: Run) -> list[list[str]]:
        if self._execution is None or self._submission is None or not self._submission.finds_inputs:
            return []
        return all_inputs(self._submission.query, self._execution.scanned.get(run.output, []))

    def close(self) -> None:
        if self._execution is not None:
            self._execution.close()
        for staging in (*self._staged.values(), *self._rows):
            staging.discard()
        self._staged.clear()
        self._rows.clear()

    def _start(self, submission: Submission, writes: dict[str, Any]) -> Execution:
        from airflow_provider_polars import runner

        query, options = submission.query, submission.options
        head_rows = options.head_rows or 0
        compute = self.compute
        if self._engine == "gpu" or compute.threads or compute.memory_limit_gb or compute.python:
            job = {
                "code": query.source.code(),
                "arguments": map_inputs(query.named_arguments(), _input_as_json),
                "single": submission.single,
                "writes": writes,
                "engine": self._engine,
                "head_rows": head_rows,
                "sys_path": import_paths(),
                "finds_inputs": submission.finds_inputs,
            }
            limit = int(compute.memory_limit_gb * 1e9) if compute.memory_limit_gb else None
            python = compute.python or sys.executable
            return RunnerExecution(job, python=python, threads=compute.threads, memory_limit=limit)
        try:
            for write in writes.values():
                runner.check_options(write)
            function = query.source.load()
            arguments = map_inputs((query.args, dict(query.kwargs)), self._input_as_frame)
            value = function(*arguments[0], **arguments[1])
            frames = runner.frames(value, list(writes), submission.single)
        except BaseException as error:
            if (ours := translate_exception(error, **self._words())) is None:
                raise
            raise ours from error

        scanned: dict[str, list[list[str]]] = {}

        def job_of(name: str) -> Callable[[], dict[str, Any]]:
            def job() -> dict[str, Any]:
                if submission.finds_inputs:
                    scanned[name] = runner.scanned(frames[name])
                return runner.run(frames[name], writes[name], self._engine, head_rows)

            return job

        execution = InProcessExecution({name: job_of(name) for name in writes})
        execution.scanned = scanned
        return execution

    def _write(self, output: Output) -> dict[str, Any]:
        """Return the sink as the runner takes it; a local file is staged, rows for an object store wait in one."""
        sink = _sink(output)
        write: dict[str, Any] = {
            "format": sink.kind,
            "path": sink.target,
            "directory": False,
            "options": {name: value for name, value in sink.to_dict().items() if name in sink.write_options},
            "storage_options": {**sink.storage_options, **output.storage_options},
            "scan_options": sink.scan_options(),
            "mark": f"airflow-{output.mark}",
        }
        if isinstance(sink, DeltaSink | IcebergSink):
            write["mode"] = sink.mode
        if isinstance(sink, DeltaSink):
            write["schema_mode"] = sink.schema_mode
            write["partition_by"] = list(sink.partition_by)
        if isinstance(sink, FileSink):
            write["directory"] = sink.is_directory
            write["partition_by"] = list(sink.partition_by)
            write["max_rows_per_file"] = sink.max_rows_per_file
            if (path := local_path(sink.path)) is not None:
                staging = Staging(path, directory=sink.is_directory, extension=sink.extension, mark=output.mark)
                self._staged[output.name] = staging
                write["path"] = staging.path
            else:
                place = hashlib.sha256(sink.path.encode()).hexdigest()[:8]
                rows = os.path.join(tempfile.gettempdir(), f"polars-rows-{place}")
                self._rows.append(Staging(rows, directory=False, extension="ipc", mark=output.mark))
                write["rows"] = self._rows[-1].path
        return write

    def _input_as_frame(self, given: Input) -> Any:
        from airflow_provider_polars import runner

        if given.form == "ref":
            return ResultRef(given.ref)
        frame = runner.scan(given.scan, given.storage_options)
        return call_in_background(frame.collect, self._interrupted) if given.form == "eager" else frame

    def _run_failure(self, error: BaseException, target: str) -> Exception:
        """Return the error of ours for what went wrong while a query ran."""
        from airflow_provider_polars import runner

        if isinstance(error, PolarsProviderError):
            return error
        if isinstance(error, DescribedError):
            translated = translate(error.described, target=target, **self._words())
            there = public_text(error.described["traceback"])
            translated.__cause__ = RuntimeError(f"in the process of the query:\n{there}")
        else:
            hide_secrets(error)
            translated = translate(runner.described_error(error), target=target, **self._words())
            translated.__cause__ = error
        return translated

    def _words(self) -> dict[str, Any]:
        assert self._submission is not None
        query = self._submission.query
        tables = query.kwargs if isinstance(query.source, SqlSource) else ()
        return {"query": repr(query.source), "engine": self._engine, "tables": tables}


def _sink(output: Output) -> Sink:
    assert output.sink is not None, "a worker keeps no results that nobody named a place for"
    return output.sink


def _input_as_json(given: Input) -> dict[str, Any]:
    return {
        "$input": {
            "form": given.form,
            "scan": dict(given.scan),
            "ref": dict(given.ref),
            "storage_options": dict(given.storage_options),
        }
    }


def _polars_version() -> str:
    """Return the version of the task's own Polars, which a distribution of another name may have brought."""
    if (loaded := sys.modules.get("polars")) is not None:
        return str(loaded.__version__)
    try:
        return importlib.metadata.version("polars")
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"
