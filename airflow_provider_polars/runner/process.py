"""One job in a process of its own.

It reads the job, a line of JSON, from standard input, runs it, writes one line of JSON per output to the descriptor
that the job names, and dies with the process that started it. A job holds code and paths, never a plan and never a
pickle.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

import polars as pl

from .building import described_error, frames, load
from .reading import scan
from .scanning import scanned
from .writing import check_options, run


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
    if job.get("finds_inputs"):
        _answer(answers, {"key": key, "scanned": scanned(frame)})
    try:
        done = run(frame, job["writes"][key], job["engine"], job["head_rows"])
        _answer(answers, {"key": key, "done": done})
    except BaseException as error:
        _answer(answers, {"key": key, "error": described_error(error)})


def _answer(answers: Any, message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")


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
