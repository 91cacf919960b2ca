"""Run the flights example end to end on this machine: ``demo.py DATA_FOLDER DEMO_FOLDER``.

A real DAG on a throw-away Airflow, by ``dag.test()``; then its queries once more, by the real Polars Cloud client on a
development cluster. The last line says how it ended.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from run_example import run_dags, use_airflow_home

DAG_FILE = Path(__file__).resolve().parent.parent / "dags" / "example_flights.py"


def summarise(results: dict[str, dict[str, Any]]) -> None:
    """Print one line per task, and the first rows of those that kept some."""
    print(f"\n{'task':<24}{'rows':>10}{'bytes':>12}{'seconds':>9}  files")
    for name, result in results.items():
        seconds = sum(result["timings"].values())
        print(f"{name:<24}{result['rows']:>10,}{result['bytes']:>12,}{seconds:>9.2f}  {result['files']}")
    for name, result in results.items():
        if "head" in result:
            print(f"\n{name}")
            for row in result["head"]:
                print("  " + "  ".join(f"{column}={value}" for column, value in row.items()))


def run_over_the_wire(results: dict[str, dict[str, Any]], out: Path) -> bool:
    """Run the queries on a development cluster; return whether their results equal the local ones."""
    script = Path(__file__).with_name("over_the_wire.py")
    locations = json.dumps({name: result["locations"] for name, result in results.items()})
    print(flush=True)
    return subprocess.run([sys.executable, script, DAG_FILE, out], input=locations, text=True).returncode == 0


def main(data: Path, home: Path) -> str | None:
    """Run the demo; return what went wrong."""
    started = time.monotonic()
    shutil.copytree(data, home / "nycflights13", dirs_exist_ok=True)
    use_airflow_home(home, DAG_FILE.parent)
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
    (run,) = run_dags(DAG_FILE)
    if run.state != "success":
        return f"demo: failed state={run.state}"
    tasks = sorted(task.task_id for task in run.get_task_instances())
    results = {task: run.get_task_instance(task).xcom_pull(task_ids=task) for task in tasks}
    summarise(results)
    if not run_over_the_wire(results, home / "over_the_wire"):
        return "demo: failed over the wire"
    rows = sum(result["rows"] for result in results.values())
    print(f"\ndemo: ok rows={rows} seconds={time.monotonic() - started:.1f} out={home / 'lake'}")
    return None


if __name__ == "__main__":
    sys.exit(main(*(Path(argument).resolve() for argument in sys.argv[1:])))
