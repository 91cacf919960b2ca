"""The child process that runs a query: what it is given, what it shows, and that it always ends."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pytest_mock import MockerFixture

from airflow_provider_polars.backends.execution import resident_bytes
from airflow_provider_polars.backends.local import LocalBackend
from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.exceptions import (
    ConfigurationError,
    MemoryLimitError,
    QueryFailedError,
    RefusedOptionError,
    RunnerError,
)
from airflow_provider_polars.query.sinks import CsvSink, NdjsonSink, ParquetSink
from tests.unit.backends.endless_query import SECONDS
from tests.unit.backends.local_runs import IN_CHILD, read, run_all, run_one, submission, submitted


def executable(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def surroundings() -> pl.LazyFrame:
    import os
    import sys

    return pl.LazyFrame(
        {
            "pid": [os.getpid()],
            "threads": [pl.thread_pool_size()],
            "prefix": [sys.prefix],
            "command": [open("/proc/self/cmdline").read()],
            "environment": [open("/proc/self/environ").read()],
        }
    )


def test_threads_sets_the_size_of_the_polars_thread_pool(tmp_path: Path) -> None:
    sink = ParquetSink(str(tmp_path / "a.parquet"))

    for threads in (1, 3):
        found = read(run_one(surroundings, sink, LocalCompute(threads=threads)))
        assert found["threads"].item() == threads
        assert found["pid"].item() != os.getpid()


def test_python_is_the_interpreter_that_runs_the_query(tmp_path: Path, other_python: str) -> None:
    found = read(run_one(surroundings, ParquetSink(str(tmp_path / "a.parquet")), LocalCompute(python=other_python)))

    assert found["prefix"].item() == str(Path(other_python).parent.parent)


def test_nothing_of_the_job_is_in_the_command_line_or_the_environment_of_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_LAKE", "AIRFLOW_VAR_TOKEN"):
        monkeypatch.setenv(name, "withheld-value")
    monkeypatch.setenv("PLAIN_SETTING", "handed-on")
    result = run_one(
        surroundings,
        ParquetSink(str(tmp_path / "a.parquet")),
        IN_CHILD,
        storage_options={"aws_secret_access_key": "never-shown"},
    )

    found = read(result)

    command, environment = found["command"].item(), found["environment"].item()
    assert command.split("\0")[:3] == [sys.executable, "-I", "-u"]
    assert "handed-on" in environment
    for secret in ("never-shown", "surroundings", str(tmp_path)):
        assert secret not in command
        assert secret not in environment
    assert "withheld-value" not in environment
    assert "AIRFLOW__CORE__FERNET_KEY" not in environment


def test_what_a_query_prints_in_the_child_reaches_the_output_of_the_task(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def talks() -> pl.LazyFrame:
        import sys

        print("to the output")
        print("to the errors", file=sys.stderr)
        return pl.LazyFrame({"id": [1]})

    run_one(talks, ParquetSink(str(tmp_path / "a.parquet")), IN_CHILD)

    assert capfd.readouterr() == ("to the output\n", "to the errors\n")


def test_what_a_query_printed_before_it_was_killed_is_not_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def dies() -> pl.LazyFrame:
        import os
        from signal import SIGKILL

        print("last words")
        os.kill(os.getpid(), SIGKILL)
        return pl.LazyFrame({"id": [1]})

    with pytest.raises(RunnerError, match=r"was killed by signal SIGKILL .* out of memory"):
        run_one(dies, ParquetSink(str(tmp_path / "a.parquet")), IN_CHILD)

    assert capfd.readouterr().out == "last words\n"
    assert not list(tmp_path.iterdir())


def test_a_query_that_ends_its_process_is_an_error_with_the_exit_code(tmp_path: Path) -> None:
    def leaves() -> pl.LazyFrame:
        import os

        os._exit(7)

    with pytest.raises(RunnerError, match="ended with exit code 7 without an answer"):
        run_one(leaves, ParquetSink(str(tmp_path / "a.parquet")), IN_CHILD)


def test_memory_limit_kills_a_query_that_grows_beyond_it(tmp_path: Path) -> None:
    def grows() -> pl.LazyFrame:
        held = []
        for _ in range(200):
            held.append(bytearray(b"x") * 50_000_000)
        return pl.LazyFrame({"bytes": [sum(map(len, held))]})

    with pytest.raises(
        MemoryLimitError, match=r"used \d+\.\d+ GB and was killed: memory_limit_gb=0\.8\. Raise"
    ) as caught:
        run_one(grows, ParquetSink(str(tmp_path / "a.parquet")), LocalCompute(memory_limit_gb=0.8, threads=1))

    assert caught.value.permanent
    assert not list(tmp_path.iterdir())


def test_a_query_below_its_memory_limit_runs_to_its_end(tmp_path: Path) -> None:
    result = run_one(surroundings, ParquetSink(str(tmp_path / "a.parquet")), LocalCompute(memory_limit_gb=4))

    assert result.rows == 1


def test_a_process_that_is_gone_uses_no_memory() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()

    assert resident_bytes(ended.pid) == 0
    assert resident_bytes(os.getpid()) > 10_000_000


@pytest.mark.parametrize(("python", "reason"), [("/nowhere/python", "No such file"), ("/tmp", "Permission denied")])
def test_an_interpreter_that_cannot_be_started_is_named(tmp_path: Path, python: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"LocalCompute\(python='{python}'\) cannot be started: {reason}"):
        run_one(surroundings, ParquetSink(str(tmp_path / "a.parquet")), LocalCompute(python=python))

    assert not list(tmp_path.iterdir())


def test_an_interpreter_without_polars_is_told_what_it_lacks(
    tmp_path: Path, bare_python: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunnerError, match=rf"Is Polars 1\.39\.3 or newer installed for {bare_python}\?"):
        run_one(surroundings, ParquetSink(str(tmp_path / "a.parquet")), LocalCompute(python=bare_python))

    assert "No module named 'polars'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\nexit 3\n", "ended with exit code 3 without an answer"),
        ("#!/bin/sh\nkill -SEGV $$\n", "was killed by signal SIGSEGV without an answer"),
        ("#!/bin/sh\nread job; exit 0\n", "ended with exit code 0 without an answer"),
    ],
)
def test_an_interpreter_that_dies_is_an_error_even_if_it_never_read_its_job(
    tmp_path: Path, script: str, reason: str
) -> None:
    python = executable(tmp_path / "python", script)
    big = submission(surroundings, ParquetSink(str(tmp_path / "out" / "a.parquet")), kwargs={"unused": "x" * 200_000})
    backend = LocalBackend(LocalCompute(python=python))

    (run,) = submitted(backend, big)
    backend.watch([run], SECONDS)
    status = backend.poll(run)
    backend.close()

    assert isinstance(status.error, RunnerError)
    assert reason in str(status.error)
    assert not list((tmp_path / "out").iterdir())


def test_an_older_polars_refuses_the_options_it_does_not_know_by_name(tmp_path: Path) -> None:
    older = textwrap.dedent(
        f"""\
        #!{sys.executable}
        import runpy, sys
        import polars
        def sink_csv(self, path, *, separator=",", engine="auto", mkdir=False, storage_options=None): ...
        polars.LazyFrame.sink_csv = sink_csv
        runpy.run_path(sys.argv[-1], run_name="__main__")
        """
    )
    python = executable(tmp_path / "older_python", older)
    sink = CsvSink(str(tmp_path / "out" / "a.csv"), include_bom=True)

    with pytest.raises(
        RefusedOptionError, match=r"Polars [\d.]+ has no 'include_bom' for csv files\. Remove"
    ) as caught:
        run_one(must_not_run, sink, LocalCompute(python=python))

    assert caught.value.permanent
    assert not list((tmp_path / "out").iterdir())


def must_not_run() -> pl.LazyFrame:
    raise AssertionError("the query was built although it cannot run")


def test_options_that_this_polars_does_not_know_are_refused_before_the_query_is_built(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    def sink_ndjson(self: Any, path: Any, *, engine: str = "auto") -> None: ...

    mocker.patch.object(pl.LazyFrame, "sink_ndjson", sink_ndjson)

    with pytest.raises(RefusedOptionError, match="has no 'compression_level' for ndjson files"):
        run_one(must_not_run, NdjsonSink(str(tmp_path / "a.jsonl"), compression_level=3))


def test_an_exception_inside_polars_of_a_child_is_no_exception_of_the_child(tmp_path: Path) -> None:
    """A query may end with what is no ``Exception``; the other outputs are told all the same."""

    def interrupts() -> dict[str, pl.LazyFrame]:
        def leave(frame: pl.DataFrame) -> pl.DataFrame:
            raise SystemExit(5)

        frame = pl.LazyFrame({"id": [1]})
        return {"bad": frame.map_batches(leave), "good": frame}

    with pytest.raises(QueryFailedError, match=r"1 of 2 outputs failed\. bad: .*Without error: good"):
        run_all(interrupts, {name: ParquetSink(str(tmp_path / name)) for name in ("bad", "good")}, IN_CHILD)
