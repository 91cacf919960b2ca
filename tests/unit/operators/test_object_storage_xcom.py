"""Results as XComs in an object store: Airflow's table then holds paths, and tasks read the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def test_results_pass_through_an_object_storage_backend(tmp_path: Path, results_path: Path) -> None:
    """The backend is chosen when Airflow is imported, so that it needs a process of its own."""
    store = tmp_path / "xcoms"
    store.mkdir()
    environment = os.environ | {
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{store}",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.operators.object_storage_tasks"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stderr.splitlines()[-1])
    assert answer["rows"] == [{"x": 1}, {"x": 2}, {"x": 2}]
    assert set(answer["table"]) == {
        *("split.a", "split.b", "split.return_value", "split.polars_run"),
        *("joined.return_value", "joined.polars_run"),
    }
    stored = {json.loads(value) if value.startswith('"') else value for value in answer["table"].values()}
    assert all(str(store) in value for value in stored)
    kept = [json.loads(path.read_text()) for path in store.rglob("*") if path.is_file()]
    assert sum("polars_result" in value for value in kept) == 3
