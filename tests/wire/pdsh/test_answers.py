"""The queries give the answers that DuckDB gave to the specification's SQL on the same files.

All rows of all 22 were compared once; of each answer its number of rows and one total are kept here.
"""

from __future__ import annotations

from decimal import Decimal
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.wire.pdsh.data import Tables, scan
from tests.wire.pdsh.queries import QUERIES, Query

FROM_DUCKDB = {
    "q1": (4, pl.sum("sum_charge"), Decimal("21049021502.313513")),
    "q2": (44, pl.sum("s_acctbal"), Decimal("219612.66")),
    "q3": (10, pl.sum("revenue"), Decimal("3340361.8233")),
    "q4": (5, pl.sum("order_count"), 5093),
    "q5": (5, pl.sum("revenue"), Decimal("30276617.6762")),
    "q6": (1, pl.sum("revenue"), Decimal("11803420.2534")),
    "q7": (4, pl.sum("revenue"), Decimal("21652145.5395")),
    "q8": (2, pl.sum("mkt_share"), pytest.approx(0.046899020413579705, rel=1e-12)),
    "q9": (175, pl.sum("sum_profit"), Decimal("679515072.2239")),
    "q10": (20, pl.sum("revenue"), Decimal("8850572.2316")),
    "q11": (22, pl.sum("value"), Decimal("272134501.22")),
    "q12": (2, pl.sum("high_line_count"), 1267),
    "q13": (37, (pl.col("c_count") * pl.col("custdist")).sum(), 148318),
    "q14": (1, pl.sum("promo_revenue"), pytest.approx(16.283855689005982, rel=1e-12)),
    "q15": (1, pl.sum("total_revenue"), Decimal("1614410.2928")),
    "q16": (2762, pl.sum("supplier_cnt"), 11632),
    "q17": (1, pl.sum("avg_yearly"), pytest.approx(23512.752857142856, rel=1e-12)),
    "q18": (5, pl.sum("o_totalprice"), Decimal("2129509.59")),
    "q19": (1, pl.sum("revenue"), Decimal("168597.2860")),
    "q20": (9, pl.col("s_name").str.slice(9).cast(pl.Int64).sum(), 4325),
    "q21": (47, pl.sum("numwait"), 465),
    "q22": (7, pl.sum("totacctbal"), Decimal("4809706.95")),
}

all_queries = pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])


@pytest.fixture(scope="module")
def tables(pdsh_data: Path) -> Tables:
    return scan(pdsh_data)


@all_queries
def test_answer_is_that_of_the_sql(name: str, query: Query, tables: Tables) -> None:
    rows, total, expected = FROM_DUCKDB[name]

    answer = query(tables).collect()

    assert answer.height == rows
    assert answer.select(total).item() == expected


@all_queries
def test_engines_agree_to_the_last_digit(name: str, query: Query, tables: Tables) -> None:
    in_memory = query(tables).collect(engine="in-memory")

    streamed = query(tables).collect(engine="streaming")

    assert_frame_equal(streamed, in_memory, check_exact=True)


@all_queries
def test_plan_can_be_sent_elsewhere(name: str, query: Query, tables: Tables) -> None:
    sent = query(tables).serialize()

    received = pl.LazyFrame.deserialize(BytesIO(sent))

    assert_frame_equal(received.collect(), query(tables).collect(), check_exact=True)
