"""Small clients of our own for the services of Polars. None imports polars or polars_cloud."""
