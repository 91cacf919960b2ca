"""What a client can do with Polars Cloud: its control plane, and the instances that it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wire.clients.capabilities import Capabilities, check_is_cancelled, check_raises, get, held, need, wait_for
from tests.wire.clients.on_clusters import rows

CAPABILITIES = capability = Capabilities()
TOKEN = "POLARS_CLOUD_ACCESS_TOKEN"
SIGN_IN = "import polars_cloud; polars_cloud.authenticate(interactive=False)"
START = "import polars_cloud as pc; pc.ComputeContext(workspace='development', cpus=2, memory=4).start()"
REQUIREMENTS = "cloudpickle\n"
VARIABLES = {"PROBE": "here"}


@dataclass
class Cloud:
    """A development control plane, and what a client has started there.

    The environment leads there, and holds a token as well as a service account.
    """

    folder: Path
    contexts: dict[str, Any] = field(default_factory=dict)
    """By mode: ``direct``, ``proxy``."""

    @property
    def workspace(self) -> uuid.UUID:
        """The workspace of the account."""
        return uuid.UUID(os.environ["POLARS_CLOUD_DEFAULT_WORKSPACE_ID"])

    @property
    def api(self) -> Any:
        """The client's calls of the REST interface."""
        from polars_cloud.constants import API_CLIENT

        return API_CLIENT

    def specs(self, mode: str) -> Any:
        """Return a context that is not started."""
        import polars_cloud as pc

        return pc.ComputeContext(
            workspace=self.workspace,
            cpus=2,
            memory=4,
            connection_mode=mode,
            requirements=REQUIREMENTS.encode(),
            env_vars=VARIABLES,
            labels=["probe"],
            idle_timeout_mins=30,
        )

    def wait_until_idle(self, compute_id: uuid.UUID) -> None:
        """Return when an instance is up."""

        def is_idle() -> bool:
            return "Idle" in str(self.api.get_compute_cluster(self.workspace, compute_id).status)

        wait_for(is_idle, f"the instance {compute_id} is idle")

    def find_scheduler(self) -> None:
        """Have clients before 0.9 go to the port of the direct instance: 5051, which they know, may be anyone's."""
        import polars_cloud as pc

        if not hasattr(pc, "ClientOptions"):
            compute_id = self.contexts["direct"]._compute_id
            scheduler = self.rest(f"compute/{compute_id}/public_info")["scheduler"]["address"]
            pc.context.compute.DEFAULT_SCHEDULER_PORT = int(scheduler.rpartition(":")[2])

    def single(self, mode: str, frame: Any = None) -> Any:
        """Return a query on one worker of an instance; the rows are 1, 2, 3."""
        return (rows() if frame is None else frame).remote(self.contexts[mode]).single_node()

    def rest(self, path: str) -> dict[str, Any]:
        """Return what the REST interface answers for the workspace."""
        place = f"{os.environ['POLARS_CLOUD_API_ADDR']}/api/v1/workspace/{self.workspace}/{path}"
        return dict(get(place, os.environ[TOKEN]))


@capability("import")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    assert pc.__version__


@capability("sign in with a service account")
def _(site: Cloud) -> None:
    environment = {name: value for name, value in os.environ.items() if name != TOKEN}
    signing = subprocess.run([sys.executable, "-c", SIGN_IN], env=environment, capture_output=True, text=True)
    assert signing.returncode == 0, signing.stderr.partition("AuthLoadError")[2] or signing.stderr


@capability("sign in with a token")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    pc.authenticate(interactive=False)
    assert site.api.get_user() is not None


@capability("organisations, workspaces")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    assert [organisation.name for organisation in pc.Organization.list()] == ["development"]
    assert [workspace.id for workspace in pc.Workspace.list()] == [site.workspace]
    assert pc.Workspace("development").id == site.workspace


@capability("default workspace by `POLARS_CLOUD_DEFAULT_WORKSPACE_ID`")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    need(hasattr(site.api, "get_default_workspace_id"))
    assert pc.Workspace().id == site.workspace


@capability("`Workspace.set_default`")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    need(hasattr(pc.Workspace, "set_default"))
    pc.Workspace(id=site.workspace).set_default()


@capability("cluster defaults of a workspace")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    names = ("instance_type", "storage", "cpu_architectures")
    site.api.set_workspace_cluster_defaults(site.workspace, cpus=2, ram_gb=4, cluster_size=1, **dict.fromkeys(names))
    assert pc.Workspace(id=site.workspace).defaults.cpus == 2
    assert pc.ComputeContext(workspace=site.workspace).memory == 4


@capability("start in direct mode, status")
def _(site: Cloud) -> None:
    from polars_cloud.polars_cloud import DBClusterModeModel

    specs = site.specs("direct")
    names = ("cpus", "cpu_architectures", "instance_type", "storage", "cluster_size")
    given = {name: getattr(specs._specs, name) for name in names}
    unset = ("big_instance_type", "big_instance_multiplier", "big_instance_storage", "labels", "requirements_txt")
    specs._compute_id = site.api.start_compute(  # as start() does, which then sleeps for 30 s
        workspace_id=site.workspace,
        mode=DBClusterModeModel.Direct,
        ram_gb=specs._specs.memory,
        env_vars=VARIABLES,
        log_level=specs.log_level,
        idle_timeout_mins=30,
        **given,
        **dict.fromkeys(unset),
    ).id
    site.wait_until_idle(specs._compute_id)
    assert specs.get_status().name == "IDLE"
    site.contexts["direct"] = specs


