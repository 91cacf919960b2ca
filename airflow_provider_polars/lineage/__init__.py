"""OpenLineage: what tasks read and wrote. Nothing of it is loaded unless Airflow's OpenLineage provider is there."""
