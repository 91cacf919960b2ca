"""Airflow sensors: tasks that wait for what others have begun."""