@capability("start in proxy mode, with labels, requirements and variables; status")
def _(site: Cloud) -> None:
    context = site.contexts["proxy"] = site.specs("proxy")
    context.start()
    site.wait_until_idle(context._compute_id)
    assert context.get_status().name == "IDLE"


@capability("`connect` by ids")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    for mode, context in site.contexts.items():
        connected = pc.ComputeContext.connect(context._compute_id, site.workspace)
        assert (connected.connection_mode, connected.get_status().name) == (mode, "IDLE")
        site.contexts[mode] = connected


@capability("list of instances")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    found = {str(context._compute_id) for context, _ in pc.ComputeContext.list(site.workspace)}
    assert found >= {str(context._compute_id) for context in site.contexts.values()} != set()


@capability("query in direct mode")
def _(site: Cloud) -> None:
    site.find_scheduler()
    result = site.single("direct").execute()
    assert result.head.rows() == [(1,), (2,), (3,)]


@capability("cancel in direct mode")
def _(site: Cloud) -> None:
    check_is_cancelled(held(lambda frame: site.single("direct", frame), site.folder))


@capability("a query that fails in direct mode raises its class")
def _(site: Cloud) -> None:
    check_raises(site.single("direct", failing()).execute, ZeroDivisionError, "division")


@capability("query in proxy mode")
def _(site: Cloud) -> None:
    result = site.single("proxy").execute()
    assert (result.status.name, result.n_rows_total) == ("SUCCESS", 3)


@capability("sink in proxy mode")
def _(site: Cloud) -> None:
    import polars as pl

    site.single("proxy").sink_parquet(str(site.folder / "proxy.parquet")).await_result()
    assert pl.read_parquet(site.folder / "proxy.parquet")["a"].to_list() == [1, 2, 3]


@capability("labels in proxy mode")
def _(site: Cloud) -> None:
    remote = rows().remote(site.contexts["proxy"]).labels(["nightly"])
    query = remote.single_node().execute(blocking=False)
    query.await_result()
    records = get(f"{os.environ['PROBE_DEV']}/_dev/records")
    (received,) = [record for record in records if (record["call"], record.get("query_id")) == _submission(query)]
    assert received["labels"] == ["nightly"], "the client sends none"


@capability("cancel in proxy mode")
def _(site: Cloud) -> None:
    check_is_cancelled(held(lambda frame: site.single("proxy", frame), site.folder))


@capability("a query that fails in proxy mode raises its class")
def _(site: Cloud) -> None:
    check_raises(site.single("proxy", failing()).execute, ZeroDivisionError, "division")


@capability("list of queries; pick one up by its id")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    query = site.single("proxy").execute(blocking=False)
    assert query._query_id in {_id(found) for found in site.api.get_queries(site.workspace)}
    assert pc.ProxyQuery(uuid.UUID(str(query._query_id)), site.workspace).await_result().n_rows_total == 3


@capability("variables (`env_vars`) on the instance")
def _(site: Cloud) -> None:
    import polars as pl

    place = str(site.folder / "variable.txt")

    def write(column: Any) -> Any:
        with open(place, "w") as file:
            file.write(os.environ.get("PROBE", "nowhere"))
        return column

    frame = rows().select(pl.col("a").map_batches(write, return_dtype=pl.Int64))
    site.single("proxy", frame).execute()
    assert Path(place).read_text() == VARIABLES["PROBE"]


@capability("`stop`")
def _(site: Cloud) -> None:
    assert site.contexts
    for context in site.contexts.values():
        context.stop()
        compute_id = context._compute_id
        wait_for(
            lambda: "Stopped" in str(site.api.get_compute_cluster(site.workspace, compute_id).status),  # noqa: B023
            f"the instance {compute_id} is stopped",
        )


@capability("manifests: register, find, start, unregister")
def _(site: Cloud) -> None:
    import polars_cloud as pc

    name = f"probe-{uuid.uuid4().hex[:8]}"
    specs = site.specs("proxy")
    specs.register(name)
    registered = site.rest(f"manifest/find?name={name}")
    assert (registered["requirements_txt"], registered["env_vars"]) == (REQUIREMENTS, VARIABLES)
    context = pc.ComputeContext(name=name, workspace=site.workspace)
    assert (context.cpus, context.memory, context.connection_mode) == (2, 4, "proxy")
    context.start()
    site.wait_until_idle(context._compute_id)
    again = pc.ComputeContext(name=name, workspace=site.workspace)
    assert again._compute_id == context._compute_id
    again.stop()
    specs.unregister()
    check_raises(
        lambda: pc.ComputeContext(name=name, workspace=site.workspace), pc.polars_cloud.NotFoundError, "manifest"
    )


@capability("a control plane without the client's Polars says so")
def _(site: Cloud) -> None:
    import polars as pl

    environment = json.loads(os.environ["PROBE_ELSEWHERE"])
    starting = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True)
    assert f"no image with Polars {pl.__version__}" in starting.stderr, starting.stderr


def failing() -> Any:
    """Return a query that fails while it runs."""
    import polars as pl

    return rows().select(pl.col("a").map_batches(lambda _: 1 // 0, return_dtype=pl.Int64))


def _submission(query: Any) -> tuple[str, str]:
    return "SubmitQuery", str(query._query_id)


def _id(found: Any) -> Any:
    return getattr(found, "id", None) or found.query.id
