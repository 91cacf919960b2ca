"""What one client can do: ``python -m tests.wire.clients.probe FACTS`` prints it as a line of JSON.

``FACTS`` is JSON: ``port``, ``observatory_port`` and ``other_port`` of development clusters, and an empty ``folder``.
The environment leads to a development control plane; ``PROBE_DEV`` is the address of its ``/_dev``, and
``PROBE_ELSEWHERE`` is JSON: an environment that leads to one without the client's Polars.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.wire.clients import on_clusters, on_control_plane


def main(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the client's version and Polars, and the outcomes of all capabilities."""
    folder = Path(facts.pop("folder"))
    cloud = on_control_plane.CAPABILITIES.outcomes(on_control_plane.Cloud(folder))
    clusters = on_clusters.CAPABILITIES.outcomes(on_clusters.Clusters(folder=folder, **facts))

    import polars as pl
    import polars_cloud as pc

    return {"client": pc.__version__, "polars": pl.__version__, "cloud": cloud, "clusters": clusters}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
