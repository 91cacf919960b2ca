"""Names of data sets as OpenLineage has them, https://openlineage.io/docs/spec/naming."""

from __future__ import annotations

from airflow_provider_polars.query.datasets import Dataset

_SAME = {"s3a": "s3", "gcs": "gs"}


def name_of(dataset: Dataset) -> tuple[str, str]:
    """Return the namespace and the name of a data set: store and path, or catalog and table."""
    scheme, separator, rest = dataset[1].partition("://")
    if not separator:
        return "file", dataset[1] or "/"
    authority, _, path = rest.partition("/")
    return f"{_SAME.get(scheme.lower(), scheme.lower())}://{authority}", path or "/"
