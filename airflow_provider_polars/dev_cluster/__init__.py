"""A local Polars cluster that speaks the wire protocols of a real one, for development, for CI and for tests of DAGs.

It is a stand-in: it runs queries with the Polars of its workers, each on one worker, and knows of a real cluster only
what unmodified clients show. Start it with ``polars-dev-cluster up``, or with the fixtures of
:mod:`airflow_provider_polars.testing`.
"""
