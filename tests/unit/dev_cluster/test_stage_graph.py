"""The graph of stages, as clients decode it."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_polars.dev_cluster import stage_graph
from airflow_provider_polars.dev_cluster.queries import Plans


def decoded(plans: Plans, *, distributed: bool) -> Any:
    return msgspec.msgpack.decode(stage_graph.encode(plans, distributed=distributed))


def test_a_query_is_one_stage_with_the_nodes_of_its_physical_plan() -> None:
    plans = Plans(nodes=["sink", "join", "left", "right"], roots=1, edges=[(0, 1), (1, 2), (1, 3)])

    graph = decoded(plans, distributed=False)

    (stage,) = graph["nodes"]
    assert (graph["num_roots"], graph["edges"], graph["title"]) == (1, [], "one stage on one worker")
    assert (stage["stage_number"], stage["properties"], stage["data"]["num_roots"]) == (0, {}, 1)
    assert [node["id"] for node in stage["data"]["nodes"]] == [0, 1, 2, 3]
    assert [node["properties"]["function"] for node in stage["data"]["nodes"]] == plans.nodes
    assert [(edge["source"], edge["target"]) for edge in stage["data"]["edges"]] == plans.edges


def test_a_distributed_query_says_that_its_stages_are_simulated() -> None:
    assert "simulates" in decoded(Plans(nodes=["sink"]), distributed=True)["title"]


def test_a_plan_that_was_not_looked_into_has_one_node_that_says_so() -> None:
    (stage,) = decoded(Plans(), distributed=False)["nodes"]

    (node,) = stage["data"]["nodes"]
    assert node["properties"]["function"] == "this plan was not looked into"
