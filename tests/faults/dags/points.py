"""Holds the process of a task at a point of the life cycle of its query, so that a test can end it there.

The points are ``before_submit``, ``between`` (submitted, not stored), ``after_store``, ``after_result`` and
``before_report`` (done with the query, which Airflow does not know yet). The process tells its id in ``<point>.held``,
in the first try alone, and waits until it is killed or ``<point>.go`` exists. Each try tells in ``<try>.begun`` that
its query is submitted or adopted.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context

from airflow_provider_polars.lifecycle import Lifecycle
from airflow_provider_polars.operators.stop_compute import PolarsStopComputeOperator


def tell(file: Path, what: Any) -> None:
    """Write JSON that others find whole or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(json.dumps(what))
    draft.rename(file)


def hold(lifecycle: Any, point: str) -> None:
    """Wait at a point if the run asks for it."""
    params = get_current_context()["params"]
    place = folder()
    held = place / f"{point}.held"
    if params["hold"] != point or held.exists():
        return
    tell(held, {"task": os.getpid(), "supervisor": os.getppid()})
    while not (place / f"{point}.go").exists() and not lifecycle._killed:
        time.sleep(0.01)


def folder() -> Path:
    """Return where the task tells of itself: a mapped one has a folder of its own."""
    context = get_current_context()
    index = context["ti"].map_index
    return Path(context["params"]["folder"], *([str(index)] if index is not None and index >= 0 else []))


def install() -> None:
    """Wrap the life cycle, and hold stops of instances until ``stop.go`` exists."""
    begin, keep, check, complete = Lifecycle._begin, Lifecycle._keep, Lifecycle._check_ours, Lifecycle._completed
    stop = PolarsStopComputeOperator.perform

    def held_begin(self: Any, submission: Any) -> Any:
        if patience := get_current_context()["params"]["patience"]:
            self.backend.unreachable_seconds = patience
        hold(self, "before_submit")
        runs = begin(self, submission)
        context = get_current_context()
        ids = {"task": os.getpid(), "supervisor": os.getppid(), "queries": [run.query_id for run in runs]}
        tell(folder() / f"{context['ti'].try_number}.begun", ids)
        return runs

    def held_keep(self: Any, run: Any) -> None:
        hold(self, "between")
        keep(self, run)
        hold(self, "after_store")

    def held_check(self: Any, results: Any) -> None:
        check(self, results)
        hold(self, "after_result")

    def held_completed(self: Any, *arguments: Any) -> Any:
        results = complete(self, *arguments)
        if results is not None:
            hold(self, "before_report")
        return results

    def held_stop(self: Any, context: Any) -> Any:
        while not (Path(context["params"]["folder"]) / "stop.go").exists():
            time.sleep(0.05)
        return stop(self, context)

    Lifecycle._begin, Lifecycle._keep = held_begin, held_keep  # type: ignore[method-assign]
    Lifecycle._check_ours, Lifecycle._completed = held_check, held_completed  # type: ignore[method-assign,assignment]
    PolarsStopComputeOperator.perform = held_stop  # type: ignore[method-assign]


install()
