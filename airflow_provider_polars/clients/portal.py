"""Where people look at what runs on Polars Cloud: the pages that the client names in its log."""

from __future__ import annotations

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class Portal:
    """Where people look at computes and queries (the links that the client logs)."""

    workspace_id: str
    organization_id: str | None = None

    def compute(self, compute_id: str) -> str:
        """Return the page of an instance."""
        return f"{self._root}/{self.organization_id}/{self.workspace_id}/compute/{compute_id}"

    def query(self, compute_id: str, query_id: str) -> str:
        """Return the page of a query."""
        return f"{self._root}/{self.workspace_id}/{compute_id}/queries/{query_id}"

    @property
    def _root(self) -> str:
        domain = os.environ.get("POLARS_CLOUD_DOMAIN")
        return f"https://{f'frontend.{domain}' if domain else 'cloud.pola.rs'}/portal"
