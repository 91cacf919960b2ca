"""``dag.test()`` on a fresh SQLite database for each test.

The environment must be set before it is imported, see
:func:`tests.harness.environment.library_environment`.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState

BUNDLE = "dags-folder"
SQLITE = "sqlite:///"


def migrate(database: Path) -> None:
    """Create Airflow's tables in the SQLite file ``database``; :class:`RuntimeError` with the output on failure."""
    result = subprocess.run(
        [Path(sys.executable).parent / "airflow", "db", "migrate"],
        env=os.environ | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{SQLITE}{database}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"db migrate exited with {result.returncode}\n{result.stdout}{result.stderr}")


def reset_database(template: Path) -> None:
    """Make the configured database a copy of the SQLite file ``template``, seen by open connections too."""
    target = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].removeprefix(SQLITE)
    source_connection, target_connection = sqlite3.connect(template), sqlite3.connect(target)
    try:
        source_connection.backup(target_connection)
    finally:
        source_connection.close()
        target_connection.close()


def run_dag(dag: DAG, **kwargs: Any) -> DagRun:
    """Register ``dag`` and run it to its end in this process; ``kwargs`` go to ``dag.test()``.

    Failures of tasks do not raise: see the run's ``state`` and :func:`task_states`.
    """
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, BUNDLE, None)
    run: DagRun = dag.test(**kwargs)
    return run


def task_states(run: DagRun) -> dict[str, str | None]:
    """Return each task instance's state by task id, with ``[map_index]`` added for mapped ones."""
    return {
        ti.task_id + (f"[{ti.map_index}]" if ti.map_index >= 0 else ""): ti.state and TaskInstanceState(ti.state).value
        for ti in run.get_task_instances()
    }


def xcom(run: DagRun, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
    """Return an XCom's decoded value; :class:`LookupError` when there is none."""
    query = XComModel.get_many(dag_ids=run.dag_id, run_id=run.run_id, task_ids=task_id, key=key, map_indexes=map_index)
    with create_session() as session:
        found = session.scalars(query).first()
        if found is None:
            raise LookupError(f"{task_id} has no XCom {key!r} at map index {map_index}")
        return XComModel.deserialize_value(found)
