"""Queries 1 to 11."""

from __future__ import annotations

from datetime import date

import polars as pl

from tests.wire.pdsh.data import Tables
from tests.wire.pdsh.expressions import DELIVERED_LATE, DISCOUNTED_PRICE, REVENUE, STOCK_VALUE, as_float, mean


def q1(tables: Tables) -> pl.LazyFrame:
    """Pricing summary report."""
    charge = DISCOUNTED_PRICE.cast(pl.Decimal(38, 6)) * (1 + pl.col("l_tax"))
    return (
        tables.lineitem.filter(pl.col("l_shipdate") <= date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            sum_qty=pl.col("l_quantity").sum(),
            sum_base_price=pl.col("l_extendedprice").sum(),
            sum_disc_price=DISCOUNTED_PRICE.sum(),
            sum_charge=charge.sum(),
            avg_qty=mean(pl.col("l_quantity")),
            avg_price=mean(pl.col("l_extendedprice")),
            avg_disc=mean(pl.col("l_discount")),
            count_order=pl.len(),
        )
        .sort("l_returnflag", "l_linestatus")
    )


def q2(tables: Tables) -> pl.LazyFrame:
    """Minimum cost supplier."""
    brass = tables.part.filter(pl.col("p_size") == 15, pl.col("p_type").str.ends_with("BRASS"))
    offers = (
        tables.region.filter(pl.col("r_name") == "EUROPE")
        .join(tables.nation, left_on="r_regionkey", right_on="n_regionkey")
        .join(tables.supplier, left_on="n_nationkey", right_on="s_nationkey")
        .join(tables.partsupp, left_on="s_suppkey", right_on="ps_suppkey")
        .join(brass, left_on="ps_partkey", right_on="p_partkey")
    )
    cheapest = offers.group_by("ps_partkey").agg(lowest_cost=pl.col("ps_supplycost").min())
    return (
        offers.join(cheapest, on="ps_partkey")
        .filter(pl.col("ps_supplycost") == pl.col("lowest_cost"))
        .rename({"ps_partkey": "p_partkey"})
        .sort("s_acctbal", "n_name", "s_name", "p_partkey", descending=[True, False, False, False])
        .select("s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment")
        .head(100)
    )


def q3(tables: Tables) -> pl.LazyFrame:
    """Orders to ship first."""
    day = date(1995, 3, 15)
    return (
        tables.customer.filter(pl.col("c_mktsegment") == "BUILDING")
        .join(tables.orders.filter(pl.col("o_orderdate") < day), left_on="c_custkey", right_on="o_custkey")
        .join(tables.lineitem.filter(pl.col("l_shipdate") > day), left_on="o_orderkey", right_on="l_orderkey")
        .group_by(pl.col("o_orderkey").alias("l_orderkey"), "o_orderdate", "o_shippriority")
        .agg(REVENUE)
        .select("l_orderkey", "revenue", "o_orderdate", "o_shippriority")
        .sort("revenue", "o_orderdate", "l_orderkey", descending=[True, False, False])
        .head(10)
    )


def q4(tables: Tables) -> pl.LazyFrame:
    """Check of order priorities."""
    return (
        tables.orders.filter(pl.col("o_orderdate").is_between(date(1993, 7, 1), date(1993, 10, 1), closed="left"))
        .join(tables.lineitem.filter(DELIVERED_LATE), left_on="o_orderkey", right_on="l_orderkey", how="semi")
        .group_by("o_orderpriority")
        .agg(order_count=pl.len())
        .sort("o_orderpriority")
    )


def q5(tables: Tables) -> pl.LazyFrame:
    """Volume of local suppliers."""
    orders = tables.orders.filter(pl.col("o_orderdate").is_between(date(1994, 1, 1), date(1994, 12, 31)))
    return (
        tables.region.filter(pl.col("r_name") == "ASIA")
        .join(tables.nation, left_on="r_regionkey", right_on="n_regionkey")
        .join(tables.customer, left_on="n_nationkey", right_on="c_nationkey")
        .join(orders, left_on="c_custkey", right_on="o_custkey")
        .join(tables.lineitem, left_on="o_orderkey", right_on="l_orderkey")
        .join(tables.supplier, left_on=["l_suppkey", "n_nationkey"], right_on=["s_suppkey", "s_nationkey"])
        .group_by("n_name")
        .agg(REVENUE)
        .sort("revenue", "n_name", descending=[True, False])
    )


def q6(tables: Tables) -> pl.LazyFrame:
    """Change of revenue that was forecast."""
    saved = pl.col("l_extendedprice").cast(pl.Decimal(38, 4)) * pl.col("l_discount")
    return tables.lineitem.filter(
        pl.col("l_shipdate").is_between(date(1994, 1, 1), date(1994, 12, 31)),
        pl.col("l_discount").is_between(0.05, 0.07),
        pl.col("l_quantity") < 24,
    ).select(revenue=saved.sum())


