"""Clients of several versions against the same development servers, each in an environment of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars_cloud as pc

from airflow_provider_polars.testing import ControlPlane, start_control_plane, start_dev_cluster

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENTS = REPOSITORY / ".matrix" / "clients"
SECONDS = 200.0
Outcomes = dict[str, dict[str, str]]
"""What came of each capability, by group (``cloud``, ``clusters``) and name."""


def interpreter(version: str) -> Path:
    """Return the interpreter of the environment with a client: that of this process if it has it."""
    python = Path(sys.executable) if version == pc.__version__ else ENVIRONMENTS / version / "bin" / "python"
    assert python.exists(), f"{python} is missing: make test-clients makes it"
    return python


def outcomes(versions: list[str], folder: Path) -> dict[str, Outcomes]:
    """Return what the clients can do, by version.

    :param versions: at least two; each is tried on a cluster with its Polars and on one with that of another, on one
        control plane that has all of them, and on one that has that of another alone.
    :param folder: an empty one.
    """
    pythons = {version: interpreter(version) for version in versions}
    paths = [str(python) for python in pythons.values()]
    with contextlib.ExitStack() as stack:
        plane, *others = (
            stack.enter_context(start_control_plane("--token-seconds", "3600", "--python", *given))
            for given in (paths, paths[:1], paths[1:2])
        )
        clusters = [stack.enter_context(start_dev_cluster("--workers", "1", "--python", path)) for path in paths]
        leading, *elsewhere = (_environment(each) for each in (plane, *others))
        probes = {}
        for number, (version, python) in enumerate(pythons.items()):
            place = folder / version
            (place / "config").mkdir(parents=True)
            facts = {
                "port": _port(clusters[number].uri),
                "observatory_port": _port(clusters[number].observatory),
                "other_port": _port(clusters[number - 1].uri),
                "folder": str(place),
            }
            variables = {
                "POLARS_CLOUD_CONFIG_DIR": str(place / "config"),
                "POLARS_TIMEOUT_MS": "60000",
                "PROBE_DEV": plane.dev,
                "PROBE_ELSEWHERE": json.dumps(elsewhere[number == 0]),
                "PYTHONPATH": str(REPOSITORY),
                "RUST_BACKTRACE": "0",
            }
            probes[version] = stack.enter_context(_Probe(python, facts, leading | variables, place))
        return {version: probe.outcomes() for version, probe in probes.items()}


class _Probe:
    """A probe that runs until the block ends."""

    def __init__(self, python: Path, facts: Mapping[str, Any], environment: Mapping[str, str], folder: Path) -> None:
        self._log = folder / "errors.txt"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python, "-m", "tests.wire.clients.probe", json.dumps(facts)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=dict(environment),
                cwd=folder,
            )

    def __enter__(self) -> _Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def outcomes(self) -> Outcomes:
        """Return what the probe prints."""
        said, _ = self._process.communicate(timeout=SECONDS)
        assert self._process.returncode == 0, self._log.read_text()
        found = json.loads(said.splitlines()[-1])
        return {group: found[group] for group in ("cloud", "clusters")}


def _environment(plane: ControlPlane) -> dict[str, str]:
    return plane.environment | {"POLARS_CLOUD_ACCESS_TOKEN": plane.access_token()}


def _port(uri: str) -> int:
    return int(uri.rpartition(":")[2])
