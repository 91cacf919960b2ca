"""Delta and Iceberg tables: what a run appends is appended once, however often it is tried."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog

from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.exceptions import QueryFailedError, SchemaError
from airflow_provider_polars.query.table_sinks import DeltaSink, IcebergSink
from tests.unit.backends.local_runs import IN_CHILD, IN_PROCESS, read, run_one

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

both = pytest.mark.parametrize("compute", [IN_PROCESS, IN_CHILD], ids=["in process", "in a child"])


def rows() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2], "key": ["x", "y"]})


def wider_rows() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2], "key": ["x", "y"], "price": [1.5, 2.5]})


def no_rows() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2], "key": ["x", "y"]}).filter(pl.col("id") > 2)


def never_run() -> pl.LazyFrame:
    def fail(_: Any) -> Any:
        raise AssertionError("the query ran again")

    return pl.LazyFrame({"id": [1, 2], "key": ["x", "y"]}).map_batches(fail)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "table")


@both
def test_a_delta_append_is_done_once_per_run_and_task(table: str, compute: LocalCompute) -> None:
    sink = DeltaSink(table, mode="append")
    first = run_one(rows, sink, compute, mark="run 1")

    again = run_one(never_run, sink, compute, mark="run 1")

    assert (first.rows, again.rows) == (2, 2)
    assert DeltaTable(table).version() == 0
    other = run_one(rows, sink, compute, mark="run 2")
    assert other.rows == 4
    assert read(other).sort("id").rows() == [(1, "x"), (1, "x"), (2, "y"), (2, "y")]


def test_a_delta_result_stays_what_it_was_when_the_table_grows(table: str) -> None:
    sink = DeltaSink(table, mode="append")
    first = run_one(rows, sink, mark="run 1")

    run_one(rows, sink, mark="run 2")

    assert read(first).sort("id").equals(rows().collect())


def test_a_delta_overwrite_replaces_the_rows_on_every_try(table: str) -> None:
    run_one(rows, DeltaSink(table, mode="append"))

    for _ in range(2):
        result = run_one(rows, DeltaSink(table, mode="overwrite"))

    assert result.rows == 2
    assert DeltaTable(table).version() == 2


def test_a_delta_table_is_made_with_the_partitions_asked_for(table: str) -> None:
    result = run_one(rows, DeltaSink(table, mode="error", partition_by=("key",)))

    assert DeltaTable(table).metadata().partition_columns == ["key"]
    assert read(result).sort("id").equals(rows().collect())


def test_delta_mode_error_refuses_a_table_that_exists(table: str) -> None:
    run_one(rows, DeltaSink(table, mode="error"))

    with pytest.raises(QueryFailedError, match="already exists"):
        run_one(rows, DeltaSink(table, mode="error"), mark="run 2")

    assert DeltaTable(table).version() == 0


def test_a_schema_that_does_not_fit_the_delta_table_fails_for_good_and_writes_nothing(table: str) -> None:
    run_one(wider_rows, DeltaSink(table, mode="append"))

    with pytest.raises(SchemaError, match="does not fit"):
        run_one(rows, DeltaSink(table, mode="overwrite"), mark="run 2")

    assert DeltaTable(table).version() == 0


def test_delta_schema_mode_widens_or_replaces_the_columns(table: str) -> None:
    run_one(rows, DeltaSink(table, mode="append"), mark="run 1")

    merged = run_one(wider_rows, DeltaSink(table, mode="append", schema_mode="merge"), mark="run 2")
    replaced = run_one(rows, DeltaSink(table, mode="overwrite", schema_mode="overwrite"), mark="run 3")

    assert (merged.rows, [name for name, _ in merged.schema]) == (4, ["id", "key", "price"])
    assert (replaced.rows, [name for name, _ in replaced.schema]) == (2, ["id", "key"])


def test_an_append_of_no_rows_keeps_the_delta_table_and_counts_as_done(table: str) -> None:
    assert run_one(no_rows, DeltaSink(table, mode="append"), mark="run 1").rows == 0

    assert run_one(rows, DeltaSink(table, mode="append"), mark="run 2").rows == 2
    assert run_one(never_run, DeltaSink(table, mode="append"), mark="run 1").rows == 2


@pytest.fixture
def catalog_properties(tmp_path: Path) -> dict[str, str]:
    return {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": f"file://{tmp_path}/warehouse",
    }


@pytest.fixture
def catalog(catalog_properties: dict[str, str]) -> Catalog:
    """Return a catalog with the empty table ``shop.orders``."""
    catalog = load_catalog("default", **catalog_properties)
    catalog.create_namespace("shop")
    schema = rows().collect().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    catalog.create_table("shop.orders", schema=schema)
    return catalog


@both
def test_an_iceberg_append_is_done_once_per_run_and_task(
    catalog: Catalog, catalog_properties: dict[str, str], compute: LocalCompute
) -> None:
    sink = IcebergSink("shop.orders", mode="append", catalog_properties=catalog_properties)
    first = run_one(rows, sink, compute, mark="run 1")

    again = run_one(never_run, sink, compute, mark="run 1")

    assert (first.rows, again.rows) == (2, 2)
    other = run_one(rows, sink, mark="run 2")
    assert (other.rows, read(first).height, read(other).height) == (4, 2, 4)
    assert len(catalog.load_table("shop.orders").snapshots()) == 2


def test_an_iceberg_overwrite_replaces_the_rows(catalog: Catalog, catalog_properties: dict[str, str]) -> None:
    run_one(rows, IcebergSink("shop.orders", mode="append", catalog_properties=catalog_properties))

    for mark in ("run 2", "run 2"):
        sink = IcebergSink("shop.orders", mode="overwrite", catalog_properties=catalog_properties)
        result = run_one(rows, sink, mark=mark)

    assert result.rows == 2
    assert read(result).equals(rows().collect())


def test_an_iceberg_table_that_does_not_exist_is_named(catalog: Catalog, catalog_properties: dict[str, str]) -> None:
    sink = IcebergSink("shop.nothing", mode="append", catalog_properties=catalog_properties)

    with pytest.raises(QueryFailedError, match=r"shop\.nothing"):
        run_one(rows, sink)
