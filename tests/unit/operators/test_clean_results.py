"""Old results are removed, and nothing else: not what is young, not what is foreign, nothing outside the folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_polars import PolarsCleanResultsOperator, PolarsRemoteOperator
from tests.unit.outcomes import failure, rows, succeeded

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

DAY = 86_400


def make(path: Path, days: float = 40, content: bytes = b"12345") -> Path:
    """Write a file, as old as it and the folders above it are to be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    age(path, days)
    return path


def age(path: Path, days: float) -> None:
    """Make a file or folder, and the three folders above it, ``days`` old."""
    then = time.time() - days * DAY
    for place in (path, *list(path.parents)[:3]):
        os.utime(place, (then, then))


@pytest.fixture
def clean(in_memory_airflow: InMemoryAirflow) -> Callable[..., Any]:
    """Return a function that runs the operator and returns what it returns."""

    def run(**arguments: Any) -> Any:
        return succeeded(in_memory_airflow.run_task(PolarsCleanResultsOperator(task_id="clean", **arguments)))

    return run


def test_old_results_go_and_young_ones_stay(clean: Callable[..., Any], results_path: Path) -> None:
    """Thirty days by default; folders that become empty go too, the root stays."""
    old = make(results_path / "dag/run/task/return_value.parquet", days=31)
    young = make(results_path / "dag/later/task/return_value.parquet", days=29)
    assert clean() == {"removed": 1, "bytes": 5, "kept": 1, "dry_run": False}
    assert not old.parent.parent.exists()
    assert young.exists()
    age(young, 31)
    assert clean()["removed"] == 1
    assert list(results_path.iterdir()) == []


