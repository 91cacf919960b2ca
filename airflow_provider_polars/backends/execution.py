"""A query that runs on this worker: in threads of the task's process, or in a child process."""

from __future__ import annotations

import abc
import contextlib
import json
import os
import selectors
import signal
import site
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_polars.exceptions import (
    ConfigurationError,
    MemoryLimitError,
    QueryCancelledError,
    RefusedOptionError,
    RunnerError,
)

T = TypeVar("T")
Outcome = dict[str, Any] | BaseException
RUNNER = Path(__file__).parent.parent / "runner"
MEMORY_CHECK_SECONDS = 0.02
SIGNAL_CHECK_SECONDS = 0.2
_WITHHELD = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_")


class Execution(abc.ABC):
    """Outputs being computed.

    :ivar outcomes: of those that have ended: what the runner says, or an exception.
    :ivar scanned: what each of them scans, if that was asked for.
    """

    def __init__(self, outputs: list[str]) -> None:
        self.outputs = outputs
        self.outcomes: dict[str, Outcome] = {}
        self.scanned: dict[str, list[list[str]]] = {}

    @property
    def ended(self) -> bool:
        """Whether every output has ended."""
        return len(self.outcomes) == len(self.outputs)

    @abc.abstractmethod
    def wait(self, seconds: float) -> None:
        """Return when all outputs have ended, or after ``seconds``. Signals interrupt it."""

    @abc.abstractmethod
    def cancel(self) -> None:
        """End what can be ended; what cannot ends with this process. Safe in a signal handler."""

    def close(self) -> None:  # noqa: B027 (threads hold nothing)
        """Release descriptors, once nothing waits any more."""

    def _end_rest(self, error: BaseException) -> None:
        for output in self.outputs:
            self.outcomes.setdefault(output, error)


class InProcessExecution(Execution):
    """One daemon thread per output in this process.

    The call into Polars runs beside the main thread, which stays in Python and so reacts to signals.
    Polars cannot be stopped in the middle of a query: a cancelled one goes on until the process ends.
    """

    def __init__(self, jobs: Mapping[str, Callable[[], dict[str, Any]]]) -> None:
        super().__init__(list(jobs))
        self._changed = threading.Condition()
        for output, job in jobs.items():
            threading.Thread(target=self._run, args=(output, job), daemon=True, name=f"polars-{output}").start()

    def _run(self, output: str, job: Callable[[], dict[str, Any]]) -> None:
        try:
            outcome: Outcome = job()
        except BaseException as error:  # a panic of Polars is no Exception
            outcome = error
        with self._changed:
            self.outcomes.setdefault(output, outcome)
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.ended, timeout=seconds)

    def cancel(self) -> None:
        with self._changed:
            self._end_rest(QueryCancelledError("The query was cancelled; it ends with the process of its task."))
            self._changed.notify_all()


def call_in_background(function: Callable[[], T], interrupted: threading.Event) -> T:
    """Return what ``function`` returns, while this thread stays in Python and reacts to signals.

    :raises QueryCancelledError: once ``interrupted`` is set.
    """
    execution = InProcessExecution({"": lambda: {"value": function()}})
    while not execution.ended:
        execution.wait(SIGNAL_CHECK_SECONDS)
        if interrupted.is_set():
            execution.cancel()
    outcome = execution.outcomes[""]
    if isinstance(outcome, BaseException):
        raise outcome
    value: T = outcome["value"]
    return value


class RunnerExecution(Execution):
    """All outputs in one child process, which is killed with this one in every case.

    :param job: for the runner, without ``parent`` and ``answers``; it goes through a pipe, so that nothing of it is
        seen in a process list.
    :param python: absolute path of the interpreter.
    :param threads: size of its Polars thread pool; None is one per core.
    :param memory_limit: bytes of resident memory above which it is killed; None is no limit.
    :raises ConfigurationError: if the interpreter cannot be started.
    :raises RefusedOptionError: for a memory limit where memory cannot be watched.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        *,
        python: str,
        threads: int | None = None,
        memory_limit: int | None = None,
    ) -> None:
        super().__init__(list(job["writes"]))
        if memory_limit is not None and resident_bytes(os.getpid()) == 0:
            raise RefusedOptionError("memory_limit_gb= needs /proc, which this system does not have. Leave it out.")
        self.python, self.memory_limit = python, memory_limit
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_WITHHELD)}
        if threads is not None:
            environment["POLARS_MAX_THREADS"] = str(threads)
        answers, answers_out = os.pipe()
        try:
            self._process = subprocess.Popen(
                [python, "-I", "-u", str(RUNNER)],
                stdin=subprocess.PIPE,
                pass_fds=(answers_out,),
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            os.close(answers)
            raise ConfigurationError(
                f"LocalCompute(python={python!r}) cannot be started: {error.strerror}. Give the absolute path of "
                "an interpreter that exists on every worker and has Polars installed."
            ) from error
        finally:
            os.close(answers_out)
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._unread = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._send({**job, "parent": os.getpid(), "answers": answers_out})

    @property
    def pid(self) -> int:
        """Process id of the runner."""
        return self._process.pid

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.ended and (left := end - time.monotonic()) > 0:
            step = min(left, MEMORY_CHECK_SECONDS if self.memory_limit else SIGNAL_CHECK_SECONDS)
            if self._selector.select(step):
                self._read()
            if self.memory_limit and not self.ended and (used := resident_bytes(self.pid)) > self.memory_limit:
                self._kill()
                self._end_rest(
                    MemoryLimitError(
                        f"The query used {used / 1e9:.2f} GB and was killed: memory_limit_gb="
                        f"{self.memory_limit / 1e9:g}. Raise the limit, or let the query hold less at once "
                        '(engine="streaming", narrower columns, a filter).'
                    )
                )

    def cancel(self) -> None:
        self._kill()
        self._end_rest(QueryCancelledError("The query was cancelled and its process was killed."))

    def _send(self, job: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._end_of_answers()

    def _read(self) -> None:
        chunk = self._answers.read(65536)
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if answer["key"] is None:
                self._end_rest(DescribedError(answer["error"]))
            elif "scanned" in answer:
                self.scanned[answer["key"]] = answer["scanned"]
            else:
                self.outcomes[answer["key"]] = answer["done"] if "done" in answer else DescribedError(answer["error"])
        if not chunk:
            self._end_of_answers()

    def _end_of_answers(self) -> None:
        self._reap()
        code = self._process.returncode
        reason = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = (
            "Was the machine out of memory?"
            if code == -signal.SIGKILL
            else f"Its output stands in the log above. Is Polars 1.39.3 or newer installed for {self.python}?"
        )
        self._end_rest(RunnerError(f"The process of the query {reason} without an answer. {hint}"))

    def _reap(self) -> None:
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        if not self.ended:
            self._kill()
        self._reap()
        self._selector.close()
        self._answers.close()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


class DescribedError(Exception):
    """An exception of the child process, as the runner described it."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        super().__init__(described["message"])
        self.described = described


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def import_paths() -> list[str]:
    """Return the folders on ``sys.path`` that are not part of this interpreter's installation."""
    inside = (*site.getsitepackages(), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return [path for path in sys.path if path and not path.startswith(inside) and os.path.isdir(path)]
