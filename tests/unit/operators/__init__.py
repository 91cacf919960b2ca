"""Operators: from arguments to XComs, run by Airflow's own task runner."""
