"""TaskFlow: ``polars_task`` and ``polars_compute``."""
