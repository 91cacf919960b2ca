"""Queries that tell when they are running and end only when they are told to, or never."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import polars as pl

FOREVER = 100_000


def waiting(folder: str, name: str) -> pl.LazyFrame:
    """Return a query of one row whose Python part waits until the file ``<name>.go`` exists."""
    go = Path(folder, f"{name}.go")

    def wait(frame: pl.DataFrame) -> pl.DataFrame:
        _tell(folder, name)
        while not go.exists():
            time.sleep(0.02)
        return frame

    return pl.LazyFrame({"name": [name]}).map_batches(wait)


def native(folder: str, name: str) -> pl.LazyFrame:
    """Return a query that stays in the native code of Polars for hours."""

    def tell(frame: pl.DataFrame) -> pl.DataFrame:
        _tell(folder, name)
        return frame

    numbers = pl.LazyFrame({"number": range(FOREVER)})
    pairs = numbers.map_batches(tell).join(numbers, how="cross").join(numbers, how="cross", suffix="_third")
    return pairs.select((pl.col("number") * pl.col("number_right") % (pl.col("number_third") + 1)).sum())


def _tell(folder: str, name: str) -> None:
    """Write the ids of the task's process and of the one that runs the query."""
    in_task = "airflow" in sys.modules
    ids = {"task": os.getpid() if in_task else os.getppid(), "query": os.getpid()}
    draft = Path(folder, f".{name}.json")
    draft.write_text(json.dumps(ids))
    draft.rename(draft.with_name(f"{name}.json"))
