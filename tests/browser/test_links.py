"""Extra links on the page of a task: there while it runs or is deferred, and after its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Browser
from tests.browser.pages import TaskPage
from tests.harness.development import Development

QUERY, COMPUTE = "Polars query", "Polars compute"
RUNNING = {"running", "deferred", "up_for_reschedule"}

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Held:
    """A run whose queries are held."""

    world: Development
    browser: Browser
    dag_id: str
    run_id: str
    folder: Path

    def see(self, task_id: str, *names: str, states: set[str] = RUNNING) -> dict[str, str]:
        """Look at the page of a task until it has these links, and that while it is in one of the states."""
        page = TaskPage(self.browser, self.dag_id, self.run_id, task_id)
        page.open()
        found = {name: page.link(name) for name in names}
        assert self.instance(task_id)["state"] in states
        assert page.links([QUERY, COMPUTE]) == found
        return found

    def instance(self, task_id: str) -> dict[str, Any]:
        """Return the task instance."""
        return self.world.rest.task_instance(self.dag_id, self.run_id, task_id)

    def go(self) -> None:
        """Let the queries end."""
        (self.folder / "go").touch()

    def end(self) -> None:
        """Wait for the success of the run."""
        assert self.world.rest.wait_for_run(self.dag_id, self.run_id) == "success"


def held(world: Development, browser: Browser, dag_id: str, folder: Path) -> Held:
    """Begin a run."""
    world.rest.wait_for_dag(dag_id)
    return Held(world, browser, dag_id, world.rest.trigger(dag_id, conf={"folder": str(folder)}), folder)


@pytest.fixture
def on_a_cluster(world: Development, browser: Browser, tmp_path: Path) -> Iterator[Held]:
    """Hold queries on the cluster."""
    world.rest.set_connection("held_cluster", "polars_cluster", **world.connections["polars_cluster"])
    run = held(world, browser, "held_on_a_cluster", tmp_path)
    yield run
    run.go()


@pytest.fixture
def on_an_instance(world: Development, browser: Browser, tmp_path: Path) -> Iterator[Held]:
    """Hold queries on instances."""
    world.rest.set_connection("held_cloud", "polars_cloud", **world.connections["polars_cloud"])
    run = held(world, browser, "held_on_an_instance", tmp_path)
    yield run
    run.go()


def test_a_query_on_a_cluster_links_to_the_observatory(on_a_cluster: Held) -> None:
    run, cluster = on_a_cluster, on_a_cluster.world.cluster

    tasks = ("query", "deferred", "sensor", "deferred_sensor")
    seen = {task_id: run.see(task_id, QUERY)[QUERY] for task_id in tasks}
    run.browser.picture("link_of_a_deferred_sensor")
    assert run.instance("query")["state"] == "running"
    assert run.instance("deferred")["state"] == "deferred"

    pages = {task_id: cluster.get(address.removeprefix(cluster.observatory)) for task_id, address in seen.items()}
    assert {task_id: page["status"] for task_id, page in pages.items()} == dict.fromkeys(tasks, "InProgress")
    run.go()
    run.end()
    assert {task_id: run.see(task_id, QUERY, states={"success"})[QUERY] for task_id in tasks} == seen
    assert seen["sensor"] == seen["deferred_sensor"] == run.see("submitted", QUERY, states={"success"})[QUERY]
    assert len({*seen.values()}) == 3


def test_starts_queries_and_stops_of_instances_link_to_the_portal(on_an_instance: Held) -> None:
    run = on_an_instance

    start = run.see("etl.start_compute", COMPUTE)
    query = run.see("etl.query", QUERY)
    own = run.see("own", QUERY, COMPUTE)
    run.browser.picture("links_of_a_task_with_a_compute_of_its_own")
    instance = start[COMPUTE].rpartition("/compute/")[2]
    assert instance in run.world.plane.running
    assert f"/{instance}/queries/" in query[QUERY]
    assert own[COMPUTE].rpartition("/compute/")[2] in run.world.plane.running
    assert own[COMPUTE] != start[COMPUTE]

    run.go()
    assert run.see("etl.stop_compute", COMPUTE) == start
    run.end()
    ended = {"success"}
    assert run.see("own", QUERY, COMPUTE, states=ended) == own
    assert run.see("etl.stop_compute", COMPUTE, states=ended) == start
    mapped = run.world.rest.extra_links(run.dag_id, run.run_id, "mapped", map_index=0)
    assert all("/portal/" in str(mapped[name]) for name in (QUERY, COMPUTE))
