"""The mark of a compute that this package starts: who it is for, and the name that says so wherever it runs.

Of Polars Cloud only what the client shows is known: a manifest has a unique name and keeps ``env_vars``, and an
instance that was started by that name bears it. Whoever changes how computes are marked changes it here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping

from airflow_provider_polars.exceptions import ConfigurationError

DEPLOYMENT = re.compile(r"[a-z0-9]{1,12}")
MAX_MARK = 32
"""Letters of a name that Polars Cloud takes."""

_PREFIX = "af"
_HASH_LETTERS = 16
_VARIABLE = "AIRFLOW_POLARS_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Owner:
    """Whom a compute is started for: one task instance that starts it, over all its tries and clears.

    :param deployment: name of this Airflow, ``[polars] deployment_id``.
    :param task_id: of the task that starts it.
    :param map_index: of that task instance, -1 if it is not mapped.
    """

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def mark(self) -> str:
        """The name of its compute: ``af-<deployment>-<hash>``, the same for every try."""
        parts = (self.dag_id, self.run_id, self.task_id, str(self.map_index))
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HASH_LETTERS]
        return f"{_PREFIX}-{self.deployment}-{digest}"

    def variables(self) -> dict[str, str]:
        """Return the environment variables that tell of it on the compute itself."""
        return {f"{_VARIABLE}{name.upper()}": str(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Owner | None:
        """Return what :meth:`variables` wrote, None if that is not in ``variables``."""
        names = [field.name for field in dataclasses.fields(cls)]
        found = {name: variables.get(f"{_VARIABLE}{name.upper()}") for name in names}
        try:
            return cls(**{**found, "map_index": int(found["map_index"] or "")}) if all(found.values()) else None  # type: ignore[arg-type]
        except ValueError:
            return None


def is_marked(name: str | None, deployment: str) -> bool:
    """Return True if ``name`` is the mark of a compute that this deployment has started."""
    return re.fullmatch(rf"{_PREFIX}-{re.escape(deployment)}-[0-9a-f]{{{_HASH_LETTERS}}}", name or "") is not None


def check_deployment(name: str) -> str:
    """Return the name of a deployment.

    :raises ConfigurationError: if none is set, or it cannot be part of a mark.
    """
    if not name:
        raise ConfigurationError(
            "[polars] deployment_id is not set. It marks the computes that this Airflow starts, so that no other one "
            "stops them: set it to a name that no other Airflow with the same workspace has, such as prod "
            "(AIRFLOW__POLARS__DEPLOYMENT_ID=prod), on all workers."
        )
    if not DEPLOYMENT.fullmatch(name):
        raise ConfigurationError(
            f"[polars] deployment_id must be 1 to 12 small letters and digits, such as prod, got {name!r}."
        )
    return name
