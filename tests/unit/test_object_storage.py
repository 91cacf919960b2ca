"""Results with Airflow's object-storage XCom backend."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl


def test_results_are_handed_on_through_object_storage(
    run_python: Callable[..., str], migrated_db: Path, tmp_path: Path
) -> None:
    """Single, mapped and several outputs arrive downstream; the database holds the place of each reference."""
    database = shutil.copy(migrated_db, tmp_path / "airflow.db")
    storage = tmp_path / "xcoms"
    printed = run_python(
        "from tests.unit.object_storage_run import main; main()",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{database}",
        AIRFLOW__CORE__XCOM_BACKEND="airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH=f"file://{storage}",
        AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD="0",
        AIRFLOW__POLARS__RESULTS_PATH=str(tmp_path / "results"),
    )
    run = json.loads(printed.splitlines()[-1])
    assert set(run["states"].values()) == {"success"}
    stored = {(task_id, key): Path(urlsplit(value).path) for task_id, key, value in run["xcoms"]}
    assert all(path.is_relative_to(storage) for path in stored.values())
    ref = json.loads(stored["together", "return_value"].read_text())
    assert pl.read_parquet(ref["locations"])["number"].to_list() == [660, 300]
    assert json.loads(stored["totals", "longest"].read_text())["rows"] == 1
