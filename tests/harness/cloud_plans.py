"""Plans as the ``polars_cloud`` client makes them, with each Polars that is supported."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def plan_of(frame: pl.LazyFrame) -> bytes:
    """Return the plan of a query, which has a sink at its root."""
    from polars._utils.cloud import prepare_cloud_plan

    local: dict[str, Any] = {"allow_local_scans": True}
    known = inspect.signature(prepare_cloud_plan).parameters
    plan: Any = prepare_cloud_plan(frame, **{name: value for name, value in local.items() if name in known})
    return bytes(plan[0] if isinstance(plan, tuple) else plan)
