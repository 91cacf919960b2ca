"""What a plan scans is told without running it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_polars import runner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one file of each format."""
    rows = pl.DataFrame({"a": [1, 2]})
    rows.write_parquet(tmp_path / "a.parquet")
    rows.write_csv(tmp_path / "a.csv")
    rows.write_ipc(tmp_path / "a.ipc")
    rows.write_ndjson(tmp_path / "a.jsonl")
    return tmp_path


SCANS: dict[str, Callable[[str], pl.LazyFrame]] = {
    "a.parquet": pl.scan_parquet,
    "a.csv": pl.scan_csv,
    "a.ipc": pl.scan_ipc,
    "a.jsonl": pl.scan_ndjson,
}


@pytest.mark.parametrize("name", SCANS)
def test_every_format_is_told_as_it_is_written_in_the_query(folder: Path, name: str) -> None:
    pattern = f"{folder}/{name.replace('a', '*', 1)}"

    assert runner.scanned(SCANS[name](pattern)) == [["files", pattern]]


def test_all_that_a_plan_scans_is_told(folder: Path) -> None:
    left, right = pl.scan_parquet([f"{folder}/a.parquet"] * 20), pl.scan_csv(f"{folder}/a.csv")
    query = left.join(right.map_batches(lambda frame: frame), on="a")

    assert runner.scanned(query) == [["files", *[f"{folder}/a.parquet"] * 20], ["files", f"{folder}/a.csv"]]


def test_each_scan_is_told_by_itself(folder: Path) -> None:
    files = [f"{folder}/a.parquet", f"{folder}/a.ipc"]
    query = pl.concat([pl.scan_parquet(files[0]), pl.scan_ipc(files[1])])

    assert runner.scanned(query) == [["files", file] for file in files]


def test_a_relative_path_is_that_of_this_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    assert runner.scanned(pl.scan_csv("a.csv")) == [["files", os.path.abspath("a.csv")]]


def test_a_long_name_is_told_whole(tmp_path: Path) -> None:
    for length in (20, 40, 200):
        name = f"{tmp_path}/{'ä' * length}"
        assert runner.scans(pl.scan_csv(name).serialize()) == [["files", name]]
    for place in ("s3://lake/" + "x" * 300, "s3://lake/" + "x" * 70_000):
        plan = pl.scan_parquet(place, credential_provider=None).serialize()
        assert runner.scans(plan) == [["files", place]]


def test_rows_in_memory_are_not_serialised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("serialised")

    monkeypatch.setattr(pl.LazyFrame, "serialize", refuse)
    query = pl.scan_parquet(f"{folder}/*.parquet").join(pl.LazyFrame({"a": [1]}), on="a")

    assert runner.scanned(query) == [["files", f"{folder}/a.parquet"]]


def beside_rows(scan: pl.LazyFrame) -> list[list[str]]:
    """Return what is told of a scan in a query that has rows in memory."""
    return runner.scanned(scan.join(pl.LazyFrame({"a": [1]}), on="a"))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a folder with four CSV files, and partitions and other folders with files below it."""
    names = ["a", "b", "c", "d, e", "day=1/a", "day=2/a", "day=2/b", "x/a", "y/a", "y/b"]
    for name in names:
        file = tmp_path / "many" / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"a": [1]}).write_csv(file)
    return tmp_path / "many"


def test_beside_rows_in_memory_many_files_are_told_by_the_folder_of_the_first(many: Path) -> None:
    of_folder = [["files", f"{many}/*"]]

    assert beside_rows(pl.scan_csv(f"{many}/*.csv")) == of_folder
    assert beside_rows(pl.scan_csv([f"{many}/{name}.csv" for name in ("d, e", "a", "b")])) == of_folder
    assert beside_rows(pl.scan_csv(f"{many}/day=*/*.csv")) == [["files", f"{many}/day=1/*"]]


def test_beside_rows_in_memory_files_of_several_folders_are_not_told_by_the_first(many: Path) -> None:
    assert beside_rows(pl.scan_csv([f"{many}/{name}.csv" for name in ("x/a", "y/a", "y/b")])) == []


def test_beside_rows_in_memory_two_files_are_told_each(many: Path) -> None:
    for names in (("a", "b"), ("d, e", "a"), ("a", "d, e"), ("x/a", "y/a")):
        files = [f"{many}/{name}.csv" for name in names]
        assert beside_rows(pl.scan_csv(files)) == [["files", *files]]


def test_beside_rows_in_memory_words_that_may_mean_several_files_tell_nothing(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(many)

    assert beside_rows(pl.scan_csv(f"{many}/d, e.csv")) == []
    assert beside_rows(pl.scan_csv([f"{many}/a.csv", "b.csv"])) == []
    assert beside_rows(pl.scan_csv("a.csv")) == []
    assert beside_rows(pl.scan_csv(["c.csv", "a.csv", "b.csv"])) == []
    in_memory = pl.scan_csv([b"a\n1", b"a\n2", b"a\n3"])
    assert beside_rows(pl.concat([in_memory, pl.scan_csv(f"{many}/a.csv")])) == [["files", f"{many}/a.csv"]]


@pytest.mark.parametrize(
    ("listed", "places"),
    [
        ("s3://lake/a.csv", ["s3://lake/a.csv"]),
        ("s3://lake/a.csv, s3://lake/b.csv", ["s3://lake/a.csv", "s3://lake/b.csv"]),
        ("s3://lake/a.csv, ... 1 other source", ["s3://lake/*"]),
        ("s3://lake/a.csv, ... 12 other sources", ["s3://lake/*"]),
    ],
)
def test_of_a_store_that_is_not_asked_the_words_are_believed(
    monkeypatch: pytest.MonkeyPatch, listed: str, places: list[str]
) -> None:
    words = f"UNION\n  Csv SCAN [{listed}]\n  PROJECT */1 COLUMNS\n  DF ["
    monkeypatch.setattr(pl.LazyFrame, "explain", lambda *_, **__: words)

    assert runner.scanned(pl.LazyFrame()) == [["files", *places]]


def test_tables_are_told_and_no_object_in_a_plan_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pl.DataFrame({"a": [1]}).write_delta(tmp_path / "table")
    query = pl.scan_delta(str(tmp_path / "table"), storage_options={"aws_secret_access_key": "correct-horse"})
    monkeypatch.setattr(pickle, "loads", None)

    assert runner.scanned(query) == [["delta", str(tmp_path / "table")]]


@pytest.mark.parametrize("query", [pl.scan_csv("/not/here.csv"), pl.LazyFrame({"a": [1]}).select("b"), pl.LazyFrame()])
def test_a_query_that_cannot_run_or_scans_nothing_tells_nothing(query: pl.LazyFrame) -> None:
    assert runner.scanned(query) == []


def test_a_plan_that_is_cut_off_tells_what_can_be_read(folder: Path) -> None:
    plan = pl.scan_parquet([f"{folder}/a.parquet", f"{folder}/b.parquet"]).serialize()
    whole = [["files", f"{folder}/a.parquet", f"{folder}/b.parquet"]]

    assert runner.scans(plan) == whole
    for size in range(len(plan)):
        assert runner.scans(plan[:size]) in ([], whole)


def test_a_timeout_of_the_task_meanwhile_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(*args: Any, **kwargs: Any) -> str:
        raise AirflowTaskTimeout("by design")

    monkeypatch.setattr(pl.LazyFrame, "explain", explain)
    with pytest.raises(AirflowTaskTimeout):
        runner.scanned(pl.LazyFrame({"a": [1]}))