def q7(tables: Tables) -> pl.LazyFrame:
    """Volume shipped between two nations."""
    nations = tables.nation.filter(pl.col("n_name").is_in(["FRANCE", "GERMANY"]))
    suppliers = tables.supplier.join(nations, left_on="s_nationkey", right_on="n_nationkey").select(
        "s_suppkey", supp_nation="n_name"
    )
    customers = tables.customer.join(nations, left_on="c_nationkey", right_on="n_nationkey").select(
        "c_custkey", cust_nation="n_name"
    )
    return (
        tables.lineitem.filter(pl.col("l_shipdate").is_between(date(1995, 1, 1), date(1996, 12, 31)))
        .join(suppliers, left_on="l_suppkey", right_on="s_suppkey")
        .join(tables.orders, left_on="l_orderkey", right_on="o_orderkey")
        .join(customers, left_on="o_custkey", right_on="c_custkey")
        .filter(pl.col("supp_nation") != pl.col("cust_nation"))
        .group_by("supp_nation", "cust_nation", l_year=pl.col("l_shipdate").dt.year())
        .agg(REVENUE)
        .sort("supp_nation", "cust_nation", "l_year")
    )


def q8(tables: Tables) -> pl.LazyFrame:
    """Market share of a nation."""
    americans = (
        tables.region.filter(pl.col("r_name") == "AMERICA")
        .join(tables.nation, left_on="r_regionkey", right_on="n_regionkey")
        .join(tables.customer, left_on="n_nationkey", right_on="c_nationkey")
        .select("c_custkey")
    )
    brazilian = DISCOUNTED_PRICE.filter(pl.col("n_name") == "BRAZIL")
    return (
        tables.part.filter(pl.col("p_type") == "ECONOMY ANODIZED STEEL")
        .join(tables.lineitem, left_on="p_partkey", right_on="l_partkey")
        .join(tables.orders, left_on="l_orderkey", right_on="o_orderkey")
        .filter(pl.col("o_orderdate").is_between(date(1995, 1, 1), date(1996, 12, 31)))
        .join(americans, left_on="o_custkey", right_on="c_custkey")
        .join(tables.supplier, left_on="l_suppkey", right_on="s_suppkey")
        .join(tables.nation, left_on="s_nationkey", right_on="n_nationkey")
        .group_by(o_year=pl.col("o_orderdate").dt.year())
        .agg(mkt_share=as_float(brazilian.sum()) / as_float(DISCOUNTED_PRICE.sum()))
        .sort("o_year")
    )


def q9(tables: Tables) -> pl.LazyFrame:
    """Profit by nation and year on a line of parts."""
    cost = pl.col("ps_supplycost").cast(pl.Decimal(38, 4)) * pl.col("l_quantity")
    return (
        tables.part.filter(pl.col("p_name").str.contains("green", literal=True))
        .join(tables.partsupp, left_on="p_partkey", right_on="ps_partkey")
        .join(tables.lineitem, left_on=["p_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .join(tables.orders, left_on="l_orderkey", right_on="o_orderkey")
        .join(tables.supplier, left_on="ps_suppkey", right_on="s_suppkey")
        .join(tables.nation, left_on="s_nationkey", right_on="n_nationkey")
        .group_by(nation="n_name", o_year=pl.col("o_orderdate").dt.year())
        .agg(sum_profit=(DISCOUNTED_PRICE - cost).sum())
        .sort("nation", "o_year", descending=[False, True])
    )


def q10(tables: Tables) -> pl.LazyFrame:
    """Customers who returned parts."""
    orders = tables.orders.filter(pl.col("o_orderdate").is_between(date(1993, 10, 1), date(1994, 1, 1), closed="left"))
    returned = tables.lineitem.filter(pl.col("l_returnflag") == "R")
    return (
        orders.join(returned, left_on="o_orderkey", right_on="l_orderkey")
        .group_by(c_custkey="o_custkey")
        .agg(REVENUE)
        .join(tables.customer, on="c_custkey")
        .join(tables.nation, left_on="c_nationkey", right_on="n_nationkey")
        .select("c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment")
        .sort("revenue", "c_custkey", descending=[True, False])
        .head(20)
    )


def q11(tables: Tables) -> pl.LazyFrame:
    """Important stock of a nation."""
    german_stock = (
        tables.nation.filter(pl.col("n_name") == "GERMANY")
        .join(tables.supplier, left_on="n_nationkey", right_on="s_nationkey")
        .join(tables.partsupp, left_on="s_suppkey", right_on="ps_suppkey")
    )
    # The specification's fraction, 0.0001 / scale factor, is one in the number of all suppliers.
    suppliers = tables.supplier.select(suppliers=pl.len())
    total = german_stock.select(total=STOCK_VALUE)
    return (
        german_stock.group_by("ps_partkey")
        .agg(value=STOCK_VALUE)
        .join(total, how="cross")
        .join(suppliers, how="cross")
        .filter(pl.col("value") * pl.col("suppliers") > pl.col("total"))
        .select("ps_partkey", "value")
        .sort("value", "ps_partkey", descending=[True, False])
    )
