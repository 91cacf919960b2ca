"""A query that runs until it is told to end, for DAGs whose tasks are killed and cleared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl


def waiting(folder: str, name: str) -> pl.LazyFrame:
    """Return a query of one row whose part on the instance waits until the file ``<name>.go`` or ``all.go`` exists.

    The id of the task's process is in ``<name>.task``, and each start of the query adds a letter to ``<name>.starts``.
    """

    def wait(frame: Any) -> Any:
        import time

        with (place / f"{name}.starts").open("a") as file:
            file.write("x")
        while not any((place / f"{ending}.go").exists() for ending in (name, "all")):
            time.sleep(0.02)
        return frame

    place = Path(folder)
    draft = place / f".{name}.task"
    draft.write_text(str(os.getpid()))
    draft.rename(place / f"{name}.task")
    return pl.LazyFrame({"name": [name]}).map_batches(wait)
