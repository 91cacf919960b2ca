"""All queries by name."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from tests.wire.pdsh.data import Tables
from tests.wire.pdsh.queries_1_11 import q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11
from tests.wire.pdsh.queries_12_22 import q12, q13, q14, q15, q16, q17, q18, q19, q20, q21, q22

Query = Callable[[Tables], pl.LazyFrame]

QUERIES: tuple[tuple[str, Query], ...] = tuple(
    (query.__name__, query)
    for query in (
        *(q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11),
        *(q12, q13, q14, q15, q16, q17, q18, q19, q20, q21, q22),
    )
)
