"""What the page for those who come from pandas says of pandas in ``@task``, and of this package beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, task

from airflow_provider_polars import CsvSink, polars_task
from tests.harness.dag_run import xcom
from tests.unit.guide import DOCS, blocks, code, section, table

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

PAGE = DOCS / "coming-from-pandas.md"
ROWS = 100_000


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Return a folder with two files of orders."""
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "monday.csv").write_text("customer,amount,status\nbob,20,paid\nann,5,open\n")
    (folder / "tuesday.csv").write_text("customer,amount,status\nann,10,paid\nbob,7,paid\n")
    return folder


def dag_of_page(title: str, orders: Path, lake: Path) -> DAG:
    """Return a DAG of the page, with its folders."""
    (text,) = (block.text for block in blocks("python", [PAGE]) if block.title == title)
    namespace: dict[str, Any] = {"__name__": "docs"}
    text = text.replace("/raw/orders", str(orders)).replace("/lake", str(lake))
    exec(re.sub(r"^(with_\w+)\(\)$", r"made = \1()", text, flags=re.MULTILINE), namespace)
    dag: DAG = namespace["made"]
    return dag


def test_both_sides_compute_the_same(dag_test: Callable[..., DagRun], orders: Path, tmp_path: Path) -> None:
    written = []
    for title in ("with pandas", "with this package"):
        lake = tmp_path / title.split()[-1]
        lake.mkdir()
        assert dag_test(dag_of_page(title, orders, lake)).state == "success"
        written.append((lake / "by_customer.csv").read_text())
    assert written == ["customer,amount\nann,10\nbob,27\n"] * 2


def test_a_dag_has_tasks_of_both(dag_test: Callable[..., DagRun], orders: Path, tmp_path: Path) -> None:
    run = dag_test(dag_of_page("both", orders, tmp_path))
    assert run.state == "success"
    assert xcom(run, "largest") == 20
    assert xcom(run, "of_pandas")["head"] == [{"largest": 20}]


def test_rows_of_pandas_go_through_xcom_and_those_of_polars_do_not(in_memory_airflow: InMemoryAirflow) -> None:
    @task
    def with_pandas() -> Any:
        return pd.DataFrame({"customer": range(ROWS), "amount": [number * 7 % 1000 for number in range(ROWS)]})

    @polars_task
    def with_polars() -> Any:
        return pl.select(customer=pl.int_range(ROWS), amount=pl.int_range(ROWS) * 7 % 1000).lazy()

    sizes = []
    for make in (with_pandas, with_polars):
        outcome = in_memory_airflow.run_task(make())
        assert outcome.state == "success"
        stored = [value for key, value in in_memory_airflow.xcoms.items() if key.key == "return_value"][-1]
        sizes.append(len(json.dumps(stored)))
    assert sizes[0] > 1_000_000
    assert sizes[1] <= 4096


def test_the_figure_is_that_of_the_benchmarks() -> None:
    measured = {row[0]: row[1] for row in table(section("benchmarks.md", "Queries"))}
    ratio = float(measured["`@task` with pandas / operator, ratio"])
    assert f"took pandas {ratio:.1f} times as long as the operator" in PAGE.read_text()


def test_only_the_columns_of_a_query_are_read_and_rows_are_filtered_meanwhile(orders: Path) -> None:
    query = pl.scan_csv(f"{orders}/*.csv").filter(pl.col("status") == "paid").select(pl.col("amount").sum())
    plan = query.explain()
    assert "PROJECT 2/3 COLUMNS" in plan
    assert "SELECTION" in plan
    assert list(pd.read_csv(orders / "monday.csv")) == ["customer", "amount", "status"]


def test_an_error_while_pandas_writes_leaves_half_a_file_and_ours_the_earlier_one(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path
) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise ValueError("in the middle")

    files = {name: tmp_path / f"{name}.csv" for name in ("pandas", "polars")}
    for file in files.values():
        file.write_text("the earlier result\n")

    @task
    def with_pandas(file: str) -> None:
        values: list[Any] = [*range(250_000), Unprintable(), *range(250_000)]
        pd.DataFrame({"a": pd.Series(values, dtype=object)}).to_csv(file, index=False)

    @polars_task(sink=CsvSink(str(files["polars"])))
    def with_polars() -> Any:
        rows = pl.select(a=pl.int_range(500_000)).lazy()
        return rows.select(pl.col("a").cast(pl.Int16, strict=True))

    for task_instance in (with_pandas(str(files["pandas"])), with_polars()):
        assert in_memory_airflow.run_task(task_instance).state == "failed"
    left = files["pandas"].read_text().splitlines()
    assert left[:2] == ["a", "0"]
    assert len(left) < 500_000
    assert files["polars"].read_text() == "the earlier result\n"


def test_a_missing_column_is_tried_again_in_pandas_and_not_here(
    in_memory_airflow: InMemoryAirflow, orders: Path
) -> None:
    @task(retries=3)
    def with_pandas(file: str) -> Any:
        return pd.read_csv(file)["price"].sum()

    @polars_task(retries=3)
    def with_polars(file: str) -> Any:
        return pl.scan_csv(file).select(pl.col("price").sum())

    ended = {}
    for make in (with_pandas, with_polars):
        outcome = in_memory_airflow.run_task(make(str(orders / "monday.csv")), max_tries=3)
        ended[type(outcome.error).__name__] = outcome.state
    assert ended == {"KeyError": "up_for_retry", "SchemaError": "failed"}


@pytest.mark.parametrize("row", table(section(PAGE.name, "In words of Polars")), ids=lambda row: code(row[0]))
def test_words_of_pandas_and_of_polars_mean_the_same(row: list[str]) -> None:
    rows = {"customer": ["ann", "bob", "ann"], "status": ["paid", "open", "paid"], "amount": [10, 20, 5]}
    other = {"customer": ["ann", "bob"], "town": ["Oslo", "Rome"]}
    pandas = eval(code(row[0]), {"pd": pd, "df": pd.DataFrame(rows), "other": pd.DataFrame(other)})
    lazy = eval(code(row[1]), {"pl": pl, "df": pl.LazyFrame(rows), "other": pl.LazyFrame(other)})
    polars = lazy.collect()
    assert polars.columns == list(pandas.columns)
    assert sorted(polars.rows()) == sorted(pandas.itertuples(index=False, name=None))


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.LazyFrame])
def test_airflow_does_not_take_frames_of_polars_from_a_plain_task(
    in_memory_airflow: InMemoryAirflow, kind: type[Any]
) -> None:
    @task
    def plain() -> Any:
        return kind({"a": [1]})

    assert in_memory_airflow.run_task(plain()).state == "failed"
