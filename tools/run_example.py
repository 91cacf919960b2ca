"""Run the DAGs of one file on a throw-away Airflow by ``dag.test()``: ``run_example.py FILE``.

Ends with 0 only if every DAG succeeds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def use_airflow_home(home: Path, dags_folder: Path) -> None:
    """Point Airflow, which must not be imported yet, to an SQLite database in ``home`` and make its tables."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)


def run_dags(file: Path) -> list[Any]:
    """Run every DAG of ``file``; return their runs.

    :raises SystemExit: if the file has none, or cannot be imported.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(dag_folder=str(file), bundle_name="dags-folder")
    if bag.import_errors or not bag.dags:
        sys.exit("\n".join(bag.import_errors.values()) or f"{file} defines no DAG")
    sync_bag_to_db(bag, "dags-folder", None)
    return [dag.test() for dag in bag.dags.values()]


def main(file: Path) -> int:
    """Run the file's DAGs; return the exit status."""
    with TemporaryDirectory() as home:
        use_airflow_home(Path(home), file.parent)
        states = {run.dag_id: str(run.state) for run in run_dags(file)}
    print(*(f"{dag_id}: {state}" for dag_id, state in states.items()), sep="\n")
    return int(set(states.values()) != {"success"})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
