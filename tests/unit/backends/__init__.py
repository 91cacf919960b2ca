"""Tests of the adapters that run queries."""
