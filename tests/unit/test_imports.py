"""What an import of this package brings with it: nothing heavy, and into a DAG file nothing but itself."""

from __future__ import annotations

import ast
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pytest

import airflow_provider_polars

PACKAGE = "airflow_provider_polars"
HEAVY = (
    "polars",
    "polars_cloud",
    "grpc",
    "boto3",
    "botocore",
    "paramiko",
    "pyarrow",
    "distributed",
    "deltalake",
    "openlineage",
    "pyiceberg",
)
MAY_BE_HEAVY = (f"{PACKAGE}.runner", f"{PACKAGE}.dev_cluster", f"{PACKAGE}.protocol.")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(airflow_provider_polars.__path__, f"{PACKAGE}.")
    if not module.name.startswith(MAY_BE_HEAVY)
)
OF_AIRFLOW = {"airflow.sdk.bases.operatorlink", "airflow.sdk.bases.sensor"}
"""Light modules of Airflow's own that a bare DAG file has not loaded."""

NAMES = airflow_provider_polars.__all__
FOLDER = Path(airflow_provider_polars.__file__).parent


ADDED_BY_EACH = """
import importlib, json, sys
from airflow.sdk import dag, task
bare = {name for name in sys.modules if not name.startswith('airflow_provider_polars')}
def added(import_it):
    for name in set(sys.modules) - bare:
        del sys.modules[name]
    import_it()
    return sorted(set(sys.modules) - bare)
"""


def test_every_module_can_be_imported_first_and_brings_nothing_heavy(run_python: Callable[..., str]) -> None:
    output = run_python(
        f"{ADDED_BY_EACH}"
        f"print(json.dumps({{name: added(lambda: importlib.import_module(name)) for name in {MODULES}}}))"
    )
    added = json.loads(output)
    assert list(added) == MODULES
    for module, others in added.items():
        assert module in others
        assert {other.partition(".")[0] for other in others}.isdisjoint(HEAVY), module


def test_a_bare_dag_file_has_loaded_nothing_heavy_either(run_python: Callable[..., str]) -> None:
    output = run_python(f"{ADDED_BY_EACH}print(*(name for name in {HEAVY} if name in sys.modules))")
    assert output.split() == []


def test_a_public_name_brings_only_our_own_and_light_modules_of_airflow_into_a_dag_file(
    run_python: Callable[..., str],
) -> None:
    output = run_python(
        f"{ADDED_BY_EACH}"
        "def get(name):\n"
        f"    return getattr(importlib.import_module('{PACKAGE}'), name)\n"
        f"print(json.dumps({{name: added(lambda: get(name)) for name in {NAMES}}}))"
    )
    added = json.loads(output)
    assert list(added) == NAMES
    for name, modules in added.items():
        assert {module for module in modules if module.partition(".")[0] != PACKAGE} <= OF_AIRFLOW, name
        assert f"{PACKAGE}.{airflow_provider_polars._EXPORTS[name]}" in modules


def test_the_package_alone_imports_nothing_of_ours(run_python: Callable[..., str]) -> None:
    output = run_python(f"import {PACKAGE}, sys; print(*(name for name in sys.modules if name.startswith('airflow')))")
    assert output.split() == [PACKAGE]


def test_all_names_can_be_imported_by_a_star(run_python: Callable[..., str]) -> None:
    output = run_python(f"from {PACKAGE} import *\nprint(*(name for name in dir() if not name.startswith('__')))")
    assert output.split() == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_the_object_of_its_module(name: str) -> None:
    assert getattr(airflow_provider_polars, name).__name__ == name
    assert getattr(airflow_provider_polars, name).__module__ == f"{PACKAGE}.{airflow_provider_polars._EXPORTS[name]}"


def test_public_names_are_listed_before_they_are_used(run_python: Callable[..., str]) -> None:
    output = run_python(f"import {PACKAGE}, sys\nprint(*dir({PACKAGE}), '{PACKAGE}.spec' in sys.modules)")
    *listed, loaded = output.split()
    assert set(NAMES) <= set(listed)
    assert loaded == "False"


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse((FOLDER / "__init__.py").read_text())
    seen = {
        alias.name: node.module.removeprefix(f"{PACKAGE}.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE)
        for alias in node.names
    }
    assert seen == airflow_provider_polars._EXPORTS


def test_no_module_has_the_name_of_a_public_name() -> None:
    assert {module.rpartition(".")[2] for module in MODULES}.isdisjoint(NAMES)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'airflow_provider_polars' has no attribute 'PolarsTask'"):
        airflow_provider_polars.PolarsTask  # noqa: B018
    with pytest.raises(ImportError, match="PolarsTask"):
        exec(f"from {PACKAGE} import PolarsTask")
