"""Tests that need no running Airflow."""
