"""A query that never ends, and ways to see its processes end."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.harness.waiting import wait_for

SECONDS = 60.0


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    wait_for(lambda: not is_alive(pid) or None, SECONDS, lambda: f"end of process {pid}", interval=0.02)


def wait_for_pids(file: Path, count: int = 1) -> list[int]:
    """Wait until a query has written this many process ids to ``file``, one a line."""

    def look() -> list[int] | None:
        lines = file.read_text().splitlines() if file.exists() else []
        return [int(line) for line in lines] if len(lines) >= count else None

    return wait_for(look, SECONDS, lambda: f"{count} process ids in {file}", interval=0.02)


def endless(pids: str) -> pl.LazyFrame:
    import os
    import subprocess
    import threading

    with open(pids, "a") as file:
        child = subprocess.Popen(["sleep", "600"])
        file.write(f"{os.getpid()}\n{child.pid}\n")

    def wait(frame: pl.DataFrame) -> pl.DataFrame:
        threading.Event().wait(600)
        return frame

    return pl.LazyFrame({"id": [1]}).map_batches(wait)
