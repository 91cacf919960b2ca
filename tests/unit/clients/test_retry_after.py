"""A service that asks to be left alone is, and one that is away is asked less and less often."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace

import pytest

from airflow_provider_polars.clients import control_plane, proxy_plane
from airflow_provider_polars.clients.control_plane import MOST_RETRY_AFTER_SECONDS, ControlPlane
from airflow_provider_polars.clients.proxy_plane import ProxyPlane
from airflow_provider_polars.clients.workspaces import Workspace
from airflow_provider_polars.exceptions import ClusterUnreachableError, ControlPlaneUnavailableError
from tests.harness.identity import answer
from tests.unit.clients.api_stand_in import ApiStandIn, Reply
from tests.unit.clients.calls import PATH

QUERY = "workspace/w/query/q"


class Clock:
    """The time, as a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of both clients."""
    clock = Clock()
    for module in (control_plane, proxy_plane):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now, time=time.time))
    return clock


def busy(seconds: str, status: int = 429) -> Reply:
    """Answer that the caller is to come back later."""
    return answer(status, {"message": "slow down"}, **{"retry-after": seconds})


@pytest.mark.parametrize("status", [429, 503])
def test_nothing_is_sent_until_the_service_wants_to_be_asked_again(
    api: ApiStandIn, plane: ControlPlane, clock: Clock, status: int
) -> None:
    api.reply(PATH, busy("30", status))
    with pytest.raises(ControlPlaneUnavailableError, match=str(status)) as caught:
        plane.get(PATH)
    assert caught.value.retry_after == 30

    clock.now += 29
    with pytest.raises(ControlPlaneUnavailableError, match="has asked to be left alone for 1 seconds more") as caught:
        plane.post(PATH, {"name": "etl"})
    assert caught.value.retry_after == pytest.approx(1)
    assert len(api.calls) == 1

    clock.now += 2
    api.reply(PATH, answer(200, {"id": "i"}))
    assert plane.get(PATH) == {"id": "i"}


@pytest.mark.parametrize("text", ["Wed, 21 Oct 2026 07:28:00 GMT", "-5", "soon", ""])
def test_a_time_that_is_no_number_of_seconds_is_none(
    api: ApiStandIn, plane: ControlPlane, clock: Clock, text: str
) -> None:
    api.reply(PATH, busy(text))
    with pytest.raises(ControlPlaneUnavailableError) as caught:
        plane.get(PATH)
    assert caught.value.retry_after is None


def test_nobody_is_left_alone_for_a_day(api: ApiStandIn, plane: ControlPlane, clock: Clock) -> None:
    api.reply(PATH, busy("86400"))
    with pytest.raises(ControlPlaneUnavailableError) as caught:
        plane.get(PATH)
    assert caught.value.retry_after == MOST_RETRY_AFTER_SECONDS


def test_a_query_of_a_service_that_is_away_is_asked_about_after_pauses_that_grow(
    api: ApiStandIn, plane: ControlPlane, clock: Clock
) -> None:
    api.reply(QUERY, answer(503, {"message": "down"}))
    proxy = ProxyPlane(plane, Workspace("w", "o"))
    sent_at: list[float] = []
    for _ in range(6000):
        before = len(api.calls)
        with pytest.raises(ClusterUnreachableError, match="down"):
            proxy.status("q")
        if len(api.calls) > before:
            sent_at.append(clock.now)
        clock.now += 0.02

    pauses = [after - before for before, after in itertools.pairwise(sent_at)]
    assert pauses[0] < 0.3
    assert 7 < max(pauses) < 15.1
    assert len(sent_at) < 25

    api.reply(QUERY, answer(200, {"id": "q", "status_code": "Success"}))
    clock.now += 15
    assert proxy.status("q") == 3
