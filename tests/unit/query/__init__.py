"""Tests of queries, sinks and results."""
