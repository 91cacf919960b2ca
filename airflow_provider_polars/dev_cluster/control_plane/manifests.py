"""Manifests: orders under a name, of which at most one instance lives at a time."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from airflow_provider_polars.dev_cluster.control_plane.accounts import ServiceAccount
from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError
from airflow_provider_polars.dev_cluster.control_plane.instances import LIVE, Instance, Instances
from airflow_provider_polars.dev_cluster.control_plane.orders import ManifestOrder, ManifestStart


class Manifest:
    """A registered order."""

    def __init__(self, order: ManifestOrder) -> None:
        self.id = str(uuid.uuid4())
        self.order = order
        self.instance: Instance | None = None

    @property
    def live(self) -> Instance | None:
        """Its instance that lives."""
        return self.instance if self.instance is not None and self.instance.state in LIVE else None

    def model(self, workspace_id: str) -> dict[str, Any]:
        """Return it as ManifestModel."""
        return {
            "id": self.id,
            "workspace_id": workspace_id,
            "name": self.order.name,
            "python_version": str(self.order.python_version),
            "env_vars": self.order.env_vars,
            "requirements_txt": self.order.requirements_txt,
            "live_cluster_id": self.live.id if self.live else None,
            **self.order.fields(),
        }


class Manifests:
    """The manifests of all workspaces."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._manifests: dict[tuple[str, str], Manifest] = {}

    def register(self, order: ManifestOrder, workspace_id: str) -> Manifest:
        """Take one in.

        :raises ApiError: 409 if the name is taken.
        """
        if (workspace_id, order.name) in self._manifests:
            raise ApiError(409, f"a manifest {order.name!r} is registered already")
        manifest = self._manifests[workspace_id, order.name] = Manifest(order)
        return manifest

    def find(self, workspace_id: str, name: str) -> Manifest:
        """Return one by its name.

        :raises ApiError: 404 if there is none.
        """
        try:
            return self._manifests[workspace_id, name]
        except KeyError:
            raise ApiError(404, f"no manifest {name[:40]!r}") from None

    def start(self, asked: ManifestStart, account: ServiceAccount) -> Instance:
        """Return the instance that lives, or start one.

        :raises ApiError: 404 if there is no such manifest; else as for a start without one.
        """
        manifest = self.find(account.workspace.id, asked.name)
        if manifest.live is None:
            order = msgspec.structs.replace(
                manifest.order, python_version=asked.python_version, polars_version=asked.polars_version
            )
            manifest.instance = self._instances.start(order, account, asked.name)
        assert manifest.instance is not None
        return manifest.instance

    def unregister(self, workspace_id: str, name: str) -> None:
        """Forget one; its instance runs on.

        :raises ApiError: 404 if there is none.
        """
        self.find(workspace_id, name)
        del self._manifests[workspace_id, name]

    def clear(self) -> None:
        """Forget all."""
        self._manifests.clear()
