"""What the guide says to paste in an emergency: the client alone lists the instances and stops one of ours."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.marks import Owner
from tests.unit.guide import blocks
from tests.wire.cloud.tasks import compute

if TYPE_CHECKING:
    from tests.wire.cloud.tasks import CloudTasks

NAME_OF_THE_GUIDE = "af-prod-1cf8270cfea85e42"
SECONDS = 120.0


def paste(cloud: CloudTasks, name: str) -> subprocess.CompletedProcess[str]:
    """Run the lines with what a reader has to fill in, in a process that knows where the control plane is."""
    (block,) = [block for block in blocks("python") if "by-hand" in block.words]
    text, account = block.text, cloud.plane.account
    for told, ours in {
        'client_id="..."': f"client_id={account.id!r}",
        'client_secret="..."': f"client_secret={account.secret!r}",
        '"production"': repr(cloud.plane.workspace.name),
        NAME_OF_THE_GUIDE: name,
    }.items():
        assert told in text, told
        text = text.replace(told, ours)
    accounts = ("POLARS_CLOUD_CLIENT_ID", "POLARS_CLOUD_CLIENT_SECRET")
    environment = {name: value for name, value in cloud.plane.environment.items() if name not in accounts}
    return subprocess.run(
        [sys.executable, "-c", text],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def manifest(name: str) -> Any:
    """Return what Polars Cloud has by that name."""
    manager: Any = PolarsCloudHook().get_manager(compute())
    return manager.instances.manifest(name)


def test_the_lines_stop_and_forget_what_is_named_and_nothing_else(cloud: CloudTasks) -> None:
    named, other = cloud.started(), cloud.started(task_id="other")

    done = paste(cloud, named["mark"])

    assert done.returncode == 0, done.stderr
    assert cloud.plane.running == [other["compute_id"]]
    assert cloud.plane.stopped == [named["compute_id"]]
    assert manifest(named["mark"]) is None
    assert manifest(other["mark"]) is not None


def test_their_list_has_ids_and_no_names_and_the_log_of_the_start_has_both(cloud: CloudTasks, caplog: Any) -> None:
    named = cloud.started()

    done = paste(cloud, named["mark"])

    assert named["compute_id"] in done.stdout
    assert "af-" not in done.stdout
    assert f"Started the instance {named['compute_id']} as {named['mark']}" in caplog.text


def test_where_the_instance_has_ended_they_say_so_and_leave_its_name(cloud: CloudTasks) -> None:
    named = cloud.started()
    cloud.plane.kill(named["compute_id"], "lost")

    done = paste(cloud, named["mark"])

    assert done.stderr.endswith("RuntimeError: nothing to stop, context is not running\n")
    assert manifest(named["mark"]) is not None


def test_a_name_of_the_guide_is_one_that_a_start_could_have() -> None:
    owner = Owner(deployment="prod", dag_id="in_memory", run_id="first", task_id="start")
    assert len(owner.mark) == len(NAME_OF_THE_GUIDE)
    assert owner.mark.startswith("af-prod-")
