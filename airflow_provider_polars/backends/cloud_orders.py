"""What is sent to Polars Cloud to have an instance started: the body that its client sends."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_polars.backends.polars_client import client_version, polars_version
from airflow_provider_polars.clients.instances import Manifest
from airflow_provider_polars.compute.cloud import IDLE_TIMEOUT_MINS, MAX_LIFETIME_HOURS, CloudCompute
from airflow_provider_polars.exceptions import ConfigurationError, VersionMismatchError
from airflow_provider_polars.marks import Owner

MAX_LIFETIME = "AIRFLOW_POLARS_MAX_LIFETIME"
"""Variable of an instance: hours after which it is to be stopped whatever runs."""

_WORDS = {"direct": "Direct", "proxy": "Proxy", "x86_64": "X86_64", "arm64": "Arm64"}
_OUR_WORDS: dict[str, Any] = {word: ours for ours, word in _WORDS.items()}


def versions() -> dict[str, Any]:
    """Return the versions that an instance must have to read the plans and functions of this worker."""
    python = dict(zip(("major", "minor", "patch"), sys.version_info[:3], strict=True))
    return {"python_version": python, "polars_version": polars_version()}


def with_defaults(compute: CloudCompute, defaults: Mapping[str, Any]) -> CloudCompute:
    """Return a compute without a machine with that of its workspace.

    :param defaults: ``cluster-defaults`` of the workspace.
    :raises ConfigurationError: if there are none.
    """
    specs = defaults.get("instance_specs") or {}
    machine, kind = specs.get("specs") or {}, specs.get("instance_type") or {}
    if not machine and not kind:
        raise ConfigurationError(
            "CloudCompute() names no machine, and its workspace has no default one. Give cpus= and memory=, or "
            "instance_type=."
        )
    return dataclasses.replace(
        compute,
        cpus=machine.get("cpus"),
        memory=machine.get("ram_gb"),
        cpu_architectures=tuple(_OUR_WORDS[word] for word in machine.get("cpu_architectures") or ()),
        instance_type=kind.get("standard"),
        storage=compute.storage or defaults.get("storage"),
        cluster_size=compute.cluster_size or defaults.get("cluster_size"),
    )


def from_manifest(compute: CloudCompute, manifest: Manifest | None) -> CloudCompute:
    """Return a compute with what the manifest says that its ``name`` stands for.

    :raises ConfigurationError: if there is no such manifest.
    :raises VersionMismatchError: if it was registered with other versions than this worker has.
    """
    if manifest is None:
        raise ConfigurationError(
            f"There is no manifest {compute.name!r} in the workspace. Register it, or give cpus= and memory= instead "
            "of name=."
        )
    model = manifest.model
    python = ".".join(map(str, sys.version_info[:3]))
    for what, there, here in (
        ("Polars", model["polars_version"], polars_version()),
        ("Python", model["python_version"], python),
    ):
        if there != here:
            raise VersionMismatchError(
                f"The manifest {compute.name!r} was registered with {what} {there}, this worker has {what} {here}. "
                f"Register it anew with {what} {here}, or install {what} {there} on the workers."
            )
    return dataclasses.replace(
        dataclasses.replace(compute, name=None),
        cpus=model.get("req_cpu_cores"),
        memory=model.get("req_ram_gb"),
        cpu_architectures=tuple(_OUR_WORDS[word] for word in model.get("cpu_architectures") or ())
        if model.get("req_cpu_cores")
        else (),
        instance_type=model.get("instance_type"),
        storage=model.get("req_storage"),
        cluster_size=model["cluster_size"],
        connection_mode=_OUR_WORDS[model["mode"]],
        log_level=_level(model["log_level"]),
        idle_timeout_mins=model.get("idle_timeout_mins"),
    )


def requirements_of(compute: CloudCompute, manifest: Manifest | None) -> str | None:
    """Return the text of the requirements: those of the manifest it starts from, else those of the file.

    :raises ConfigurationError: if the file cannot be read.
    """
    if manifest is not None:
        text: str | None = manifest.model.get("requirements_txt")
        return text
    if compute.requirements is None:
        return None
    try:
        return Path(compute.requirements).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"CloudCompute(requirements={compute.requirements!r}) cannot be read on this worker: {error}."
        ) from error


def order(
    compute: CloudCompute,
    owner: Owner,
    *,
    requirements: str | None,
    env_vars: Mapping[str, str],
    labels: tuple[str, ...],
) -> dict[str, Any]:
    """Return the body that registers a manifest for ``owner``.

    :param env_vars: besides those that name the owner. They may hold secrets of a manifest, and go nowhere else.
    """
    mode = _WORDS[compute.connection_mode or "direct"]
    architectures = [_WORDS[name] for name in compute.cpu_architectures or ("x86_64",)]
    if compute.instance_type is not None:
        machine: dict[str, Any] = {"instance_type": {"standard": compute.instance_type, "big": None}}
    else:
        specs = {"cpus": compute.cpus, "ram_gb": compute.memory, "cpu_architectures": architectures, "multiplier": None}
        machine = {"specs": specs}
    return {
        "name": owner.mark,
        **machine,
        "storage": compute.storage,
        "big_instance_storage": None,
        "cluster_size": compute.cluster_size or 1,
        "mode": mode.lower() if _writes_small_words() else mode,
        **versions(),
        "labels": list(dict.fromkeys((*labels, *compute.labels))) or None,
        "log_level": (compute.log_level or "info").title(),
        "idle_timeout_mins": compute.idle_timeout_mins or IDLE_TIMEOUT_MINS,
        "requirements_txt": requirements,
        "env_vars": {**env_vars, **owner.variables(), MAX_LIFETIME: f"{compute.max_lifetime or MAX_LIFETIME_HOURS:g}"},
    }


def is_registered(body: Mapping[str, Any], manifest: Manifest) -> bool:
    """Return whether a manifest is what a body would register, as far as a manifest shows it."""
    specs, kind, model = body.get("specs") or {}, body.get("instance_type") or {}, manifest.model
    return (
        dict(manifest.env_vars) == body["env_vars"]
        and str(model["mode"]).lower() == str(body["mode"]).lower()
        and model["python_version"] == ".".join(map(str, body["python_version"].values()))
        and (model.get("req_cpu_cores"), model.get("req_ram_gb")) == (specs.get("cpus"), specs.get("ram_gb"))
        and model.get("instance_type") == kind.get("standard")
        and (model.get("cpu_architectures") or None) == (specs.get("cpu_architectures") or None)
        and model.get("req_storage") == body["storage"]
        and all(
            model.get(name) == body[name]
            for name in ("cluster_size", "polars_version", "log_level", "idle_timeout_mins", "requirements_txt")
        )
    )


def _level(word: str) -> Any:
    return word.lower()


def _writes_small_words() -> bool:
    """Whether clients of this time write the mode with a small letter (before 0.9)."""
    return tuple(int(part) for part in client_version().split(".")[:2]) < (0, 9)
