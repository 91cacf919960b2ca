"""How far queries have come, where the observatory hangs: it takes few threads, and is then left alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.backends.query_watch import ASKED_AT_ONCE, QueryWatch
from airflow_provider_polars.backends.watch_connections import Connection

MANY = 40
RUN = Run(query_id="q1", output="return_value", compute={}, submitted_at=0.0)


def test_an_observatory_that_hangs_is_asked_a_few_times_for_all() -> None:
    asked: list[str] = []
    few, answers = threading.Event(), threading.Event()

    def ask_details(run: Run) -> Callable[[], Any]:
        asked.append(run.query_id)
        if len(asked) == ASKED_AT_ONCE:
            few.set()
        answers.wait(10)
        return lambda: None

    async def ask() -> list[str]:
        backend: Any = SimpleNamespace(ask_details=ask_details)
        plane: Any = None
        watch = QueryWatch(lambda: backend)
        watch._connections.last = Connection(backend, plane)
        telling = [asyncio.ensure_future(watch.progress(RUN)) for _ in range(MANY)]
        await asyncio.to_thread(few.wait, 10)
        answers.set()
        return await asyncio.gather(*telling)

    assert asyncio.run(ask()) == [""] * MANY
    assert len(asked) == ASKED_AT_ONCE
