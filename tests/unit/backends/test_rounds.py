"""``Rounds``: one question at a time for all who await something, and outages that all ride out together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, TypeVar

import pytest

from airflow_provider_polars.backends import rounds
from airflow_provider_polars.backends.rounds import Rounds
from airflow_provider_polars.exceptions import ClusterUnreachableError, ConfigurationError, CredentialsError

SOON = 20.0
MINUTE = 60.0

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(rounds, "_FIRST_PAUSE_SECONDS", 0.001)


class Service:
    """Raises what a script says, one error for each round, and then answers with the values there are."""

    def __init__(self, *script: Exception) -> None:
        self._script = list(script)
        self.values: dict[str, int] = {}
        self.asked: list[list[str]] = []
        self.looked = threading.Semaphore(0)

    def ask(self, keys: Collection[str]) -> Mapping[str, int]:
        """Answer a round."""
        self.asked.append(sorted(keys))
        self.looked.release()
        if self._script:
            raise self._script.pop(0)
        return {key: self.values[key] for key in keys if key in self.values}

    async def wait(self, rounds_begun: int = 1) -> None:
        """Return after so many rounds more have begun."""
        for _ in range(rounds_begun):
            assert await asyncio.to_thread(self.looked.acquire, timeout=SOON)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, SOON))


async def begun(rounds_of: Rounds[str, int], *keys: str) -> list[asyncio.Task[int]]:
    """Await the end of things: a value above 9."""
    tasks = [asyncio.create_task(rounds_of.until(key, lambda value: value > 9)) for key in keys]
    await asyncio.sleep(0)
    return tasks


def test_all_keys_are_asked_about_in_one_go_and_each_is_told_when_it_is_done() -> None:
    service = Service()
    service.values = {"a": 1, "b": 1, "c": 10}

    async def work() -> None:
        a, b, c = await begun(rounds_of := Rounds(service.ask, grace=MINUTE), "a", "b", "c")
        assert await c == 10
        service.values["a"] = 11
        assert await a == 11
        assert not b.done()
        service.values["b"] = 12
        assert await b == 12
        await rounds_of.close()

    run(work())
    assert service.asked[0] == ["a", "b", "c"]
    assert service.asked[-1] == ["b"]


def test_who_awaits_the_same_is_told_alike_by_own_measure() -> None:
    service = Service()
    service.values = {"a": 1}

    async def work() -> None:
        rounds_of: Rounds[str, int] = Rounds(service.ask, grace=MINUTE)
        one = asyncio.create_task(rounds_of.until("a", lambda value: value > 0))
        (ten,) = await begun(rounds_of, "a")
        assert await one == 1
        assert not ten.done()
        service.values["a"] = 10
        assert await ten == 10

    run(work())


def test_nothing_is_asked_when_nobody_awaits_and_again_when_somebody_does() -> None:
    service = Service()
    service.values = {"a": 10, "b": 10}

    async def work() -> None:
        rounds_of: Rounds[str, int] = Rounds(service.ask, grace=MINUTE)
        await asyncio.gather(*await begun(rounds_of, "a"))
        await asyncio.sleep(0.05)
        assert service.asked == [["a"]]
        await asyncio.gather(*await begun(rounds_of, "b"))

    run(work())
    assert service.asked == [["a"], ["b"]]


def test_who_no_longer_awaits_is_not_asked_for() -> None:
    service = Service()

    async def work() -> None:
        rounds_of: Rounds[str, int] = Rounds(service.ask, grace=MINUTE)
        a, b = await begun(rounds_of, "a", "b")
        await service.wait()
        a.cancel()
        await service.wait(2)
        assert service.asked[-1] == ["b"]
        b.cancel()
        await asyncio.gather(a, b, return_exceptions=True)
        await rounds_of.close()
        assert not any(task.get_name() == "polars-rounds" for task in asyncio.all_tasks())

    run(work())


def test_an_outage_is_ridden_out_by_all_at_once() -> None:
    service = Service(*[ClusterUnreachableError("away")] * 3)
    service.values = {"a": 10, "b": 11}

    async def work() -> list[int]:
        return await asyncio.gather(*await begun(Rounds(service.ask, grace=MINUTE), "a", "b"))

    assert run(work()) == [10, 11]
    assert service.asked == [["a", "b"]] * 4


@pytest.mark.parametrize("error", [ConfigurationError("wrong"), ZeroDivisionError("a bug")])
def test_what_does_not_pass_is_told_to_all_at_once(error: Exception) -> None:
    service = Service(error)

    async def work() -> list[Any]:
        tasks = await begun(Rounds(service.ask, grace=MINUTE), "a", "b")
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert run(work()) == [error, error]
    assert len(service.asked) == 1


def test_an_outage_longer_than_the_grace_is_told_to_all_and_a_new_one_may_try_again() -> None:
    error = ClusterUnreachableError("away")
    service = Service(error)
    service.values = {"c": 10}

    async def work() -> tuple[list[Any], int]:
        rounds_of: Rounds[str, int] = Rounds(service.ask, grace=0.0)
        tasks = await begun(rounds_of, "a", "b")
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        (c,) = await begun(rounds_of, "c")
        return outcomes, await c

    outcomes, value = run(work())
    assert outcomes == [error, error]
    assert value == 10


def test_an_error_that_may_pass_here_is_ridden_out() -> None:
    service = Service(CredentialsError("refused"))
    service.values = {"a": 10}

    async def work() -> int:
        (a,) = await begun(Rounds(service.ask, grace=MINUTE, passing=(CredentialsError,)), "a")
        return await a

    assert run(work()) == 10


def test_a_service_that_asks_to_be_left_alone_is(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(ClusterUnreachableError("too many", retry_after=7.0), ClusterUnreachableError("away"))
    service.values = {"a": 10}
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async def work() -> int:
        (a,) = await begun(Rounds(service.ask, grace=MINUTE), "a")
        monkeypatch.setattr(rounds.asyncio, "sleep", noted)
        return await a

    assert run(work()) == 10
    assert slept[0] == 7.0
    assert slept[1] < 0.1
