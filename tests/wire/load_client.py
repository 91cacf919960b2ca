"""One of many clients: for each line of JSON that it reads, submit queries side by side and say how each one ended.

``{"first": 100, "count": 25, "folder": "..."}``: query 100 writes its number to ``100.parquet`` in the folder, and so
on.
The answer is one line: a list of ``{"number", "status", "location", "seconds"}``.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import polars as pl
import polars_cloud as pc


def run(context: Any, folder: str, number: int) -> dict[str, Any]:
    begun = time.monotonic()
    remote = pl.LazyFrame({"number": [number]}).remote(context).single_node()
    result = remote.sink_parquet(f"{folder}/{number}.parquet").await_result()
    return {
        "number": number,
        "status": result.status.name,
        "location": result.location,
        "seconds": time.monotonic() - begun,
    }


def main(uri: str) -> None:
    context = pc.ClusterContext(uri=uri)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        numbers = range(job["first"], job["first"] + job["count"])
        with ThreadPoolExecutor(job["count"]) as threads:
            outcomes = list(threads.map(run, repeat(context), repeat(job["folder"]), numbers))
        print(json.dumps(outcomes), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
