"""Which process tells Airflow of a task."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder

from airflow_provider_polars.operators.supervised import supervisor

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow


def test_a_task_in_a_process_of_its_own_is_supervised_by_the_one_that_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", CommsDecoder(socket=None), raising=False)
    assert supervisor() == os.getppid()


def test_a_task_that_runs_in_the_process_of_its_dag_is_not(in_memory_airflow: InMemoryAirflow) -> None:
    from airflow.sdk import BaseOperator

    seen: list[int | None] = []

    class Look(BaseOperator):
        def execute(self, context: object) -> None:
            seen.append(supervisor())

    assert in_memory_airflow.run_task(Look(task_id="look")).state == "success"
    assert seen == [None]
