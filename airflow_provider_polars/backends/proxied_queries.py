"""``ProxiedQueries``: one loop for all queries in proxy mode of a workspace, whichever instances they are on."""

from __future__ import annotations

from collections.abc import Collection

from airflow_provider_polars.backends.remote import UNREACHABLE_SECONDS, state_of
from airflow_provider_polars.backends.rounds import Rounds
from airflow_provider_polars.clients.proxy_plane import ProxyPlane


class ProxiedQueries:
    """Asks about what is awaited by any of its planes, all of them for one account and workspace.

    :param grace: seconds for which Polars Cloud may be out of reach.
    """

    def __init__(self, *, grace: float = UNREACHABLE_SECONDS) -> None:
        self._rounds: Rounds[str, int | None] = Rounds(self._ask, grace=grace)
        self._planes: list[ProxyPlane] = []

    async def ended(self, plane: ProxyPlane, query_id: str) -> int | None:
        """Return the status of a query once it has ended, None if it is not known.

        :param plane: stays open until then.
        :raises PolarsProviderError: what asking raises, for longer than the grace if it may pass.
        """
        self._planes.append(plane)
        try:
            return await self._rounds.until(query_id, is_terminal)
        finally:
            self._planes.remove(plane)

    async def close(self) -> None:
        """End the loop; nobody may await anything any more."""
        await self._rounds.close()

    def _ask(self, query_ids: Collection[str]) -> dict[str, int | None]:
        if not self._planes:
            return {}
        return self._planes[-1].statuses(query_ids)


def is_terminal(status: int | None) -> bool:
    """Return whether a status of a scheduler will not change any more; None is that of a query it does not know."""
    return state_of(status).is_terminal
