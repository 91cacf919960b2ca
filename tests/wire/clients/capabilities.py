"""What a client may be able to do: a name for each capability, and what tries it.

For any interpreter with polars_cloud 0.6.3 or newer; standard library and client only.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

SECONDS = 30.0
YES, NO, FAILS = "yes", "no", "fails"
T = TypeVar("T")


class AbsentError(Exception):
    """The client has no such thing."""


class Capabilities:
    """Capabilities by name, in the order in which they are tried: later ones may use what earlier ones have made."""

    def __init__(self) -> None:
        self._checks: dict[str, Callable[[Any], None]] = {}

    def __call__(self, name: str) -> Callable[[Callable[[Any], None]], None]:
        """Decorate a function that tries a capability: it raises :class:`AbsentError`, or why it fails."""

        def add(check: Callable[[Any], None]) -> None:
            self._checks[name] = check

        return add

    def outcomes(self, site: Any) -> dict[str, str]:
        """Try all; return ``yes``, ``no`` (the client does not have it) or ``fails: `` with the reason, by name."""
        return {name: _outcome(check, site) for name, check in self._checks.items()}


def _outcome(check: Callable[[Any], None], site: Any) -> str:
    try:
        check(site)
    except AbsentError:
        return NO
    except BaseException as error:  # panics of Polars are no exceptions
        return f"{FAILS}: {type(error).__name__}: {error}"
    return YES


def need(there: object) -> None:
    """Say that the client does not have it unless it is ``there``."""
    if not there:
        raise AbsentError


def wait_for(look: Callable[[], T | None], what: str) -> T:
    """Return the first value that is true.

    :raises TimeoutError: if there is none in time.
    """
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise TimeoutError(f"not within {SECONDS:g} s: {what}")


def get(url: str, token: str = "") -> Any:
    """Return what an address answers, which is JSON."""
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"} if token else {})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=SECONDS) as answer:
        return json.load(answer)


def held(remote: Callable[[Any], Any], folder: Path) -> Any:
    """Submit a query that runs until it is cancelled; return it when it has begun.

    :param remote: makes what has the method ``sink_parquet`` of a frame.
    """
    import polars as pl

    begun = str(folder / f"begun-{uuid.uuid4()}")

    def hold(column: Any) -> Any:
        open(begun, "w").close()
        time.sleep(10 * SECONDS)
        return column

    frame = pl.LazyFrame({"a": [1]}).select(pl.col("a").map_batches(hold, return_dtype=pl.Int64))
    query = remote(frame).sink_parquet(str(folder / "held.parquet"))
    wait_for(lambda: os.path.exists(begun), "the query begins")
    return query


def check_is_cancelled(query: Any) -> None:
    """Cancel a query and wait until that is its status."""
    query.cancel()
    status = wait_for(lambda: query.get_status() if query.get_status().is_done() else None, "the query ends")
    assert status.name == "CANCELED", status.name


def check_raises(call: Callable[[], Any], error: type[BaseException], words: str = "") -> None:
    """Check that a call raises an exception of just that class, with those words."""
    try:
        call()
    except BaseException as raised:
        if type(raised) is not error or words not in str(raised):
            raise
        return
    raise AssertionError(f"no {error.__name__} was raised")
