"""Expressions that several queries use.

A product of Polars' decimals has no more decimal places than the longer factor: what goes into one is cast first.
"""

from __future__ import annotations

import polars as pl

DISCOUNTED_PRICE = pl.col("l_extendedprice").cast(pl.Decimal(38, 4)) * (1 - pl.col("l_discount"))
REVENUE = DISCOUNTED_PRICE.sum().alias("revenue")
STOCK_VALUE = (pl.col("ps_supplycost").cast(pl.Decimal(38, 2)) * pl.col("ps_availqty")).sum()
DELIVERED_LATE = pl.col("l_receiptdate") > pl.col("l_commitdate")


def mean(expr: pl.Expr) -> pl.Expr:
    """Return the mean of decimals from their exact sum; ``Expr.mean`` depends on the order of the rows."""
    return as_float(expr.sum()) / expr.count()


def as_float(expr: pl.Expr) -> pl.Expr:
    """Return ``expr`` as a float, for a quotient with all its digits."""
    return expr.cast(pl.Float64)
