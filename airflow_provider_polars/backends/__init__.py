"""Adapters that run queries on one kind of compute each. They know Polars and never Airflow."""
