"""Measure and print every figure; end with 1 if a target is missed."""

from __future__ import annotations

import platform
import sys

from benchmarks import cluster, dev_cluster, imports, queries
from benchmarks.figures import PAIRS


def main() -> int:
    """Print the figures; return the exit status."""
    import importlib.metadata
    import os

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("apache-airflow", "polars"))
    print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} CPUs, at least {PAIRS} pairs each")
    missed = False
    for measure in (imports.figures, queries.figures, dev_cluster.figures, cluster.figures):
        for figure in measure():
            print(figure, flush=True)
            missed = missed or figure.missed
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
