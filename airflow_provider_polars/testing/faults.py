"""What a test lets go wrong on a development cluster or a control plane."""

from __future__ import annotations

from typing import Any

from airflow_provider_polars.dev_cluster.dev_client import DevApiError, DevClient


class Faults:
    """What goes wrong on one server; the guide has a table of it.

    :param base: what comes before ``/_dev``: the address of an observatory, or that of a control plane's ``/_dev``.
    """

    def __init__(self, base: str | DevClient) -> None:
        self._client = DevClient(base) if isinstance(base, str) else base

    def add(self, call: str, do: str, **fields: Any) -> int:
        """Let calls go wrong from now on; return the id of the fault.

        :param call: name of the calls in the recorder, or a pattern: ``SubmitQuery``, ``Get*``, ``GET query``.
        :param do: ``delay`` (``seconds``), ``hang``, ``drop``, ``reset``, ``answer`` (``status``, ``message``,
            ``body``) or ``fail`` (``errors``).
        :param fields: those of ``do``; and ``times`` (1; None is until it is lifted), and ``skip`` (0), the number of
            calls that pass first.
        :raises ValueError: for a field or a value that means nothing.
        """
        try:
            return int(self._client.post("/_dev/faults", {"call": call, "do": do, **fields})["id"])
        except DevApiError as error:
            raise ValueError(str(error)) from None

    def lift(self, fault_id: int) -> None:
        """End a fault. Calls that hang are answered with UNAVAILABLE or 503; calls that are delayed go on.

        :raises LookupError: if there is none of that id.
        """
        try:
            self._client.delete(f"/_dev/faults/{fault_id}")
        except DevApiError as error:
            raise LookupError(str(error)) from None

    def clear(self) -> None:
        """Lift all."""
        self._client.delete("/_dev/faults")

    def hits(self, fault_id: int) -> int:
        """Return how many calls a fault has hit.

        :raises LookupError: if there is none of that id.
        """
        for fault in self.counted():
            if fault["id"] == fault_id:
                return int(fault["hits"])
        raise LookupError(f"no fault {fault_id}")

    def counted(self) -> list[dict[str, Any]]:
        """Return all faults that were not lifted: their fields, ``id`` and ``hits``."""
        faults: list[dict[str, Any]] = self._client.get("/_dev/faults")
        return faults
