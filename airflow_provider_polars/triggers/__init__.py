"""What waits in Airflow's triggerer. Nothing here imports Polars or its client."""
