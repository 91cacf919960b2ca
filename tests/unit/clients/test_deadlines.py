"""Calls without an end of their own get one."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

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
        release.wait(30)
        ended.set()

    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no end within 0\.05 seconds"):
        within(0.05, wait)
    assert time.monotonic() - begin < 5
    assert not ended.is_set()
    release.set()
    assert ended.wait(30)


def test_the_context_of_the_caller_is_seen() -> None:
    token = NAME.set("of the caller")
    try:
        assert within(30, NAME.get) == "of the caller"
    finally:
        NAME.reset(token)
