"""Calls without an end of their own get one."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

from airflow_provider_polars.clients import deadlines
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.compute_plane import ComputePlane
from airflow_provider_polars.clients.deadlines import within

NAME = contextvars.ContextVar("NAME", default="")


def test_what_is_done_in_time_is_returned() -> None:
    assert within(30, lambda: 42) == 42


def test_what_is_raised_in_time_is_raised() -> None:
    def fail() -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        within(30, fail)


def test_what_takes_longer_is_left_to_itself() -> None:
    release, ended = threading.Event(), threading.Event()

    def wait() -> None:
        release.wait(60)
        ended.set()

    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no end within 0\.05 seconds"):
        within(0.05, wait)
    assert time.monotonic() - begin < 20
    assert not ended.is_set()
    release.set()
    assert ended.wait(30)


def test_the_context_of_the_caller_is_seen() -> None:
    token = NAME.set("of the caller")
    try:
        assert within(30, NAME.get) == "of the caller"
    finally:
        NAME.reset(token)


def test_a_channel_that_cannot_be_closed_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gRPC leaves one when a signal handler raises in the middle of a call that is being made."""
    monkeypatch.setattr(deadlines, "HANG_UP_SECONDS", 0.05)
    closing, closed = threading.Event(), threading.Event()

    class Stuck:
        def close(self) -> None:
            closing.set()
            closed.wait()

    deadlines.hang_up(Stuck())

    assert closing.is_set()
    closed.set()


class TimeLimit(BaseException):
    """What Airflow's time limit raises, wherever the task is."""


def test_a_time_limit_that_strikes_while_a_call_is_made_does_not_keep_its_task_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def strike(state: object) -> None:
        raise TimeLimit

    monkeypatch.setattr(deadlines, "HANG_UP_SECONDS", 0.2)
    plane = ComputePlane(ClusterAccess(uri="http://127.0.0.1:9"), client_version="0.12.0", polars_version="2.0.0")
    with monkeypatch.context() as struck:
        struck.setattr("grpc._channel._run_channel_spin_thread", strike)
        with pytest.raises(TimeLimit):
            plane.ask_versions()

    within(30, plane.close)
