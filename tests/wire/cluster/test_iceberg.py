"""Iceberg tables, written and read by the cluster; their catalogs, which travel with the plan."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from airflow_provider_polars import ClusterCompute, IcebergSink, LocalCompute
from tests.unit.outcomes import failure, rows, succeeded

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.cluster.conftest import Plans, Run

ROWS = pl.DataFrame({"id": range(100), "name": [f"n{number}" for number in range(100)]})
SECRET = "correct-horse-battery-staple"


@pytest.fixture
def properties(tmp_path: Path) -> dict[str, str]:
    """Return what says where a catalog with the empty table ``sales.orders`` is."""
    from pyiceberg.catalog import load_catalog

    properties = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/lake"}
    catalog = load_catalog("lake", **properties)
    catalog.create_namespace("sales")
    catalog.create_table("sales.orders", schema=ROWS.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)
    return properties


@pytest.fixture
def sink(properties: dict[str, str]) -> IcebergSink:
    """Return the table as a sink."""
    return IcebergSink("sales.orders", mode="append", catalog="lake", catalog_properties=properties)


def configure(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Set a property of the catalog in PyIceberg's own configuration, which it reads as it is imported."""
    import pyiceberg.catalog
    from pyiceberg.utils.config import Config

    monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{name}", value)
    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())


@pytest.mark.parametrize("distributed", [None, True, False])
def test_rows_are_appended_and_the_snapshot_is_read_back(run: Run, sink: IcebergSink, distributed: Any) -> None:
    first = succeeded(run(ROWS.lazy(), sink=sink, distributed=distributed))
    second = succeeded(run(ROWS.lazy().head(10), sink=sink, distributed=distributed))

    assert first["locations"] == ["iceberg://lake/sales.orders"]
    assert first["format"] == "iceberg"
    for result, count in ((first, 100), (second, 110)):
        for options in ({}, {"compute": LocalCompute()}):
            read = succeeded(run(lambda table: table.select(pl.len()), result, **options))
            assert rows(read) == [{"len": count}]


def test_a_table_is_overwritten(run: Run, sink: IcebergSink, properties: dict[str, str]) -> None:
    succeeded(run(ROWS.lazy(), sink=sink))
    whole = IcebergSink("sales.orders", mode="overwrite", catalog="lake", catalog_properties=properties)

    result = succeeded(run(ROWS.lazy().head(3), sink=whole))

    read = succeeded(run(lambda table: table.sort("id"), result))
    assert_frame_equal(pl.read_parquet(read["locations"][0]), ROWS.head(3))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("TOKEN", SECRET, "token"),
        ("S3__SECRET_ACCESS_KEY", SECRET, "s3.secret-access-key"),
        ("PROXY", f"https://ada:{SECRET}@proxy.invalid", "proxy"),
    ],
)
def test_a_catalog_with_a_secret_does_not_travel(
    run: Run,
    polars_dev_cluster: DevCluster,
    sink: IcebergSink,
    plans: Plans,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    shown: str,
) -> None:
    written = succeeded(run(ROWS.lazy(), sink=sink))
    assert plans.pop().count(b"sales.orders") > 0
    configure(monkeypatch, name, value)

    outcomes = [run(ROWS.lazy(), sink=sink), run(lambda table: table, written)]

    for outcome in outcomes:
        assert failure(outcome) == (
            f"ConfigurationError: The catalog 'lake' has secrets in PyIceberg's configuration here ({shown}), which "
            "would travel to the cluster inside of the plan. Remove them there, so that the cluster reaches catalog "
            "and store with a role of its own, or allow it with ClusterCompute(send_credentials=True)."
        )
    assert len(polars_dev_cluster.recorder.submissions) == 1
    assert not [plan for plan in plans if SECRET.encode() in plan]


def test_a_catalog_with_a_secret_does_not_travel_in_clear(
    run: Run,
    cluster: ClusterCompute,
    polars_dev_cluster: DevCluster,
    sink: IcebergSink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(monkeypatch, "TOKEN", SECRET)
    compute = dataclasses.replace(cluster, send_credentials=True)

    outcome = run(ROWS.lazy(), sink=sink, compute=compute)

    assert failure(outcome) == (
        "ConfigurationError: send_credentials=True would send the secrets of the catalog 'lake' in clear to "
        f"{polars_dev_cluster.uri}. Use https:// and a certificate that is verified, or let the cluster use a role of "
        "its own."
    )
    assert polars_dev_cluster.recorder.submissions == []


def test_a_table_that_does_not_exist_is_named(run: Run, properties: dict[str, str]) -> None:
    missing = IcebergSink("sales.nothing", mode="append", catalog="lake", catalog_properties=properties)

    assert "sales.nothing" in failure(run(ROWS.lazy(), sink=missing))
