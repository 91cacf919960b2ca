"""Tasks whose queries run on a cluster: Airflow's task runner, the real client, the development cluster."""
