"""Queries 12 to 22."""

from __future__ import annotations

from datetime import date

import polars as pl

from tests.wire.pdsh.data import Tables
from tests.wire.pdsh.expressions import DELIVERED_LATE, DISCOUNTED_PRICE, REVENUE, as_float, mean


def q12(tables: Tables) -> pl.LazyFrame:
    """Shipping modes and the priority of orders."""
    lines = tables.lineitem.filter(
        pl.col("l_shipmode").is_in(["MAIL", "SHIP"]),
        pl.col("l_receiptdate").is_between(date(1994, 1, 1), date(1994, 12, 31)),
        pl.col("l_shipdate") < pl.col("l_commitdate"),
        DELIVERED_LATE,
    )
    urgent = pl.col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    return (
        tables.orders.join(lines, left_on="o_orderkey", right_on="l_orderkey")
        .group_by("l_shipmode")
        .agg(high_line_count=urgent.sum(), low_line_count=(~urgent).sum())
        .sort("l_shipmode")
    )


def q13(tables: Tables) -> pl.LazyFrame:
    """Customers by their number of orders."""
    orders = tables.orders.filter(~pl.col("o_comment").str.contains("special.*requests"))
    return (
        tables.customer.join(orders, left_on="c_custkey", right_on="o_custkey", how="left")
        .group_by("c_custkey")
        .agg(c_count=pl.col("o_orderkey").count())
        .group_by("c_count")
        .agg(custdist=pl.len())
        .sort("custdist", "c_count", descending=True)
    )


def q14(tables: Tables) -> pl.LazyFrame:
    """Effect of a promotion."""
    promoted = DISCOUNTED_PRICE.filter(pl.col("p_type").str.starts_with("PROMO"))
    return (
        tables.lineitem.filter(pl.col("l_shipdate").is_between(date(1995, 9, 1), date(1995, 9, 30)))
        .join(tables.part, left_on="l_partkey", right_on="p_partkey")
        .select(promo_revenue=100 * as_float(promoted.sum()) / as_float(DISCOUNTED_PRICE.sum()))
    )


def q15(tables: Tables) -> pl.LazyFrame:
    """Best supplier of a quarter."""
    revenue = (
        tables.lineitem.filter(pl.col("l_shipdate").is_between(date(1996, 1, 1), date(1996, 4, 1), closed="left"))
        .group_by("l_suppkey")
        .agg(total_revenue=DISCOUNTED_PRICE.sum())
    )
    return (
        tables.supplier.join(revenue, left_on="s_suppkey", right_on="l_suppkey")
        .filter(pl.col("total_revenue") == pl.col("total_revenue").max())
        .select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .sort("s_suppkey")
    )


