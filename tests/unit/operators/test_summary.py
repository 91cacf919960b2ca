"""The table that a task writes into its log at its end: what it says, and that it lines up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.compute_lifecycle import Usage
from airflow_provider_polars.operators.summary import Ended, Summary, cost
from airflow_provider_polars.query.result import ResultRef

USAGE = Usage(compute_id="i-1", minutes=1.5, vcpus=8, end="StoppedByUser")


def ended(output: str = "return_value", **fields: Any) -> Ended:
    """Return a query that has written ten thousand rows."""
    number = {"return_value": 1, "orders": 2, "customers": 3}[output]
    given = {
        "locations": [f"s3://lake/{output}.parquet"],
        "root": "s3://lake/",
        "format": "parquet",
        "rows": 10_000,
        "bytes": 123_456,
        "schema": [],
        "timings": {"queue": 0.1, "run": 11.9},
    }
    link = fields.pop("link", "")
    result = ResultRef.build(**{**given, **fields}, query_id=f"q-{number}")
    return Ended(query_id=f"q-{number}", output=output, seconds=12.345, result=result, link=link)


def table(*queries: Ended, used: str = "", where: str = "instance i-1, direct mode, 8 vCPUs") -> str:
    """Return the lines of a summary as one text."""
    return "\n".join(Summary(queries=queries, where=where).lines(used))


def test_one_query_has_a_line_for_each_fact() -> None:
    statistics = {"bytes_shuffled": 5_000, "rows_read": 1_000_000, "stages": 3, "bytes_read": 2_000_000}
    query = ended(statistics=statistics, link="https://cloud.pola.rs/portal/q-1")
    assert table(query, used=cost(USAGE, 0.05)).splitlines() == [
        "Summary of query q-1",
        "  rows     10,000",
        "  size     123,456 bytes in 1 file, parquet",
        "  written  s3://lake/return_value.parquet",
        "  time     12.35 s: queue 0.10, run 11.90",
        "  work     3 stages, 1,000,000 rows read, 2,000,000 bytes read, 5,000 bytes shuffled",
        "  ran on   instance i-1, direct mode, 8 vCPUs",
        "  used     1.50 minutes of 8 vCPUs, cost 0.01",
        "  link     https://cloud.pola.rs/portal/q-1",
    ]


def test_what_nobody_tells_has_no_line() -> None:
    query = ended(rows=None, bytes=None, timings={})
    assert table(query, where="cluster http://polars:5051").splitlines() == [
        "Summary of query q-1",
        "  rows     ?",
        "  size     1 file, parquet",
        "  written  s3://lake/return_value.parquet",
        "  time     12.35 s",
        "  ran on   cluster http://polars:5051",
    ]


def test_several_queries_are_rows_of_a_table_and_share_what_they_ran_on() -> None:
    customers = ended(
        "customers", rows=7, bytes=None, timings={"queue": 0.2, "plan": 0.1, "run": 1.0}, statistics={"stages": 2}
    )
    orders = ended("orders", timings={"queue": 0.1, "run": 100.0}, statistics={"stages": 3, "rows_read": 20_000})
    assert table(customers, orders, used="1.50 minutes of 8 vCPUs").splitlines() == [
        "Summary of 2 queries",
        "  output       rows    bytes  files  seconds  queue  plan     run  stages  rows read  format   written"
        "                      query",
        "  customers       7        ?      1    12.35   0.20  0.10    1.00       2             parquet  "
        "s3://lake/customers.parquet  q-3",
        "  orders     10,000  123,456      1    12.35   0.10        100.00       3     20,000  parquet  "
        "s3://lake/orders.parquet     q-2",
        "  ran on  instance i-1, direct mode, 8 vCPUs",
        "  used    1.50 minutes of 8 vCPUs",
    ]


def test_of_many_files_three_are_named() -> None:
    query = ended(locations=[f"/lake/part-{number}" for number in range(5)], root="/lake/")
    assert "  size     123,456 bytes in 5 files, parquet" in table(query)
    assert "  written  /lake/part-0, /lake/part-1, /lake/part-2 and 2 more" in table(query)


@pytest.mark.parametrize(
    ("usage", "price", "words"),
    [
        (USAGE, None, "1.50 minutes of 8 vCPUs"),
        (USAGE, 0.0, "1.50 minutes of 8 vCPUs, cost 0"),
        (Usage(compute_id="i-1", minutes=1.5, vcpus=None, end=""), 0.05, "1.50 minutes"),
        (None, 0.05, "not known: that its compute has ended is not confirmed"),
    ],
)
def test_what_a_compute_of_its_own_has_cost(usage: Usage | None, price: float | None, words: str) -> None:
    assert cost(usage, price) == words


def test_the_guide_explains_every_line_and_shows_them_in_their_order() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "long-queries.md").read_text()
    section = page.partition("### The summary\n")[2].partition("\n### ")[0]
    example = section.partition("```text\n")[2].partition("```")[0].splitlines()
    explained = re.findall(r"^\| `([a-z ]+)` \|", section, re.MULTILINE)

    lines = table(ended(statistics={"stages": 3}, link="https://cloud.pola.rs/portal/q-1"), used="1.50 minutes")

    names = [line[2:9].strip() for line in lines.splitlines()[1:]]
    assert explained == names
    assert [line[2:9].strip() for line in example[1:]] == names
