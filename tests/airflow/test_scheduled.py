"""The example DAGs as the real scheduler starts them at their cron times."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.example_results import CHECKS
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

EXAMPLES = Path(__file__).parents[2] / "dags"
DAILY = sorted(CHECKS.keys() - {"example_asset_reader"})
ELSEWHERE = [f"example_{name}.py" for name in ("cloud", "cluster", "polars_guide", "sensors", "sweep", "two_machines")]
"""Examples of computes that are not there; tests of their own run them."""

DUE = 'schedule="@daily", start_date=__import__("pendulum").datetime(2026, 1, 1)'

pytestmark = pytest.mark.own_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, flights_data: Path) -> Iterator[AirflowStack]:
    """Start Airflow with examples that are due at once: with a date to start at, a daily DAG's last run is."""
    dags = tmp_path_factory.mktemp("due") / "dags"
    shutil.copytree(EXAMPLES, dags, ignore=shutil.ignore_patterns("__pycache__", *ELSEWHERE))
    for file in dags.glob("*.py"):
        text = file.read_text().replace('schedule="@daily"', DUE)
        file.write_text(text.replace('f"{HOME}/nycflights13"', repr(str(flights_data))))
    with AirflowStack(dags) as started:
        yield started


@pytest.mark.parametrize("dag_id", DAILY)
def test_an_example_runs_when_it_is_due(stack: AirflowStack, flights_data: Path, dag_id: str) -> None:
    """The run has a logical date, and its results are what plain Polars computes."""
    rest = stack.rest
    rest.wait_for_dag(dag_id)

    def scheduled() -> dict[str, Any] | None:
        runs = rest.get(f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return next((run for run in runs if run["run_type"] == "scheduled"), None)

    run = wait_for(scheduled, 60, rest.diagnose)
    assert run["logical_date"] is not None
    assert rest.wait_for_run(dag_id, run["dag_run_id"]) == "success"
    CHECKS[dag_id](partial(rest.xcom, dag_id, run["dag_run_id"]), flights_data)
