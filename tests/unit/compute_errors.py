"""An input for each error of what starts and stops computes: a service that follows a script, or a stand-in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars import CloudCompute, exceptions
from airflow_provider_polars.backends.cloud_manager import CloudManager
from airflow_provider_polars.backends.managing import ComputeState
from airflow_provider_polars.clients.control_plane import ControlPlane
from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.testing import isolated_environment
from airflow_provider_polars.testing.environment import set_environment
from tests.harness.identity import IdentityStandIn, answer
from tests.unit.clients.api_stand_in import ApiStandIn
from tests.unit.clients.calls import ACCOUNT
from tests.unit.scripted_manager import ASKED, HANDLE, INSTANCE, OWNER, STOPPING, Process, Service, status

WORKSPACE = "f8ed4d9f-0696-4dcf-aff0-10932bb91d9c"
PATH = f"workspace/{WORKSPACE}"


@contextlib.contextmanager
def polars_cloud(folder: Path, compute: CloudCompute = ASKED) -> Iterator[tuple[ApiStandIn, CloudManager]]:
    """Run a stand-in of Polars Cloud with one workspace, and give what starts computes there."""
    accounts = {ACCOUNT.client_id: ACCOUNT.client_secret}
    with ApiStandIn() as api, IdentityStandIn(folder, accounts) as tokens, pytest.MonkeyPatch.context() as patch:
        environment = isolated_environment(folder) | tokens.environment | {"POLARS_CLOUD_API_ADDR": api.address}
        set_environment(environment | {"POLARS_CLOUD_DEFAULT_WORKSPACE_ID": WORKSPACE}, patch)
        api.reply(PATH, answer(200, {"id": WORKSPACE, "organization_id": WORKSPACE}))
        plane = ControlPlane(ACCOUNT, client_version="0.12.0", polars_version="2.0.0", mask=lambda text: None)
        yield api, CloudManager(compute, plane, deployment=OWNER.deployment)
        plane.close()


def workspace_error(folder: Path, **_: Any) -> None:
    with polars_cloud(folder, CloudCompute(cpus=2, memory=4, workspace="etl")) as (api, manager):
        api.reply("workspace", answer(200, {"result": []}))
        manager.find(OWNER)


def control_plane_unavailable_error(folder: Path, **_: Any) -> None:
    with polars_cloud(folder) as (api, manager):
        api.reply(f"{PATH}/manifest/find", answer(503, "maintenance"))
        manager.find(OWNER)


def control_plane_refused_error(folder: Path, **_: Any) -> None:
    with polars_cloud(folder) as (api, manager):
        api.reply(f"{PATH}/manifest/find", answer(403, {"message": "no role in this workspace"}))
        manager.find(OWNER)


def quota_exceeded_error(folder: Path, **_: Any) -> None:
    with polars_cloud(folder) as (api, manager):
        api.reply(f"{PATH}/manifest", answer(422, {"message": "the quota of 64 vCPUs would be exceeded"}))
        manager.start(OWNER)


def compute_name_taken_error(folder: Path, **_: Any) -> None:
    with polars_cloud(folder) as (api, manager):
        api.reply(f"{PATH}/manifest/find", answer(200, {"name": OWNER.mark, "env_vars": {}}))
        manager.find(OWNER)


def compute_start_error(**_: Any) -> None:
    service = Service()
    service.statuses = [status(ComputeState.FAILED, "no capacity")]
    Process(service).lifecycle.start(OWNER, 10.0)


def compute_lost_error(folder: Path, **_: Any) -> None:
    with polars_cloud(folder, CloudCompute(compute_id=INSTANCE)) as (_api, manager):
        manager.find(OWNER)


def compute_stop_error(**_: Any) -> None:
    service = Service()
    service.after_stop = [STOPPING]
    process = Process(service)
    process.lifecycle.kill(None)
    process.lifecycle.stop(HANDLE, 0.01)


RAISED_BY: dict[type[PolarsProviderError], tuple[Any, str]] = {
    exceptions.WorkspaceError: (workspace_error, "sees no workspace 'etl'. It sees: none."),
    exceptions.ControlPlaneUnavailableError: (
        control_plane_unavailable_error,
        "with 503: maintenance. Try again later.",
    ),
    exceptions.ControlPlaneRefusedError: (control_plane_refused_error, "Polars Cloud answers 403, no role in this"),
    exceptions.QuotaExceededError: (quota_exceeded_error, "the quota of 64 vCPUs would be exceeded. Wait until other"),
    exceptions.ComputeNameTakenError: (compute_name_taken_error, "by this Airflow; nothing is started or stopped."),
    exceptions.ComputeStartError: (compute_start_error, "did not become ready: it is Failed (no capacity)."),
    exceptions.ComputeLostError: (compute_lost_error, "is not known to the workspace. Name an instance that runs"),
    exceptions.ComputeStopError: (compute_stop_error, "it is Stopping. It may run on, and cost."),
}
