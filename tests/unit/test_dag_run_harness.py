"""``dag.test()`` through the harness."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, task
from airflow.utils.session import create_session
from sqlalchemy import func, select

from tests.harness.dag_run import task_states, xcom

RunDag = Callable[..., DagRun]


def test_mapped_tasks_and_their_results(dag_test: RunDag) -> None:
    """A task mapped over another's result runs once for each element, and a failure fails the run."""
    with DAG("mapping", schedule=None) as dag:

        @task
        def numbers() -> list[int]:
            return [1, 2]

        @task
        def double(number: int) -> int:
            return number * 2

        @task
        def fail() -> None:
            raise ValueError

        double.expand(number=numbers()) >> fail()

    run = dag_test(dag)
    assert run.state == "failed"
    assert task_states(run) == {"numbers": "success", "double[0]": "success", "double[1]": "success", "fail": "failed"}
    assert [xcom(run, "double", map_index=index) for index in (0, 1)] == [2, 4]
    with pytest.raises(LookupError, match="fail has no XCom"):
        xcom(run, "fail")


@pytest.mark.parametrize("conf", [{"who": "first"}, {"who": "second"}])
def test_each_test_starts_with_an_empty_database(dag_test: RunDag, conf: dict[str, str]) -> None:
    """A run of the same DAG and logical date as in the test before is the only run there is."""
    with DAG("same", schedule=None) as dag:

        @task
        def greet(dag_run: DagRun | None = None) -> str:
            assert dag_run is not None
            assert dag_run.conf is not None
            return str(dag_run.conf["who"])

        greet()

    run = dag_test(dag, run_conf=conf, logical_date=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert xcom(run, "greet") == conf["who"]
    with create_session() as session:
        assert session.scalar(select(func.count()).select_from(DagRun)) == 1
