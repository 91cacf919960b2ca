"""Queries that are held, and others behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.wire.gates import Gate
    from tests.wire.watch.watching import Held, Queued


@pytest.fixture
def held(context: Any, gate: Gate) -> Held:
    """Return ``held(name)``, which submits a query that the gate holds and returns its id."""
    from tests.wire.fault_calls import submit

    def hold(name: str = "held", **options: Any) -> str:
        query_id = str(submit(context, gate.frame(name), **options)._query_id)
        gate.wait_until_started(name)
        return query_id

    return hold


@pytest.fixture
def queued(held: Held, context: Any) -> Queued:
    """Return ``queued(number)``, which submits queries behind those that hold both workers."""
    from tests.wire.fault_calls import submit

    def queue(number: int) -> list[str]:
        held("first"), held("second")
        return [str(submit(context)._query_id) for _ in range(number)]

    return queue
