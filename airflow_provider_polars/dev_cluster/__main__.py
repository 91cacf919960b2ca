"""``python -m airflow_provider_polars.dev_cluster`` is ``polars-dev-cluster``."""

import sys

from airflow_provider_polars.dev_cluster.cli import main

sys.exit(main())
