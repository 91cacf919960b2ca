"""Instances of Polars Cloud by their mark: what is ours is found, kept and ended by it alone."""

from __future__ import annotations

import logging

from airflow_provider_polars.clients import instances as wire
from airflow_provider_polars.clients.control_plane import CALL_SECONDS, Refusal
from airflow_provider_polars.clients.instances import Instance, Instances, Manifest
from airflow_provider_polars.compute.cloud import CloudCompute
from airflow_provider_polars.exceptions import ComputeNameTakenError, ConfigurationError
from airflow_provider_polars.marks import Owner

_log = logging.getLogger(__name__)


class MarkedInstances:
    """The instances of one workspace by the marks of their owners.

    Methods raise what the calls raise, :class:`Refusal` included.

    :param calls: of the workspace.
    """

    def __init__(self, calls: Instances) -> None:
        self.calls = calls

    def own_manifest(self, owner: Owner) -> Manifest | None:
        """Return the manifest of ``owner``, None if there is none.

        :raises ComputeNameTakenError: if its name is somebody else's.
        """
        manifest = self.calls.manifest(owner.mark)
        if manifest is not None and Owner.of(manifest.env_vars) != owner:
            raise ComputeNameTakenError(
                f"The manifest {owner.mark!r} in the workspace {self.calls.workspace.id} was not registered for "
                f"{owner.dag_id}.{owner.task_id} of the run {owner.run_id} by this Airflow; nothing is started or "
                "stopped. Unregister it, or give this Airflow another [polars] deployment_id."
            )
        return manifest

    def living(self, manifest: Manifest | None) -> Instance | None:
        """Return the instance of a manifest that lives: the one that it names, else one that bears its name."""
        if manifest is None:
            return None
        instance = self.calls.get(manifest.live) if manifest.live else None
        if instance is not None and is_live(instance):
            return instance
        return next(iter(self.named(manifest.name)), None)

    def live(self) -> dict[str, Instance]:
        """Return all instances of the workspace that have not ended by their id, none where they may not be listed."""
        try:
            return {each.id: each for each in self.calls.live()}
        except Refusal as refusal:
            _log.debug("Instances are asked about one by one: %s", refusal)
            return {}

    def named(self, mark: str) -> list[Instance]:
        """Return the instances of a name that live, none where they may not be listed."""
        try:
            return [each for each in self.calls.live() if each.name == mark and is_live(each)]
        except Refusal as refusal:
            _log.warning("Whether there is another instance %s is not known: %s", mark, refusal)
            return []

    def end(self, instance_id: str, seconds: float = CALL_SECONDS) -> None:
        """Ask for the end of an instance; one that has ended is fine."""
        try:
            self.calls.stop(instance_id, seconds)
        except Refusal as refusal:
            now = self.calls.get(instance_id)
            if now is not None and is_live(now):
                raise
            _log.info("The instance %s has ended already: %s", instance_id, refusal)

    def end_others(self, kept: str, mark: str, named: str | None = None) -> None:
        """Stop what else bears a mark, but for what its manifest names: that is of a newer start.

        :param named: what the manifest names, if it was asked already.
        """
        others = [instance for instance in self.named(mark) if instance.id != kept]
        if others and named is None:
            manifest = self.calls.manifest(mark)
            named = manifest.live if manifest is not None else None
        for other in others:
            if other.id != named:
                _log.warning("Two starts of %s have met: the instance %s is stopped", mark, other.id)
                self.end(other.id)

    def check_mark(self, instance: Instance | None, handle: CloudCompute) -> None:
        """Refuse to stop an instance that does not carry the mark of its handle.

        :raises ConfigurationError: see above.
        """
        if instance is None or instance.name == handle.mark:
            return
        manifest = self.calls.manifest(str(handle.mark))
        if manifest is None or manifest.live != instance.id:
            raise ConfigurationError(
                f"The instance {instance.id} runs, and carries the mark {handle.mark!r} no more (its name is "
                f"{instance.name!r}): it is not stopped. Stop it by hand if it is yours."
            )


def is_live(instance: Instance) -> bool:
    """Whether it costs or will; so does one with a status that is not known today."""
    return instance.status not in (wire.STOPPING, *wire.OVER)
