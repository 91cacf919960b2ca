"""From what people call a workspace of Polars Cloud to its id."""

from __future__ import annotations

import dataclasses
import os
import uuid
from http import HTTPStatus
from typing import Any

from airflow_provider_polars.clients.control_plane import ControlPlane, Refusal
from airflow_provider_polars.exceptions import WorkspaceError, nearest

DEFAULT_WORKSPACE = "POLARS_CLOUD_DEFAULT_WORKSPACE_ID"


@dataclasses.dataclass(frozen=True)
class Workspace:
    """A workspace: its id, and that of its organization."""

    id: str
    organization_id: str

    @property
    def path(self) -> str:
        """Where its parts are in the REST interface."""
        return f"workspace/{self.id}"


def find_workspace(plane: ControlPlane, name: str | None, organization: str | None = None) -> Workspace:
    """Return a workspace by its name or id; None is the default one, as the client finds it.

    :param organization: name or id of its organization, where two have one of that name.
    :raises WorkspaceError: if it is not known, is one of several, or the account may not use it.
    """
    source = f"workspace={name!r}"
    if name is None:
        name, source = _default(plane)
    if _is_id(name):
        return _by_id(plane, name, source)
    return _by_name(plane, name, _organization_id(plane, organization) if organization else None)


def _default(plane: ControlPlane) -> tuple[str, str]:
    """Return the default workspace, and where that stands."""
    from_environment = os.environ.get(DEFAULT_WORKSPACE, "")
    if _is_id(from_environment):
        return from_environment, f"the environment variable {DEFAULT_WORKSPACE} ({from_environment})"
    found = plane.get("user/me").get("default_workspace_id")
    if not found:
        raise WorkspaceError(
            f"The service account from {plane.account.source} has no default workspace. Give workspace= to the "
            "compute, or fill in Workspace in the connection."
        )
    return str(found), f"the default workspace of the service account from {plane.account.source} ({found})"


def _by_id(plane: ControlPlane, workspace_id: str, source: str) -> Workspace:
    try:
        return _workspace(plane.get(f"workspace/{workspace_id}"))
    except Refusal as refusal:
        what = "is not known to" if refusal.status == HTTPStatus.NOT_FOUND else "may not be used by"
        raise WorkspaceError(
            f"{source[0].upper()}{source[1:]} {what} the service account from {plane.account.source}: Polars Cloud "
            f"answers {refusal.status}, {refusal}. Name a workspace of this account, or take an account of that "
            "workspace."
        ) from None


def _by_name(plane: ControlPlane, name: str, organization_id: str | None) -> Workspace:
    of_organization = {"organization_id": organization_id} if organization_id else {}
    rows = _there(plane.pages("workspace", name=name, **of_organization))
    found = [row for row in rows if str(row["name"]).lower() == name.lower()]
    if len(found) == 1:
        return _workspace(found[0])
    if not found:
        known = [str(row["name"]) for row in _there(plane.pages("workspace", **of_organization))]
        raise WorkspaceError(
            f"The service account from {plane.account.source} sees no workspace {name!r}{nearest(name, known)} It "
            f"sees: {', '.join(known) or 'none'}."
        )
    raise WorkspaceError(
        f"There are {len(found)} workspaces {name!r}, of different organizations: "
        f"{', '.join(str(row['id']) for row in found)}. Give organization= too, or the id as workspace=."
    )


def _organization_id(plane: ControlPlane, organization: str) -> str:
    if _is_id(organization):
        return organization
    rows = plane.pages("organization", name=organization)
    found = [row for row in rows if str(row["name"]).lower() == organization.lower()]
    if len(found) != 1:
        raise WorkspaceError(
            f"The service account from {plane.account.source} sees {len(found)} organizations {organization!r}. "
            "Correct organization=, or give its id."
        )
    return str(found[0]["id"])


def _there(rows: list[Any]) -> list[Any]:
    return [row for row in rows if row.get("status") != "Deleted"]


def _workspace(row: dict[str, Any]) -> Workspace:
    return Workspace(str(row["id"]), str(row["organization_id"]))


def _is_id(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False
