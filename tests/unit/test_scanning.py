"""What a plan scans is told without running it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

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

    assert [place for _, place in runner.scanned(query)] == [f"{folder}/a.parquet"] * 20 + [f"{folder}/a.csv"]


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
    whole = [["files", f"{folder}/{name}.parquet"] for name in ("a", "b")]

    assert runner.scans(plan) == whole
    for size in range(len(plan)):
        assert runner.scans(plan[:size]) in ([], whole)
