"""Tests against running Airflow processes."""
