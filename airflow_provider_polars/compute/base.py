"""``Compute``: the base of all kinds."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from typing import Any, ClassVar, Literal

from airflow_provider_polars.spec import Spec

Engine = Literal["auto", "streaming", "in-memory", "gpu"]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Compute(Spec):
    """What to run on. Pure data: it opens no connection and imports nothing.

    A kind lives in the module ``compute/<kind>.py`` and names, by import path, the backend that runs
    queries on it and the hook that makes that backend from an Airflow connection.

    :cvar managed: whether computes of this kind are started before a query and stopped after.
    :cvar options: the query options it can honour; any other is refused by name.
    """

    family: ClassVar[str] = "compute"
    registry: ClassVar[dict[str, type[Compute]]] = {}
    backend: ClassVar[str]
    hook: ClassVar[str]
    managed: ClassVar[bool] = False
    options: ClassVar[frozenset[str]] = frozenset()

    @property
    def needs_start(self) -> bool:
        """Whether this one has to be started before a query; False for one that runs already."""
        return self.managed

    @property
    def place(self) -> str:
        """Where it was started; computes of one place can be asked about together. None but itself by default."""
        return repr(self.to_dict())

    @classmethod
    def find_kind(cls, kind: str) -> type[Any]:
        if kind not in cls.registry:
            package = importlib.import_module("airflow_provider_polars.compute")
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{package.__name__}.{module.name}")
        return super().find_kind(kind)
