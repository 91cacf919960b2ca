"""``NodeConfig``: what one node's configuration says, with the defaults of the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from airflow_provider_polars.onprem import addresses, keys
from airflow_provider_polars.onprem.addresses import Address
from airflow_provider_polars.onprem.keys import KEYS, Service


@dataclasses.dataclass(frozen=True)
class Location:
    """Where results, shuffled data or checkpoints are kept.

    :param kind: ``"local"``, ``"shared_filesystem"``, ``"s3"``, ``"gcs"`` or ``"abs"``.
    :param place: path or URL.
    """

    kind: str
    place: str

    @property
    def is_shared(self) -> bool:
        """Whether all nodes reach the same place."""
        return self.kind != "local"


@dataclasses.dataclass(frozen=True)
class NodeConfig:
    """The configuration of one node.

    Nothing is refused here: :func:`~airflow_provider_polars.onprem.checking.check` tells what is wrong. A value that
    its key cannot have counts as none.

    :param data: what stands in the file, unknown keys included.
    :param name: what messages call it: the file, or the node.
    """

    data: Mapping[str, Any]
    name: str

    def raw(self, path: str) -> Any:
        """Return what stands at a path, None if nothing does. The short form of ``license`` is read as the long one."""
        if path == keys.LICENSE_FILE and isinstance(self.data.get("license"), str):
            return self.data["license"]
        found: Any = self.data
        for part in path.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found

    def value(self, path: str) -> Any:
        """Return the value that counts: that of the file, else the server's default, else None."""
        key, given = KEYS[path], self.raw(path)
        if given is None:
            return key.default
        return given if key.kind.problem(given) is None else None

    def on(self, section: str) -> bool:
        """Return True if a section is switched on. Without ``enabled`` it counts as off, unless that is its default."""
        return self.value(f"{section}.enabled") is True

    @property
    def instance(self) -> str | None:
        """The ``instance_id``."""
        found: str | None = self.value("instance_id")
        return found

    @property
    def runs_scheduler(self) -> bool:
        """Whether the scheduler runs here, which makes the node the leader."""
        return self.on("scheduler")

    @property
    def runs_worker(self) -> bool:
        """Whether queries are computed here."""
        return self.on("worker")

    @property
    def is_leader(self) -> bool:
        """Whether the node has the name of the leader, or runs the scheduler."""
        return self.runs_scheduler or (self.instance is not None and self.instance == self.value(keys.LEADER))

    @property
    def services(self) -> list[Service]:
        """The services that listen on this node."""
        shuffle = self.location(keys.SHUFFLED)
        listening = {
            keys.CLIENT: self.runs_scheduler,
            keys.REGISTRATION: self.runs_scheduler,
            keys.RECEIVER: self.on("observatory"),
            keys.REST: self.on("observatory") and self.on("observatory.rest_api"),
            keys.TASK: self.runs_worker,
            keys.SHUFFLE: self.runs_worker and shuffle is not None and not shuffle.is_shared,
        }
        return [service for service, listens in listening.items() if listens]

    def bind(self, service: Service) -> Address:
        """Return the address that a service listens on, with its port."""
        found = self._address(service.bind) or Address(addresses.ALL_INTERFACES)
        return found.or_port(service.port)

    def public(self, service: Service) -> Address | None:
        """Return the address that a worker tells others for a service; None if there is none that they could reach."""
        bound = self.bind(service)
        told = self._address(service.public)
        if told is None:
            return None if bound.is_any else bound
        return None if told.is_any else told.or_port(bound.port or service.port)

    def leader(self, service: Service) -> Address | None:
        """Return the address by which this node looks for the leader's ``REGISTRATION`` or ``RECEIVER``."""
        found = self._address(keys.LEADER_OBSERVATORY if service == keys.RECEIVER else keys.LEADER_SCHEDULER)
        return None if found is None or found.is_any else found.or_port(service.port)

    def location(self, where: str) -> Location | None:
        """Return a storage location, None unless there is exactly one."""
        table = self.raw(where)
        given = [kind for kind in keys.LOCATIONS[where] if isinstance(table, Mapping) and kind in table]
        if len(given) != 1:
            return None
        place = self.value(f"{where}.{given[0]}.{'path' if given[0] in keys.PATHS else 'url'}")
        return None if place is None else Location(given[0], place)

    def _address(self, path: str) -> Address | None:
        found = self.value(path)
        return None if found is None else addresses.parse(found)
