"""What clients ask for when they start an instance or register a manifest, decoded and checked."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError

SHORTEST_IDLE_TIMEOUT = 10  # minutes
VCPUS_OF_UNKNOWN_TYPES = 2
LARGEST = 1_000_000
LARGEST_CLUSTER = 64
_NAME = re.compile(r"[A-Za-z0-9 -]{3,32}")
_SIZES = {"large": 2, "xlarge": 4}


class Specs(msgspec.Struct):
    """A machine by what it has."""

    cpus: int
    ram_gb: int
    cpu_architectures: list[Literal["X86_64", "Arm64"]] | None = None
    multiplier: int | None = None


class InstanceType(msgspec.Struct):
    """A machine by its name at the provider."""

    standard: str
    big: str | None = None


class PythonVersion(msgspec.Struct):
    """Version of the client's interpreter."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


class Order(msgspec.Struct, kw_only=True):
    """Body of ``POST compute/start``."""

    specs: Specs | None = None
    instance_type: InstanceType | None = None
    storage: int | None = None
    big_instance_storage: int | None = None
    cluster_size: int = 1
    mode: Literal["Direct", "Proxy", "direct", "proxy"]
    python_version: PythonVersion
    polars_version: str
    labels: list[str] | None = None
    log_level: Literal["Info", "Debug", "Trace"] | None = None
    idle_timeout_mins: int | None = None
    requirements_txt: str | None = None
    env_vars: dict[str, str] = {}

    def __post_init__(self) -> None:
        self.mode = "Proxy" if self.mode.lower() == "proxy" else "Direct"  # clients before 0.9 write it small

    def __repr__(self) -> str:
        """Return what it is called: ``env_vars`` may hold secrets."""
        return f"<{type(self).__name__} of {self.vcpus} vCPUs>"

    def check(self) -> None:
        """Raise :class:`ApiError` 422 for what no instance can be."""
        storage = {"storage": self.storage, "big_instance_storage": self.big_instance_storage}
        wrong = _wrong_machine("specs", self.specs, self.instance_type) | _wrong_sizes(self.cluster_size, storage)
        if self.idle_timeout_mins is not None and self.idle_timeout_mins < SHORTEST_IDLE_TIMEOUT:
            wrong["idle_timeout_mins"] = [f"at least {SHORTEST_IDLE_TIMEOUT}"]
        if any(not name or "=" in name or "\0" in name + value for name, value in self.env_vars.items()):
            wrong["env_vars"] = ["names have a letter and no =, and no NUL is in names and values"]
        if wrong:
            raise ApiError(422, "the request is not valid", wrong)

    @property
    def vcpus(self) -> int:
        """Of all nodes together; for an instance type by what its name says, as the stand-in takes it."""
        if self.specs is not None:
            return self.specs.cpus * self.cluster_size
        size = self.instance_type.standard.rpartition(".")[2] if self.instance_type else ""
        times = re.fullmatch(r"(\d{1,3})xlarge", size)
        return (int(times[1]) * 4 if times else _SIZES.get(size, VCPUS_OF_UNKNOWN_TYPES)) * self.cluster_size

    def fields(self) -> dict[str, Any]:
        """Return the fields that ComputeModel and ManifestModel share."""
        specs, kind = self.specs, self.instance_type
        return {
            "cluster_size": self.cluster_size,
            "mode": self.mode,
            "polars_version": self.polars_version,
            "log_level": self.log_level or "Info",
            "instance_type": kind.standard if kind else None,
            "big_instance_type": kind.big if kind else None,
            "cpu_architectures": specs.cpu_architectures if specs else None,
            "req_cpu_cores": specs.cpus if specs else None,
            "req_ram_gb": specs.ram_gb if specs else None,
            "req_storage": self.storage,
            "idle_timeout_mins": self.idle_timeout_mins,
        }


class ManifestOrder(Order, kw_only=True):
    """Body of ``POST manifest``."""

    name: str

    def check(self) -> None:
        """Raise :class:`ApiError` 422 for a name or a machine that cannot be."""
        if not _NAME.fullmatch(self.name) or sum(letter.isalnum() for letter in self.name) < 3:
            rule = "3 to 32 letters, digits, spaces and dashes, of which 3 are letters or digits"
            raise ApiError(422, "the request is not valid", {"name": [rule]})
        super().check()


class ManifestStart(msgspec.Struct):
    """Body of ``POST manifest/start``."""

    name: str
    python_version: PythonVersion
    polars_version: str


class Machine(msgspec.Struct, omit_defaults=True):
    """A machine of the defaults of a workspace, either by what it has or by name: the client takes no null for one."""

    specs: Specs | None = None
    instance_type: InstanceType | None = None


class ClusterDefaults(msgspec.Struct):
    """Body of ``PUT cluster-defaults``."""

    instance_specs: Machine
    cluster_size: int
    storage: int | None = None

    def check(self) -> None:
        """Raise :class:`ApiError` 422 for what no instance can be."""
        machine = self.instance_specs
        wrong = _wrong_machine("instance_specs", machine.specs, machine.instance_type)
        wrong |= _wrong_sizes(self.cluster_size, {"storage": self.storage})
        if wrong:
            raise ApiError(422, "the request is not valid", wrong)


def _wrong_machine(name: str, specs: Specs | None, instance_type: InstanceType | None) -> dict[str, list[str]]:
    if (specs is None) == (instance_type is None):
        return {name: ["give either specs or instance_type"]}
    if specs is not None and not all(1 <= size <= LARGEST for size in (specs.cpus, specs.ram_gb)):
        return {name: [f"cpus and ram_gb are between 1 and {LARGEST}"]}
    return {}


def _wrong_sizes(cluster_size: int, storage: dict[str, int | None]) -> dict[str, list[str]]:
    wrong = {
        name: [f"between 1 and {LARGEST}"]
        for name, size in storage.items()
        if size is not None and not 1 <= size <= LARGEST
    }
    if not 1 <= cluster_size <= LARGEST_CLUSTER:
        wrong["cluster_size"] = [f"between 1 and {LARGEST_CLUSTER}: each node is a process here, or more"]
    return wrong
