"""``polars-dev-cluster up`` as a process of a test."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

START_SECONDS = 60.0
STOP_SECONDS = 15.0


@contextlib.contextmanager
def dev_cluster_process(*options: str, environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Run ``polars-dev-cluster up --json`` until the block or this process ends; it gets what the command prints.

    :raises RuntimeError: if it does not start or does not end as it should; with what it wrote.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "airflow_provider_polars.dev_cluster",
                "up",
                "--json",
                "--parent",
                str(os.getpid()),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=dict(environment),
        )
        try:
            yield json.loads(_first_line(process) or _raise(process, log, "did not start"))
        finally:
            process.terminate()
            try:
                code = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            assert process.stdout is not None
            process.stdout.close()
        if code != 0:
            _raise(process, log, "did not end cleanly")


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(START_SECONDS) else ""


def _raise(process: subprocess.Popen[str], log: Any, what: str) -> str:
    log.seek(0)
    raise RuntimeError(f"the development cluster {what} (exit code {process.poll()}):\n{log.read()}")
