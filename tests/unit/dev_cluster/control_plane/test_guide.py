"""The page on the control plane agrees with the code."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.dev_cluster import cli
from airflow_provider_polars.dev_cluster.control_plane import command
from airflow_provider_polars.testing import ControlPlane

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "control-plane.md").read_text()
OF_TESTS = {"get", "post"}
"""What the methods of a control plane are made of."""


def names(heading: str) -> set[str]:
    """Return the code in the first column of the table below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return set(re.findall(r"`([a-z_-]+)", " ".join(first)))


@pytest.fixture
def plane() -> ControlPlane:
    account = {"id": "id", "secret": "secret", "workspace": {"id": "id", "name": "name"}}
    facts: dict[str, Any] = {"api": "api", "domain": "x@y:1", "dev": "http://127.0.0.1:1", "authority": "ca.pem"}
    facts["environment"] = {"SSL_CERT_FILE": "bundle.pem"}
    return ControlPlane(facts | {"accounts": [account], "polars": [], "pid": 1}, {})


def test_every_attribute_is_in_the_table(plane: ControlPlane) -> None:
    public = {name for name in {*vars(plane), *vars(ControlPlane)} if not name.startswith("_")}

    assert public - names("In your tests") - OF_TESTS == {"accounts", "pid"}  # the one is in the text
    assert names("In your tests") - public == set()


def test_every_option_is_in_the_table() -> None:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    command.add_options(parser, cli._port, cli._positive)
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}

    documented = names("The command") - {"up"}
    assert documented == options - {"--help", "--control-plane"} | {"--json", "--python", "--workers"}


def test_defaults_are_those_of_the_settings() -> None:
    settings = command.ControlPlaneSettings()
    rows = re.findall(r"^\| `(--[a-z-]+)`(?:, `(--[a-z-]+)`)*.*\| ([^|]*) \|$", PAGE, re.MULTILINE)
    defaults = {row[0]: row[-1] for row in rows}

    assert defaults["--api-port"] == f"{settings.api_port}, {settings.token_port}, {settings.dev_port}"
    assert defaults["--starting-seconds"] == f"{settings.starting_seconds:g}, {settings.stopping_seconds:g}"
    assert defaults["--workers"] == str(settings.workers)
    assert defaults["--minute-seconds"] == f"{settings.minute:g}"
    assert defaults["--token-seconds"] == f"{settings.token_seconds:g}"
    assert (defaults["--max-vcpus"], settings.max_vcpus) == ("none", None)
