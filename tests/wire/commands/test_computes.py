"""``airflow polars computes`` and ``sweep``: what lives in a workspace, whose it is, and the end of what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import update

from airflow_provider_polars import CloudCompute
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.marks import Owner

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.commands.conftest import Commands

Start = Callable[..., str]


@pytest.fixture
def start(on_cloud: Commands, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return ``start(run_id)``, which starts an instance for a run of the DAG ``sales`` and returns its id."""

    def start(run_id: str, *, deployment: str = "tests", dag_id: str = "sales") -> str:
        compute = CloudCompute(cpus=2, memory=4, cluster_size=2, idle_timeout_mins=6000, max_lifetime=5)
        owner = Owner(deployment=deployment, dag_id=dag_id, run_id=run_id, task_id="etl.start_compute")
        with monkeypatch.context() as there:
            there.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", deployment)
            with contextlib.closing(PolarsCloudHook().get_manager(compute)) as manager:
                return str(manager.start(owner).compute_id)

    return start


@pytest.fixture
def runs(dag_test: Callable[..., Any]) -> dict[str, str]:
    """Have Airflow know two runs of the DAG ``sales``: one has ended, the other one runs."""
    with DAG("sales", schedule=None) as dag:
        EmptyOperator(task_id="nothing")
    ended, active = dag_test(dag).run_id, dag_test(dag).run_id
    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.run_id == active).values(state=DagRunState.RUNNING))
    return {"ended": ended, "active": active}


def test_computes_have_their_mark_and_whom_they_were_started_for(
    on_cloud: Commands, start: Start, polars_control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__VCPU_HOUR_PRICE", "36")
    mine, theirs = start("monday"), start("monday", deployment="prod")

    rows = {row["compute_id"]: row for row in on_cloud.rows("computes", "--conn-id", "cloud")}

    assert set(rows) == set(polars_control_plane.running) == {mine, theirs}
    own, other = rows[mine], rows[theirs]
    assert (own["ours"], own["dag_id"], own["run_id"], own["task_id"]) == (
        True,
        "sales",
        "monday",
        "etl.start_compute",
    )
    assert own["mark"].startswith("af-tests-")
    assert (own["vcpus"], own["state"]) == (4, "Idle")
    assert 0 <= own["cost_at_most"] <= own["age_minutes"] / 60 * 4 * 36 + 2.4  # ages are in tenths
    assert (other["ours"], other["mark"][:8], other["dag_id"]) == (False, "af-prod-", None)
    assert polars_control_plane.account.secret not in on_cloud.output


def test_a_sweep_stops_what_its_run_has_left_and_a_dry_run_says_so_before(
    on_cloud: Commands, start: Start, runs: dict[str, str], polars_control_plane: ControlPlane
) -> None:
    ended, active, theirs = start(runs["ended"]), start(runs["active"]), start("monday", deployment="prod")

    foreseen = {row["compute_id"]: row for row in on_cloud.rows("sweep", "--conn-id", "cloud", "--dry-run")}

    assert {name: row["what"] for name, row in foreseen.items()} == {
        ended: "would be stopped",
        active: "kept",
        theirs: "not ours",
    }
    assert foreseen[ended]["why"] == f"the run {runs['ended']} of sales has ended, or does not exist any more"
    assert set(polars_control_plane.running) == {ended, active, theirs}

    done = {row["compute_id"]: row["what"] for row in on_cloud.rows("sweep", "--conn-id", "cloud")}

    assert done == {ended: "stopped", active: "kept", theirs: "not ours"}
    assert set(polars_control_plane.running) == {active, theirs}
    old = on_cloud.rows("sweep", "--conn-id", "cloud", "--max-lifetime", "0.000001")
    assert {row["compute_id"]: row["what"] for row in old} == {active: "stopped", theirs: "not ours"}
    assert polars_control_plane.running == [theirs]


def test_a_database_that_does_not_know_the_dag_stops_nothing(
    on_cloud: Commands, start: Start, runs: dict[str, str], polars_control_plane: ControlPlane
) -> None:
    """It may be that of another machine, on which an empty Airflow has the deployment_id of the real one."""
    ended, unknown = start(runs["ended"]), start("monday", dag_id="purchases")

    swept = on_cloud.run("sweep", "--conn-id", "cloud", "--output", "plain")

    assert swept.returncode == 1
    assert (
        "the database of this Airflow has no run of the DAG 'purchases'. Is it the one that has started" in swept.stderr
    )
    assert [line.split()[:2] for line in swept.stdout.splitlines()[1:]] == [["stopped", ended], ["kept", unknown]]
    assert polars_control_plane.running == [unknown]
