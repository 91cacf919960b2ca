"""What a DAG file costs to import, against Airflow's own names alone."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.figures import Figure, interleave, ratio

BARE = "from airflow.sdk import dag, task"
OURS = (
    "from airflow.sdk import dag, task\n"
    "from airflow_provider_polars import LocalCompute, ParquetSink, polars_compute, polars_task"
)
OF_AIRFLOW = {"airflow.sdk.bases.operatorlink"}
"""Light modules of Airflow's own: an operator with a link needs the class of links."""

FORBIDDEN = ("polars", "polars_cloud", "grpc", "boto3", "pyarrow")
_MEASURE = """
import json, sys, time
started = time.perf_counter()
exec(sys.argv[1])
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def _import(statement: str) -> tuple[float, set[str]]:
    done = subprocess.run([sys.executable, "-c", _MEASURE, statement], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    return measured["seconds"], set(measured["modules"])


def figures() -> list[Figure]:
    """Return the ratio, and the number of modules that are neither of the bare import nor ours nor in OF_AIRFLOW."""
    ours, bare = interleave(lambda: _import(OURS)[0], lambda: _import(BARE)[0])
    added = _import(OURS)[1] - _import(BARE)[1]
    foreign = {name for name in added - OF_AIRFLOW if name.split(".")[0] != "airflow_provider_polars"}
    heavy = {name for name in foreign if name.split(".")[0] in FORBIDDEN}
    count = float(len(foreign))
    return [
        ratio("import of a DAG file / bare airflow.sdk", ours, bare, target=1.10),
        Figure(
            "modules of others that it loads",
            count,
            count,
            count,
            "",
            0.0,
            ", ".join(sorted(heavy or foreign)),
        ),
    ]
