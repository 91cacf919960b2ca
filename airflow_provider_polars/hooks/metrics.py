"""Figures of queries and computes, through Airflow's own metrics (StatsD, Datadog or OpenTelemetry, as configured)."""

from __future__ import annotations


class Metrics:
    """Sends figures whose names begin with ``polars.``.

    :param tags: of each figure; which of Airflow's ways to send figures carry tags is set in its ``[metrics]`` section.
    """

    def __init__(self, **tags: str) -> None:
        self._tags = tags

    def count(self, name: str, by: float = 1, **tags: str) -> None:
        """Add to a counter."""
        from airflow.sdk.observability import stats

        stats.incr(f"polars.{name}", by, tags={**self._tags, **tags})  # type: ignore[arg-type]

    def time(self, name: str, seconds: float, **tags: str) -> None:
        """Tell how long something took."""
        from airflow.sdk.observability import stats

        stats.timing(f"polars.{name}", seconds * 1000, tags={**self._tags, **tags})
