"""The example DAGs that start instances: each task does what it says, and nothing is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from polars.testing import assert_frame_equal

from airflow_provider_polars import CloudCompute, PolarsStartComputeOperator, compute_lifecycle
from airflow_provider_polars.backends.cloud_manager import CloudManager
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.marks import Owner
from tests.conftest import REPOSITORY
from tests.harness.dag_run import task_states, xcom
from tests.wire.cloud.tasks import START_CALL, STOP_CALL

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

    from airflow_provider_polars.testing import ControlPlane

CONN_ID = "polars_cloud_default"
DEPLOYMENT = "examples"
MANIFEST = "airflow-production"

Example = Callable[[str], "DagRun"]


@pytest.fixture
def plane(polars_control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    """Return the control plane, with what the examples ask of a deployment."""
    account = polars_control_plane.account
    connection = {"conn_type": "polars_cloud", "login": account.id, "password": account.secret}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", DEPLOYMENT)
    monkeypatch.setattr(compute_lifecycle, "LOOK_SECONDS", 0.05)
    return polars_control_plane


@pytest.fixture
def example(plane: ControlPlane, dag_test: Callable[..., DagRun]) -> Example:
    """Return ``run(dag_id)``, which runs an example, and sees to it that it succeeds and that nothing is left."""

    def run(dag_id: str) -> DagRun:
        run = dag_test(_dag(dag_id))
        states = task_states(run)
        assert set(states.values()) == {"success"}, states
        assert run.state == "success"
        assert plane.running == []
        return run

    return run


def _dag(dag_id: str) -> DAG:
    bag = DagBag(dag_folder=str(REPOSITORY / "dags" / f"{dag_id}.py"))
    assert bag.import_errors == {}
    dag: DAG = bag.dags[dag_id]
    return dag


def _manager(**fields: Any) -> CloudManager:
    manager = PolarsCloudHook(CONN_ID).get_manager(CloudCompute(**fields))
    assert isinstance(manager, CloudManager)
    return manager


def _register(**machine: Any) -> None:
    """Register the manifest of the guide, as the guide says."""
    import polars_cloud as pc

    pc.authenticate(interactive=False)
    pc.ComputeContext(**machine).register(MANIFEST)


def _owner(run: DagRun, task_id: str) -> Owner:
    return Owner(deployment=DEPLOYMENT, dag_id=run.dag_id, run_id=run.run_id, task_id=task_id)


def _rows(ref: dict[str, Any]) -> pl.DataFrame:
    return pl.read_parquet(ref["locations"])


def test_two_tasks_share_one_instance(plane: ControlPlane, example: Example) -> None:
    run = example("example_cloud")

    results = partial(xcom, run)
    number = pl.int_range(100_000, eager=True)
    orders = pl.DataFrame({"customer_id": number % 97, "amount": number % 13}).filter(number % 5 != 0)
    assert results("etl.orders")["rows"] == orders.height
    expected = orders.group_by("customer_id").agg(pl.col("amount").sum())
    assert_frame_equal(_rows(results("etl.by_customer")), expected, check_row_order=False)
    (instance,) = plane.instances
    assert (instance["vcpus"], instance["mode"]) == (8, "Direct")
    assert instance["name"] == _owner(run, "etl.start_compute").mark
    assert results("etl.start_compute")["compute_id"] == results("etl.stop_compute")["compute_id"] == instance["id"]
    assert len(plane.recorder.calls(START_CALL)) == len(plane.recorder.calls(STOP_CALL)) == 1


def test_the_guide_of_polars_starts_from_a_copy_of_its_manifest(plane: ControlPlane, example: Example) -> None:
    _register(cpus=2, memory=4, cluster_size=3)

    run = example("example_polars_guide")

    report = _rows(xcom(run, "production.report"))
    expected = pl.DataFrame({"kind": ["a", "b"], "revenue": [19, 45], "low_stock": [1, 0], "sales": [2, 2]})
    assert_frame_equal(report.sort("kind"), expected, check_dtypes=False)
    (instance,) = plane.instances
    assert (instance["vcpus"], instance["name"]) == (3 * 2, _owner(run, "production.start_compute").mark)
    assert len(plane.recorder.calls(START_CALL)) == 1
    instances = _manager().instances
    manifest = instances.manifest(MANIFEST)
    assert manifest is not None
    assert manifest.live is None
    assert instances.manifest(instance["name"]) is None


def test_machines_of_three_sizes_each_start_once(plane: ControlPlane, example: Example) -> None:
    run = example("example_two_machines")

    results = partial(xcom, run)
    customers = pl.DataFrame({"customer": pl.int_range(10_000, eager=True) % 97}).group_by("customer").len("orders")
    assert_frame_equal(_rows(results("small.customers")), customers, check_row_order=False, check_dtypes=False)
    assert results("small.large.count")["head"] == [{"pairs": (customers["orders"] ** 2).sum()}]
    assert results("small.busiest")["head"] == [{"customer": 0, "orders": 104}]
    sizes = {instance["name"]: instance["vcpus"] for instance in plane.instances}
    starts = {"small.start_compute": 2, "small.large.start_compute": 16, "small.busiest": 4}
    assert sizes == {_owner(run, task_id).mark: vcpus for task_id, vcpus in starts.items()}
    assert len(plane.recorder.calls(START_CALL)) == 3


def test_the_sweep_stops_what_a_run_that_has_ended_has_left(
    plane: ControlPlane, dag_test: Callable[..., DagRun]
) -> None:
    with DAG("forgetful", schedule=None) as forgetful:
        PolarsStartComputeOperator(task_id="start", compute=CloudCompute(cpus=2, memory=4), conn_id=CONN_ID)
    left = xcom(dag_test(forgetful), "start")["compute_id"]
    stranger = Owner(deployment="another", dag_id="theirs", run_id="scheduled", task_id="start")
    other = _manager(cpus=2, memory=4).start(stranger).compute_id
    assert plane.running == [left, other]

    run = dag_test(_dag("example_sweep"))

    assert run.state == "success"
    report = xcom(run, "sweep")
    found = {place: [row["compute_id"] for row in rows] for place, rows in report.items()}
    assert found == {"stopped": [left], "kept": [], "not_ours": [other]}
    assert report["stopped"][0]["dag_id"] == "forgetful"
    assert report["stopped"][0]["why"].endswith("of forgetful has ended, or does not exist any more")
    assert plane.running == [other]
