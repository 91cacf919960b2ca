"""Waiting for requests that are not answered yet."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_polars.dev_cluster.control_plane import in_flight
from airflow_provider_polars.dev_cluster.control_plane.in_flight import InFlight


def test_a_wait_ends_when_the_last_request_is_answered_well_or_badly() -> None:
    async def run() -> list[str]:
        requests, said = InFlight(), []
        go_on = [asyncio.Event(), asyncio.Event()]

        async def app(scope: int, receive: Any, send: Any) -> None:
            await go_on[scope].wait()
            said.append(f"answered {scope}")
            if scope:
                raise ValueError

        await requests.ended()
        calls = [asyncio.create_task(requests.counted(app)(scope, None, None)) for scope in range(2)]
        await asyncio.sleep(0)
        waiting = asyncio.create_task(requests.ended())
        waiting.add_done_callback(lambda _: said.append("ended"))
        for event in go_on:
            event.set()
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await waiting
        await asyncio.gather(*calls, return_exceptions=True)
        return said

    assert asyncio.run(run()) == ["answered 0", "answered 1", "ended"]


def test_a_wait_for_a_request_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "LONGEST_WAIT", 0.01)

    async def run() -> bool:
        requests = InFlight()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.Event().wait()

        call = asyncio.create_task(requests.counted(app)(None, None, None))
        await asyncio.sleep(0)
        await requests.ended()
        return call.cancel()

    assert asyncio.run(run())
