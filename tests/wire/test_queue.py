"""Which query runs when and where, and what a cancel does to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars_cloud import QueryStatus

from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from airflow_provider_polars.testing.environment import set_environment
from tests.harness.waiting import wait_for
from tests.wire.gates import Gate

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
END_SECONDS = 20.0


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], DevCluster]]:
    """Return a function that starts a cluster with so many workers."""
    with pytest.MonkeyPatch.context() as environment:
        started = []

        def start(workers: int) -> DevCluster:
            started.append(start_dev_cluster("--workers", str(workers)))
            up = started[-1].__enter__()
            set_environment(up.environment, environment)
            return up

        yield start
        for manager in started:
            manager.__exit__(None, None, None)
