"""From an Airflow connection and Airflow's settings to a backend with its credentials."""
