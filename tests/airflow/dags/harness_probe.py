"""One task that returns 42 and one that fails."""

from __future__ import annotations

from airflow.sdk import Asset, dag, task


@dag(schedule=None)
def harness_probe() -> None:
    """Two tasks without an edge between them."""

    @task(outlets=[Asset("harness_probe")])
    def answer() -> int:
        """Return 42 and report the asset."""
        return 41 + 1

    @task
    def fail() -> None:
        """Raise with a text to look for in the log."""
        raise ValueError("failing on purpose")

    answer()
    fail()


harness_probe()
