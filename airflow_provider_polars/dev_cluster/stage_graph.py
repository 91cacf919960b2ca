"""The graph of stages, as the client draws it: MessagePack of Polars' own structures.

graph {title, num_roots, nodes [stage], edges}; stage {stage_number, title, properties, data {title, num_roots, nodes
[node], edges}}; node {id, type_id, properties}. The first ``num_roots`` nodes are the roots; an edge goes from a
consumer (``source``) to its input (``target``).
"""

from __future__ import annotations

import msgspec

from airflow_provider_polars.dev_cluster.queries import Plans

SIMULATED = "one stage: this development cluster simulates distributed stages"
SINGLE = "one stage on one worker"
UNKNOWN = "this plan was not looked into"


def encode(plans: Plans, *, distributed: bool) -> bytes:
    """Return the graph of the one stage that a query has here, with the nodes of its physical plan."""
    title = SIMULATED if distributed else SINGLE
    labels = plans.nodes or [UNKNOWN]
    stage = {
        "stage_number": 0,
        "title": title,
        "properties": {},
        "data": {
            "title": title,
            "num_roots": plans.roots,
            "nodes": [
                # The one kind of node that shows any text.
                {"id": index, "type_id": "MapFunction", "properties": {"function": label}}
                for index, label in enumerate(labels)
            ],
            "edges": [{"source": consumer, "target": source} for consumer, source in plans.edges],
        },
    }
    return msgspec.msgpack.encode({"title": title, "num_roots": 1, "nodes": [stage], "edges": []})
