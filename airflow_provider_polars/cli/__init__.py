"""``airflow polars``: what people ask and do from a shell."""
