"""The 22 queries of the TPC-H benchmark, which Polars calls PDS-H, on data made by ``tpchgen-cli``.

The queries are those of the specification with its validation parameters. Sums of money are computed in decimals, so
a result is the same to the last digit whatever engine or number of workers computed it.
"""
