"""The watches of computes of this process: one for each place that computes are started at, and connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_polars.backends.compute_watch import GRACE_SECONDS, ComputeWatch
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute_lifecycle import ComputeLifecycle, Pending
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.lifecycle import Log
from airflow_provider_polars.marks import Owner
from airflow_provider_polars.triggers.sharing import Shared

_watches: Shared[ComputeWatch] = Shared()


def watching_compute(handle: Compute, conn_id: str | None) -> contextlib.AbstractAsyncContextManager[ComputeWatch]:
    """Give the watch of the place where a compute was started."""
    place = json.dumps({"conn_id": conn_id, "kind": handle.kind, "place": handle.place}, sort_keys=True)
    return _watches.use(
        place, lambda: ComputeWatch(lambda: make_hook(handle, conn_id).get_manager(handle), grace=GRACE_SECONDS)
    )


async def abandon_start(
    pending: Pending[Any], conn_id: str | None, owner: Mapping[str, Any], *, shared: bool, log: Log
) -> None:
    """Stop what a task has started that a person has marked or cleared, and see that it has ended.

    :param owner: for whom it was started, as a dict.
    :param shared: whether other tasks may use it.
    """
    async with watching_compute(pending.handle, conn_id) as watch:
        lifecycle = ComputeLifecycle(await watch.manager(), log=log, shared=shared)
        await asyncio.to_thread(lifecycle.abandon, Owner(**owner), pending, "its task was marked or cleared")
