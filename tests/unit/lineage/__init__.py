"""What tasks tell Airflow's OpenLineage provider."""
