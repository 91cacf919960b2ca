"""Measure and print every figure; end with 1 if a target is missed."""

from __future__ import annotations

import platform
import sys

from benchmarks import cloud, cluster, dev_cluster, imports, queries, triggerer, watching
from benchmarks.figures import PAIRS


def main() -> int:
    """Print the figures; return the exit status."""
    import importlib.metadata
    import os

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("apache-airflow", "polars"))
    print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} CPUs, at least {PAIRS} pairs each")
    missed = False
    for module in (imports, queries, dev_cluster, cluster, cloud, watching, triggerer):
        for figure in module.figures():
            print(figure, flush=True)
            missed = missed or figure.missed
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
