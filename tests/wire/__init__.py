"""Tests of what goes over the wire between Polars Cloud's client and whoever serves it."""
