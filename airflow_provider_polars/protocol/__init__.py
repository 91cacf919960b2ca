"""The wire protocols of Polars clusters: ``.proto`` files and the stubs that ``make stubs`` generates from them.

The field tables come from what unmodified clients, 0.6.0 to 0.12.0, send and accept. Names of fields are ours where the
wire shows none: it carries numbers.
"""