def q16(tables: Tables) -> pl.LazyFrame:
    """Number of suppliers of each kind of part."""
    parts = tables.part.filter(
        pl.col("p_brand") != "Brand#45",
        ~pl.col("p_type").str.starts_with("MEDIUM POLISHED"),
        pl.col("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9]),
    )
    complained_of = tables.supplier.filter(pl.col("s_comment").str.contains("Customer.*Complaints"))
    return (
        parts.join(tables.partsupp, left_on="p_partkey", right_on="ps_partkey")
        .join(complained_of, left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .group_by("p_brand", "p_type", "p_size")
        .agg(supplier_cnt=pl.col("ps_suppkey").n_unique())
        .sort("supplier_cnt", "p_brand", "p_type", "p_size", descending=[True, False, False, False])
    )


def q17(tables: Tables) -> pl.LazyFrame:
    """Revenue lost without small orders."""
    lines = tables.part.filter(pl.col("p_brand") == "Brand#23", pl.col("p_container") == "MED BOX").join(
        tables.lineitem, left_on="p_partkey", right_on="l_partkey"
    )
    small = lines.group_by("p_partkey").agg(small_quantity=0.2 * mean(pl.col("l_quantity")))
    return (
        lines.join(small, on="p_partkey")
        .filter(as_float(pl.col("l_quantity")) < pl.col("small_quantity"))
        .select(avg_yearly=as_float(pl.col("l_extendedprice").sum()) / 7)
    )


def q18(tables: Tables) -> pl.LazyFrame:
    """Customers with large orders."""
    large = (
        tables.lineitem.group_by("l_orderkey")
        .agg(sum_quantity=pl.col("l_quantity").sum())
        .filter(pl.col("sum_quantity") > 300)
    )
    return (
        tables.orders.join(large, left_on="o_orderkey", right_on="l_orderkey")
        .join(tables.customer, left_on="o_custkey", right_on="c_custkey")
        .rename({"o_custkey": "c_custkey"})
        .select("c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "sum_quantity")
        .sort("o_totalprice", "o_orderdate", "o_orderkey", descending=[True, False, False])
        .head(100)
    )


def q19(tables: Tables) -> pl.LazyFrame:
    """Revenue of parts that were delivered by hand."""
    lines = tables.lineitem.filter(
        pl.col("l_shipmode").is_in(["AIR", "AIR REG"]), pl.col("l_shipinstruct") == "DELIVER IN PERSON"
    )
    wanted = (
        _packed("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], least=1, largest_size=5)
        | _packed("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], least=10, largest_size=10)
        | _packed("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], least=20, largest_size=15)
    )
    return lines.join(tables.part, left_on="l_partkey", right_on="p_partkey").filter(wanted).select(REVENUE)


def _packed(brand: str, containers: list[str], *, least: int, largest_size: int) -> pl.Expr:
    return (
        (pl.col("p_brand") == brand)
        & pl.col("p_container").is_in(containers)
        & pl.col("l_quantity").is_between(least, least + 10)
        & pl.col("p_size").is_between(1, largest_size)
    )


def q20(tables: Tables) -> pl.LazyFrame:
    """Suppliers with too much of a part in stock."""
    forest_parts = tables.part.filter(pl.col("p_name").str.starts_with("forest"))
    shipped = (
        tables.lineitem.filter(pl.col("l_shipdate").is_between(date(1994, 1, 1), date(1994, 12, 31)))
        .group_by("l_partkey", "l_suppkey")
        .agg(shipped=pl.col("l_quantity").sum())
    )
    excess = (
        tables.partsupp.join(forest_parts, left_on="ps_partkey", right_on="p_partkey", how="semi")
        .join(shipped, left_on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .filter(2 * pl.col("ps_availqty") > pl.col("shipped"))
    )
    return (
        tables.nation.filter(pl.col("n_name") == "CANADA")
        .join(tables.supplier, left_on="n_nationkey", right_on="s_nationkey")
        .join(excess, left_on="s_suppkey", right_on="ps_suppkey", how="semi")
        .select("s_name", "s_address")
        .sort("s_name")
    )


def q21(tables: Tables) -> pl.LazyFrame:
    """Suppliers who alone kept an order waiting."""
    shared = _suppliers_per_order(tables.lineitem).filter(pl.col("suppliers") > 1)
    one_to_blame = _suppliers_per_order(tables.lineitem.filter(DELIVERED_LATE)).filter(pl.col("suppliers") == 1)
    failed = tables.orders.filter(pl.col("o_orderstatus") == "F")
    return (
        tables.nation.filter(pl.col("n_name") == "SAUDI ARABIA")
        .join(tables.supplier, left_on="n_nationkey", right_on="s_nationkey")
        .join(tables.lineitem.filter(DELIVERED_LATE), left_on="s_suppkey", right_on="l_suppkey")
        .join(failed, left_on="l_orderkey", right_on="o_orderkey", how="semi")
        .join(shared, on="l_orderkey", how="semi")
        .join(one_to_blame, on="l_orderkey", how="semi")
        .group_by("s_name")
        .agg(numwait=pl.len())
        .sort("numwait", "s_name", descending=[True, False])
        .head(100)
    )


def _suppliers_per_order(lines: pl.LazyFrame) -> pl.LazyFrame:
    return lines.group_by("l_orderkey").agg(suppliers=pl.col("l_suppkey").n_unique())


def q22(tables: Tables) -> pl.LazyFrame:
    """Wealthy customers without orders, by country code."""
    customers = tables.customer.with_columns(cntrycode=pl.col("c_phone").str.slice(0, 2)).filter(
        pl.col("cntrycode").is_in(["13", "31", "23", "29", "30", "18", "17"])
    )
    average = customers.filter(pl.col("c_acctbal") > 0).select(average=mean(pl.col("c_acctbal")))
    return (
        customers.join(average, how="cross")
        .filter(as_float(pl.col("c_acctbal")) > pl.col("average"))
        .join(tables.orders, left_on="c_custkey", right_on="o_custkey", how="anti")
        .group_by("cntrycode")
        .agg(numcust=pl.len(), totacctbal=pl.col("c_acctbal").sum())
        .sort("cntrycode")
    )
