"""Sinks of tables with a transaction log."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_polars import DeltaSink, IcebergSink
from airflow_provider_polars.exceptions import ConfigurationError, UnsupportedSinkError
from airflow_provider_polars.query.sinks import Sink


@pytest.mark.parametrize(
    ("sink", "target", "uri"),
    [
        (DeltaSink("/lake/orders", mode="append"), "/lake/orders", "file:///lake/orders"),
        (DeltaSink("s3://lake/orders/", mode="error"), "s3://lake/orders/", "s3://lake/orders"),
        (IcebergSink("sales.orders", mode="append"), "iceberg://default/sales.orders", None),
        (IcebergSink("a.b.orders", mode="overwrite", catalog="prod"), "iceberg://prod/a.b.orders", None),
    ],
)
def test_a_table_has_a_target_and_an_asset(sink: Sink, target: str, uri: str | None) -> None:
    assert sink.target == target
    assert sink.asset().uri == (uri or target)


@pytest.mark.parametrize(("sink", "path"), [(DeltaSink, "/lake/orders"), (IcebergSink, "sales.orders")])
def test_how_a_table_is_written_is_never_guessed(sink: type[Sink], path: str) -> None:
    with pytest.raises(TypeError, match="mode"):
        sink(path)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (DeltaSink, {"path": "orders"}, "DeltaSink(path=) is the relative path 'orders'"),
        (DeltaSink, {"mode": "apend"}, "must be one of append, overwrite, error, got 'apend'; did you mean 'append'?"),
        (DeltaSink, {"schema_mode": "mix"}, "DeltaSink(schema_mode=) must be one of merge, overwrite, got 'mix'"),
        (IcebergSink, {"table": "orders"}, "IcebergSink(table=) must be an identifier namespace.table, got 'orders'."),
        (IcebergSink, {"mode": "error"}, "IcebergSink(mode=) must be one of append, overwrite, got 'error'"),
        (
            IcebergSink,
            {"catalog_properties": {"url": "x"}},
            "has 'url'; did you mean 'uri'? Only type, uri, warehouse may",
        ),
        (IcebergSink, {"catalog_properties": {"py-io-impl": "x"}}, "belongs into the configuration of PyIceberg"),
        (IcebergSink, {"aws_conn_id": "aws"}, "IcebergSink(aws_conn_id=) has no use: PyIceberg takes the storage"),
        (IcebergSink, {"catalog_properties": {"token": "x"}}, "'token', which looks like a secret"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_the_sink_and_the_field(
    kind: type[Sink], fields: dict[str, Any], message: str
) -> None:
    required = {"path": "/lake/orders"} if kind is DeltaSink else {"table": "sales.orders"}
    with pytest.raises(ConfigurationError) as caught:
        kind(**{**required, "mode": "append", **fields})
    assert message in str(caught.value)


@pytest.mark.parametrize("template", ["{{ params.table }}", "sales.{{ params.table }}", "{{ params.schema }}_orders"])
def test_a_templated_table_is_checked_once_it_is_rendered(template: str) -> None:
    sink = IcebergSink(template, mode="append")
    assert sink.map_templates(lambda _: "sales.orders").table == "sales.orders"
    with pytest.raises(ConfigurationError, match=r"must be an identifier namespace\.table"):
        sink.map_templates(lambda _: "orders")


def test_an_iceberg_result_is_read_with_its_table_and_catalog() -> None:
    sink = IcebergSink(
        "sales.orders", mode="append", catalog_properties={"type": "rest", "uri": "https://catalog.invalid"}
    )
    assert sink.scan_options() == {
        "table": "sales.orders",
        "catalog": "default",
        "catalog_properties": {"type": "rest", "uri": "https://catalog.invalid"},
    }


@pytest.mark.parametrize("kind", ["cloud", "cluster", "slurm", "dask", "polarway"])
def test_delta_is_for_the_embedded_compute_and_parquet_is_named_for_the_others(kind: str) -> None:
    with pytest.raises(UnsupportedSinkError) as caught:
        DeltaSink("/lake/orders", mode="append").check_compute(kind)
    assert str(caught.value) == (
        f"DeltaSink cannot be written by {kind!r} compute; it can by: local. Use ParquetSink there instead."
    )


@pytest.mark.parametrize(("kind", "can"), [("local", True), ("cloud", True), ("cluster", True), ("dask", False)])
def test_iceberg_is_written_where_polars_has_it(kind: str, can: bool) -> None:
    assert (kind in IcebergSink.computes) is can
