"""What people see of the package in Airflow's user interface: a real browser, real Airflow processes."""
