"""Looks at clusters that hang keep no thread from others."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from airflow_provider_polars import ClusterCompute
from airflow_provider_polars.triggers import cluster
from airflow_provider_polars.triggers.cluster import PolarsClusterTrigger

MANY = 40
SOON = 10.0
"""Seconds: longer than anything takes here."""


def test_many_that_look_at_a_cluster_which_hangs_leave_the_threads_of_all_others_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, answers = threading.Semaphore(0), threading.Event()

    def hang(*_: Any) -> None:
        looks.release()
        answers.wait(SOON)

    async def event_of(trigger: PolarsClusterTrigger) -> str:
        (event,) = [event async for event in trigger.run()]
        return str(event.payload["status"])

    async def run() -> list[str]:
        compute = ClusterCompute(uri="http://scheduler.invalid").to_dict()
        triggers = [PolarsClusterTrigger(compute=compute, deadline=time.time() + SOON) for _ in range(MANY)]
        waiting = [asyncio.ensure_future(event_of(trigger)) for trigger in triggers]
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.to_thread(looks.acquire), SOON)
        answers.set()
        return await asyncio.gather(*waiting)

    monkeypatch.setattr(cluster, "why_not", hang)

    assert asyncio.run(run()) == ["ready"] * MANY
