"""Locations become data sets, and data sets get names."""

from __future__ import annotations

import json

import pytest

from airflow_provider_polars.lineage.naming import name_of
from airflow_provider_polars.query.datasets import MAX_BYTES, all_inputs, datasets
from airflow_provider_polars.query.source import Input, Query, SqlSource

NOTHING = Query(SqlSource(""))
"""A query without arguments."""


def _parquet(place: str) -> Input:
    return Input(scan={"format": "parquet", "locations": [place]})


@pytest.mark.parametrize(
    ("locations", "names"),
    [
        (["/lake/orders.parquet"], ["/lake/orders.parquet"]),
        (["file:///lake/all%20orders.csv"], ["/lake/all orders.csv"]),
        (["/lake/orders/"], ["/lake/orders"]),
        (["/lake/orders/*.csv"], ["/lake/orders"]),
        (["s3://lake/orders/**/*.parquet"], ["s3://lake/orders"]),
        (["s3://lake/*.parquet"], ["s3://lake"]),
        (["s3://lake/orders/day=1/00000000.parquet"], ["s3://lake/orders"]),
        (["/lake/orders/code=A[*]/00000000.parquet"], ["/lake/orders"]),
        (["/lake/orders/00000000.parquet"], ["/lake/orders"]),
        (["/lake/orders/9f1c2d34-0a1b-4c5d-8e9f-0123456789ab-0000.parquet"], ["/lake/orders"]),
        (["/lake/orders/20260101.parquet"], ["/lake/orders/20260101.parquet"]),
        (["/lake/a[[]1].csv"], ["/lake/a[1].csv"]),
        (["/lake/a.csv", "/lake/b.csv"], ["/lake"]),
        (["/lake/a.csv", "/lake/a.csv"], ["/lake/a.csv"]),
        (["/lake/a.csv", "/raw/b.csv"], ["/lake/a.csv", "/raw/b.csv"]),
        (["/lake/orders/*.csv", "/lake/returns/*.csv"], ["/lake/orders", "/lake/returns"]),
        (["/lake/orders/", "/lake/returns/"], ["/lake/orders", "/lake/returns"]),
        (["/"], [""]),
    ],
)
def test_files_are_told_by_what_they_are_a_part_of(locations: list[str], names: list[str]) -> None:
    assert datasets("files", locations) == [("files", name) for name in names]


@pytest.mark.parametrize(
    ("location", "public"),
    [
        ("https://user:secret@lake.invalid/orders.csv?signature=secret#part", "https://lake.invalid/orders.csv"),
        ("https://token@lake.invalid/orders.csv", "https://lake.invalid/orders.csv"),
        ("s3://key:secret@lake/orders.csv", "s3://lake/orders.csv"),
        ("abfss://lake@account.dfs.core.windows.net/a.csv", "abfss://lake@account.dfs.core.windows.net/a.csv"),
    ],
)
def test_a_location_is_told_without_its_secrets(location: str, public: str) -> None:
    assert datasets("files", [location]) == [("files", public)]


@pytest.mark.parametrize("metadata", ["v1.metadata.json", "v1.gz.metadata.json", "v1.metadata.json.gz"])
def test_an_iceberg_table_is_told_by_its_folder(metadata: str) -> None:
    assert datasets("iceberg", [f"s3://lake/sales/orders/metadata/{metadata}"]) == [
        ("iceberg", "s3://lake/sales/orders")
    ]


def test_what_is_an_argument_and_in_the_plan_is_one_input() -> None:
    orders = _parquet("/lake/orders/00000000.parquet")
    table = Input(scan={"format": "iceberg", "locations": ["iceberg://lake/sales.customers"]})
    query = Query(SqlSource(""), kwargs={"orders": orders, "nested": [table]})

    inputs = all_inputs(
        query,
        [
            ["files", "/lake/orders/00000000.parquet"],
            ["iceberg", "s3://lake/sales/customers/metadata/v1.metadata.json"],
            ["iceberg", "s3://lake/sales/others/metadata/v1.metadata.json"],
            ["delta", "/lake/prices"],
        ],
    )

    assert inputs == [
        ["files", "/lake/orders"],
        ["iceberg", "iceberg://lake/sales.customers"],
        ["iceberg", "s3://lake/sales/others"],
        ["delta", "/lake/prices"],
    ]


@pytest.mark.parametrize("folder", ["/lake", "s3://lake"])
def test_what_lies_in_one_folder_is_told_each_unless_one_scan_lists_it(folder: str) -> None:
    first, second, third, fourth = (f"{folder}/{name}.parquet" for name in ("a", "b", "c", "d"))
    query = Query(SqlSource(""), kwargs={"one": _parquet(first), "other": _parquet(second)})

    assert all_inputs(query, [["files", first], ["files", second]]) == [["files", first], ["files", second]]
    assert all_inputs(NOTHING, [["files", third], ["files", fourth]]) == [["files", third], ["files", fourth]]
    assert all_inputs(NOTHING, [["files", third, fourth]]) == [["files", folder]]


@pytest.mark.parametrize(
    ("argument", "scanned", "name"),
    [
        ("/lake/orders/", "/lake/orders/part.parquet", "/lake/orders"),
        ("/lake/orders", "/lake/orders/day=1/part.parquet", "/lake/orders"),
        ("s3://lake/orders/", "s3://lake/orders/**/*.parquet", "s3://lake/orders"),
        ("/lake/*.parquet", "/lake/a.parquet", "/lake"),
        ("/lake/**/*.parquet", "/lake/a.parquet", "/lake"),
        ("/lake/a[1].parquet", "/lake/a[[]1].parquet", "/lake"),
        ("https://user:secret@lake.invalid/a.parquet", "https://user:secret@lake.invalid/a.parquet", None),
    ],
)
def test_a_scan_of_an_argument_is_no_further_input(argument: str, scanned: str, name: str | None) -> None:
    query = Query(SqlSource(""), kwargs={"orders": _parquet(argument)})

    assert all_inputs(query, [["files", scanned]]) == [["files", name or "https://lake.invalid/a.parquet"]]


def test_a_file_beside_an_argument_is_a_further_input() -> None:
    query = Query(SqlSource(""), kwargs={"orders": _parquet("/lake/orders.parquet")})

    for place in ("/lake/orders.parquet.old", "/lake/customers.parquet"):
        assert all_inputs(query, [["files", place]]) == [["files", "/lake/orders.parquet"], ["files", place]]


def test_inputs_are_kept_up_to_a_limit() -> None:
    many = [["files", f"/lake/{number}/orders.csv"] for number in range(1000)]

    kept = all_inputs(NOTHING, many)

    assert kept == many[: len(kept)]
    assert MAX_BYTES * 0.9 < len(json.dumps(kept)) <= MAX_BYTES


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/lake/orders", ("file", "/lake/orders")),
        ("s3://lake/orders", ("s3://lake", "orders")),
        ("s3a://lake/orders", ("s3://lake", "orders")),
        ("s3://lake", ("s3://lake", "/")),
        ("gs://lake/orders", ("gs://lake", "orders")),
        ("gcs://lake/orders", ("gs://lake", "orders")),
        (
            "abfss://lake@account.dfs.core.windows.net/orders",
            ("abfss://lake@account.dfs.core.windows.net", "orders"),
        ),
        ("https://lake.invalid/orders.csv", ("https://lake.invalid", "orders.csv")),
        ("iceberg://lake/sales.orders", ("iceberg://lake", "sales.orders")),
    ],
)
def test_names_are_those_of_openlineage(location: str, name: tuple[str, str]) -> None:
    assert name_of(("files", location)) == name
