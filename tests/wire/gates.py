"""Queries that run until the test lets them end."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from tests.harness.waiting import wait_for

START_SECONDS = 60.0


class Gate:
    """Holds queries on their workers until it is opened.

    :param folder: of files that say what happened; tests and workers see it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def frame(self, name: str, *, holds: bool = True) -> pl.LazyFrame:
        """Return a query with the one value ``name``, which notes each start and then waits, if it is to."""
        starts, opened = self._starts(name), self._folder / "opened"

        def wait(column: pl.Series) -> pl.Series:
            with starts.open("a") as file:
                file.write("x")
            while holds and not opened.exists():
                time.sleep(0.01)
            return column

        return pl.LazyFrame({"name": [name]}).select(pl.col("name").map_batches(wait, return_dtype=pl.String))

    def starts(self, name: str) -> int:
        """Return how often a query has started."""
        file = self._starts(name)
        return file.stat().st_size if file.exists() else 0

    def wait_until_started(self, name: str, times: int = 1) -> None:
        """Return when a query runs, for the first time or a later one."""
        wait_for(
            lambda: self.starts(name) >= times or None,
            START_SECONDS,
            lambda: f"{name} started {self.starts(name)} times",
            interval=0.01,
        )

    def open(self) -> None:
        """Let all queries end."""
        (self._folder / "opened").touch()

    def _starts(self, name: str) -> Path:
        return self._folder / f"{name}.starts"
