"""Commands of the guide: a shell runs each block, with stand-ins that write down what they were called with.

So quotes, variables and line ends are those that a reader gets. The parser of the real command then reads each call.
``tests/airflow/test_newcomer.py`` runs those of the tutorial for real, but for its installations.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
from airflow.sdk import Connection
from packaging.requirements import Requirement

from airflow_provider_polars.dev_cluster.cli import _parser as dev_cluster_parser
from airflow_provider_polars.get_provider_info import get_provider_info
from airflow_provider_polars.onprem.cli import _parser as node_parser
from tests.unit.guide import PAGES, REPOSITORY, Block, blocks

SHELL = [*blocks("bash"), *blocks("shell")]
FIELDS = {entry["connection-type"]: set(entry["conn-fields"]) for entry in get_provider_info()["connection-types"]}
REAL = ("bash", "cat", "env", "mkdir", "tee")
"""Commands that blocks may really run, in a folder of the test."""

STAND_IN = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
"""


def read_airflow(arguments: list[str]) -> None:
    given = vars(get_parser().parse_args(arguments))
    if given.get("conn_type") in FIELDS and given.get("conn_extra"):
        assert set(json.loads(given["conn_extra"])) <= FIELDS[given["conn_type"]]


def read_make(arguments: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {argument for argument in arguments if "=" not in argument} <= targets


def read_git(arguments: list[str]) -> None:
    """Read a clone: of the repository that the package names as its own."""
    source = re.search(r'^Source = "(.*)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert source is not None
    assert arguments == ["clone", source[1]]


def read_pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    constraints = (REPOSITORY / "constraints.txt").read_text().splitlines()
    extras = set(re.findall(r"^([\w-]+) = \[", (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE))
    names = [argument for argument in arguments[1:] if not argument.startswith("--") and "://" not in argument]
    for name in names:
        requirement = Requirement(re.sub(r"^dist/airflow_provider_polars-[^[]*", "airflow-provider-polars", name))
        if requirement.name == "airflow-provider-polars":
            assert name.startswith("dist/"), "no index has the package"
            assert requirement.extras <= extras
        elif requirement.specifier:
            assert f"{requirement.name}{requirement.specifier}" in constraints, "not what the tests run with"


READERS: dict[str, Callable[[list[str]], Any]] = {
    "airflow": read_airflow,
    "polars-dev-cluster": lambda arguments: dev_cluster_parser().parse_args(arguments),
    "polars-node": lambda arguments: node_parser().parse_args(arguments),
    "git": read_git,
    "make": read_make,
    "pip": read_pip,
    **dict.fromkeys(("docker", "find", "python", "python3.11", "sed"), lambda arguments: None),
}
"""What checks the arguments of a command; those of commands that are not ours are left to their own tests."""


def called_and_set(block: Block, folder: Path) -> tuple[list[list[str]], dict[str, str]]:
    """Run a block with stand-ins; return their calls, and the variables that it leaves behind."""
    commands = folder / "bin"
    commands.mkdir()
    for name in READERS:
        (commands / name).write_text(STAND_IN)
        (commands / name).chmod(0o755)
    for name in REAL:
        (commands / name).symlink_to(str(shutil.which(name)))
    home = folder / "home"
    for file in ("airflow-venv/bin/activate", "control-plane.env", ".compose/secrets/admin_password"):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).touch()
    for place in ("airflow-provider-polars", "orders"):  # a clone, and a folder of the tutorial
        (home / place).mkdir()
    before = {
        "PATH": str(commands),
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "CALLS": str(folder / "calls"),
        "KEPT": str(folder / "kept"),
    }
    done = subprocess.run(
        ["/bin/bash", "-euc", block.text + '\nenv -0 > "$KEPT"'], cwd=home, env=before, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block}: {done.stderr}"
    after = dict(entry.split("=", 1) for entry in (folder / "kept").read_text().split("\0") if entry)
    calls = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
    ignored = {*before, "PWD", "OLDPWD", "SHLVL", "_"} - {"AIRFLOW_HOME"}
    return [json.loads(call) for call in calls], {name: after[name] for name in after if name not in ignored}


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_of_the_guide_are_understood_by_what_they_call(block: Block, tmp_path: Path) -> None:
    calls, variables = called_and_set(block, tmp_path)
    for name, *arguments in calls:
        READERS[name](arguments)
    for name, value in variables.items():
        check_variable(name, value)
    assert calls or len(variables) > 1 or "<<" in block.text, f"{block} does nothing"


def check_variable(name: str, value: str) -> None:
    """Check a variable of Airflow: an option that exists, or a connection whose fields do."""
    if name.startswith("AIRFLOW_CONN_"):
        make = Connection.from_json if value.startswith("{") else Connection.from_uri
        connection = make(value, conn_id="docs")
        assert set(connection.extra_dejson) <= FIELDS[connection.conn_type]
    elif option := re.fullmatch(r"AIRFLOW__(\w+?)__(\w+)", name):
        assert_option(option[1].lower(), option[2].lower())
    else:
        assert name == "AIRFLOW_HOME" or name.startswith(("AIRFLOW_VAR_", "POLARS_"))


def assert_option(section: str, option: str) -> None:
    """Assert that Airflow, or a provider that is installed, has an option."""
    known = {**conf.configuration_description, **get_provider_info()["config"]}
    assert option in known[section]["options"], f"[{section}] {option}"


def test_options_in_configuration_files_of_the_guide_exist() -> None:
    found = re.compile(r"^\[([\w.]+)\]$|^(\w+) *=", re.MULTILINE)
    for block in blocks("ini"):
        section = ""
        for match in found.finditer(block.text):
            if match[1]:
                section = match[1]
            else:
                assert_option(section, match[2])


def test_toml_and_yaml_of_the_guide_parse() -> None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    import yaml

    for block in blocks("toml"):
        assert tomllib.loads(block.text), block
    for block in blocks("yaml"):
        assert yaml.safe_load(block.text), block


def test_every_block_says_its_language_and_is_not_indented() -> None:
    """No test looks at a block without a language, or at one in a list, which MkDocs shows as text."""
    languages = {"bash", "ini", "json", "python", "shell", "sql", "text", "toml", "yaml"}
    for page in PAGES:
        assert not re.search(r"^ +```", page.read_text(), re.MULTILINE), page.name
        opened = re.findall(r"^```(\w*).*\n(?:.*\n)*?```$", page.read_text(), re.MULTILINE)
        assert set(opened) <= languages, page.name


def test_a_command_that_is_not_known_is_found(tmp_path: Path) -> None:
    block = Block(REPOSITORY / "README.md", 1, "bash", "airflowe dags list\n")
    with pytest.raises(AssertionError, match="airflowe"):
        called_and_set(block, tmp_path)