@pytest.mark.parametrize("source", ["setting", "argument"])
def test_age_is_a_setting_or_an_argument(
    clean: Callable[..., Any], results_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """The argument wins."""
    make(results_path / "dag/run/task/old.parquet", days=4)
    make(results_path / "dag/run/task/young.parquet", days=2)
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_RETENTION_DAYS", "3" if source == "setting" else "100")
    counted = clean() if source == "setting" else clean(retention_days=3)
    assert (counted["removed"], counted["kept"]) == (1, 1)


def test_dry_run_only_counts(clean: Callable[..., Any], results_path: Path) -> None:
    """Files and empty folders are still there."""
    old = make(results_path / "dag/run/task/return_value.parquet")
    (results_path / "dag/empty").mkdir()
    assert clean(dry_run=True) == {"removed": 1, "bytes": 5, "kept": 0, "dry_run": True}
    assert old.exists()
    assert (results_path / "dag/empty").exists()


def test_real_result_is_found_and_its_reader_told(
    in_memory_airflow: InMemoryAirflow, clean: Callable[..., Any], results_path: Path
) -> None:
    """What tasks leave is what the operator removes, of every map index and output."""
    work = PolarsRemoteOperator(
        task_id="t", query=lambda: {"a": pl.LazyFrame({"x": [1]}), "b": pl.LazyFrame()}, sink={"a": None, "b": None}
    )
    result = succeeded(in_memory_airflow.run_task(work, run_id="scheduled__2026-01-01T00:00:00+00:00"))
    assert clean()["removed"] == 0
    assert rows(result["a"]) == [{"x": 1}]
    for ref in result.values():
        age(Path(ref["locations"][0]), 31)
    assert clean()["removed"] == 2
    assert list(results_path.iterdir()) == []


def test_foreign_files_stay(clean: Callable[..., Any], results_path: Path) -> None:
    """Only what has the place and the name of a result is one."""
    foreign = [
        make(results_path / "README.parquet"),
        make(results_path / "dag/run/task/notes.txt"),
        make(results_path / "dag/run/task/deeper/down/x.parquet"),
        make(results_path / "dag/run/short.parquet"),
        make(results_path / "dag/run/task/some.staging.d/x.parquet"),
    ]
    assert clean() == {"removed": 0, "bytes": 0, "kept": 0, "dry_run": False}
    assert all(path.exists() for path in foreign)


def test_foreign_empty_folders_stay(clean: Callable[..., Any], results_path: Path) -> None:
    """A folder goes only after a result in it, or where a try that was killed left it."""
    foreign = results_path / "uploads/inbox"
    foreign.mkdir(parents=True)
    age(foreign, 400)
    make(results_path / "dag/run/task/return_value.parquet")
    assert clean()["removed"] == 1
    assert foreign.exists()
    assert not (results_path / "dag").exists()


def test_links_are_not_followed_outside(clean: Callable[..., Any], results_path: Path, tmp_path: Path) -> None:
    """Neither one to a file nor one to a folder, as old as they may be."""
    outside = [make(tmp_path / "lake/precious.parquet"), make(tmp_path / "lake/run/task/precious.parquet")]
    folder = results_path / "dag/run/task"
    folder.mkdir(parents=True)
    (folder / "return_value.parquet").symlink_to(outside[0])
    (results_path / "linked").symlink_to(tmp_path / "lake")
    (results_path / "dag/run/other").symlink_to(tmp_path / "lake")
    clean()
    assert all(path.exists() for path in outside)


def test_root_may_be_a_link(clean: Callable[..., Any], results_path: Path, tmp_path: Path) -> None:
    """A results folder on another disk is often one."""
    make(tmp_path / "disk/dag/run/task/return_value.parquet")
    results_path.symlink_to(tmp_path / "disk")
    assert clean()["removed"] == 1


def test_leftovers_of_killed_tries_go(clean: Callable[..., Any], results_path: Path) -> None:
    """A staging folder is hidden beside the result; an empty one goes as well."""
    task_folder = results_path / "dag/run/task"
    left = make(task_folder / ".return_value.parquet.0123456789abcdef.11111111.staging/return_value.parquet")
    empty = task_folder / ".return_value.parquet.0123456789abcdef.22222222.staging"
    empty.mkdir()
    age(empty, 40)
    assert clean()["removed"] == 1
    assert not left.exists()
    assert list(results_path.iterdir()) == []


def test_staging_of_a_running_task_stays(clean: Callable[..., Any], results_path: Path) -> None:
    """It may be empty for as long as the query has not written yet."""
    staging = results_path / "dag/run/task/.return_value.parquet.0123456789abcdef.33333333.staging"
    staging.mkdir(parents=True)
    clean()
    assert staging.exists()


def test_missing_folder_is_nothing_to_do(clean: Callable[..., Any], results_path: Path) -> None:
    """As before the first result."""
    assert clean() == {"removed": 0, "bytes": 0, "kept": 0, "dry_run": False}
    assert not results_path.exists()


@pytest.mark.parametrize("form", ["file://{path}", "{path}/", "{path}/../results"])
def test_folder_may_be_written_in_any_way(
    clean: Callable[..., Any], results_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A URL of a path, a slash at its end, a detour."""
    make(results_path / "dag/run/task/return_value.parquet")
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_PATH", form.format(path=results_path))
    assert clean()["removed"] == 1


@pytest.mark.parametrize("path", ["/", "//", "file:///", "/.", "/tmp/.."])
def test_whole_disk_is_refused(in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """However it is written; a retry would not help."""
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_PATH", path)
    work = PolarsCleanResultsOperator(task_id="clean", dry_run=True)
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith(f"ConfigurationError: [polars] results_path is '{path}', the root of the disk")


def test_link_to_the_whole_disk_is_refused(in_memory_airflow: InMemoryAirflow, results_path: Path) -> None:
    """What counts is where the folder really is."""
    results_path.symlink_to("/")
    text = failure(in_memory_airflow.run_task(PolarsCleanResultsOperator(task_id="clean", dry_run=True), max_tries=2))
    assert "too short to clean safely: name a folder." in text


@pytest.mark.parametrize("days", [0, -1])
def test_retention_below_a_day_is_refused(in_memory_airflow: InMemoryAirflow, results_path: Path, days: int) -> None:
    """Results of running DAGs would go."""
    work = PolarsCleanResultsOperator(task_id="clean", retention_days=days)
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text == f"ConfigurationError: retention_days= must be at least 1, got {days}."


class Store(MemoryFileSystem):  # type: ignore[misc]
    """An object store in memory that tells the times of its objects as real ones do."""

    protocol = ("s3",)
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    key = "LastModified"
    times: dict[str, datetime] = {}  # noqa: RUF012

    def find(self, path: str, **kwargs: Any) -> Any:
        """Return the objects below ``path`` with their times under this store's own name."""
        found = super().find(path, **kwargs)
        return {name.lstrip("/"): {"size": info["size"], self.key: self.times[name]} for name, info in found.items()}


@pytest.mark.parametrize("key", ["LastModified", "mtime", "updated", "last_modified"])
def test_results_in_an_object_store_are_removed(
    in_memory_airflow: InMemoryAirflow, clean: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Each kind of store has its own name for the time of an object; the setting's connection is used."""
    store = Store(skip_instance_cache=True)
    store.store, store.pseudo_dirs, store.key, store.times = {}, [""], key, {}
    for name, days in {"old/return_value": 40, "young/return_value": 3}.items():
        path = f"/bucket/results/dag/run/{name}.parquet"
        store.pipe(path, b"1234")
        store.times[path] = datetime.now(tz=timezone.utc) - timedelta(days=days)
    store.pipe("/bucket/lake/dag/run/t/x.parquet", b"1")
    attach(protocol="s3", conn_id=f"store_{key}", fs=store)
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_PATH", "s3://bucket/results")
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_CONN_ID", f"store_{key}")
    assert clean() == {"removed": 1, "bytes": 4, "kept": 1, "dry_run": False}
    assert sorted(store.store) == [
        "/bucket/lake/dag/run/t/x.parquet", "/bucket/results/dag/run/young/return_value.parquet",
    ]  # fmt: skip


def test_whole_bucket_is_refused(in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A results folder is one within a bucket."""
    attach(protocol="s3", conn_id="whole", fs=Store(skip_instance_cache=True))
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_PATH", "s3://bucket/")
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_CONN_ID", "whole")
    text = failure(in_memory_airflow.run_task(PolarsCleanResultsOperator(task_id="clean"), max_tries=2))
    assert text.startswith("ConfigurationError: [polars] results_path is 's3://")
