"""Whole runs with sensors: they wait for the cluster, for the queries on it, and hand their results on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from airflow_provider_polars import PolarsQuerySensor
from tests.conftest import REPOSITORY
from tests.harness.dag_run import task_states, xcom
from tests.unit.outcomes import succeeded
from tests.wire.cluster.own import Tasks, frame
from tests.wire.sensing import DEFERRABLE

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

    from airflow_provider_polars import ClusterCompute
    from airflow_provider_polars.testing import DevCluster


def test_each_month_is_a_query_and_the_year_is_all_of_them(
    cluster: ClusterCompute,
    polars_dev_cluster: DevCluster,
    dag_test: Callable[..., DagRun],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = {"observatory": cluster.observatory}
    connection = {"conn_type": "polars_cluster", "host": cluster.uri, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_POLARS_CLUSTER_DEFAULT", json.dumps(connection))
    bag = DagBag(dag_folder=str(REPOSITORY / "dags" / "example_sensors.py"))
    assert bag.import_errors == {}

    run = dag_test(bag.dags["example_sensors"])

    assert set(task_states(run).values()) == {"success"}, task_states(run)
    *months, _ = [record["query_id"] for record in polars_dev_cluster.recorder.submissions]
    # Airflow runs the instances of a mapped task in any order; their XComs are in that of the index.
    assert {result["query_id"] for result in xcom(run, "ended")} == set(months)
    assert xcom(run, "year")["head"] == [{"month": n, "amount": 60 * n} for n in (1, 2, 3)]


def test_a_mapped_sensor_waits_for_one_query_in_each_instance(tasks: Tasks, dag_test: Callable[..., DagRun]) -> None:
    tasks.options |= {"wait": False}
    runs = [succeeded(tasks.run(lambda: frame(rows), task_id=f"query_{rows}")) for rows in (1, 2)]  # noqa: B023
    with DAG("mapped_sensor", schedule=None) as dag:
        PolarsQuerySensor.partial(task_id="ended", **DEFERRABLE).expand(run=runs)

    run = dag_test(dag)

    assert task_states(run) == {"ended[0]": "success", "ended[1]": "success"}
    assert [xcom(run, "ended", map_index=index)["rows"] for index in (0, 1)] == [1, 2]
