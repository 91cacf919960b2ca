"""The connection of tests of ``PolarsClusterHook``."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_polars.hooks.cluster import PolarsClusterHook

CONN_ID = "polars_x"
TOKEN = "the-token-of-the-cluster"

Connect = Callable[..., PolarsClusterHook]
