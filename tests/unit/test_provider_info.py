"""What Airflow reads about this package without importing it."""

from __future__ import annotations

import importlib
import importlib.resources
import json
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseTrigger

import airflow_provider_polars
from airflow_provider_polars import LocalCompute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.get_provider_info import get_provider_info
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.polars import PolarsHook

INFO = get_provider_info()
CONNECTION = INFO["connection-types"][0]
OPTIONS = INFO["config"]["polars"]["options"]
NEEDED = {"deployment_id"}
"""Options that have to be set where they are used: there is no name that would fit all."""

RELEASE_FACTS = {"state": "ready", "source-date-epoch": 0, "versions": [airflow_provider_polars.__version__]}
"""What Airflow's build writes into provider.yaml and leaves out of the metadata that it installs."""


def schema(name: str) -> Any:
    """Return a schema that Airflow ships."""
    return json.loads((importlib.resources.files("airflow") / name).read_text())


def dotted_paths(value: Any) -> Iterator[str]:
    """Yield every path of this package in the metadata, at any depth."""
    if isinstance(value, dict):
        for item in value.values():
            yield from dotted_paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from dotted_paths(item)
    elif isinstance(value, str) and value.startswith("airflow_provider_polars."):
        yield value


def test_the_metadata_fits_the_schema_that_airflow_checks_at_run_time() -> None:
    assert list(validator("provider_info.schema.json").iter_errors(INFO)) == []


def test_the_metadata_fits_the_stricter_schema_of_provider_yaml() -> None:
    assert list(validator("provider.yaml.schema.json").iter_errors({**INFO, **RELEASE_FACTS})) == []
    assert set(RELEASE_FACTS).isdisjoint(schema("provider_info.schema.json")["properties"])


def validator(name: str) -> Any:
    """Return a validator for a schema that Airflow ships."""
    found = schema(name)
    return jsonschema.validators.validator_for(found)(found)


@pytest.mark.parametrize("path", sorted(set(dotted_paths(INFO))))
def test_every_path_in_the_metadata_can_be_imported(path: str) -> None:
    try:
        assert importlib.import_module(path).__name__ == path
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_getting_the_metadata_imports_nothing(run_python: Callable[..., str]) -> None:
    output = run_python(
        "import sys\n"
        "before = set(sys.modules)\n"
        "from airflow_provider_polars.get_provider_info import get_provider_info\n"
        "get_provider_info()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    assert set(output.split()) <= {
        "airflow_provider_polars",
        "airflow_provider_polars.get_provider_info",
        "__future__",
        "typing",
        *output_of_typing(run_python),
    }


def output_of_typing(run_python: Callable[..., str]) -> set[str]:
    """Return what the standard library's typing loads, which the package itself uses."""
    return set(
        run_python("import sys; before = set(sys.modules); import typing\nprint(*set(sys.modules) - before)").split()
    )


KINDS = {"operators": BaseOperator, "sensors": BaseSensorOperator, "triggers": BaseTrigger, "hooks": BaseHook}
FOR_AUTHORS = ("operators", "sensors")
"""What is meant for DAG files is public; bases are not listed."""


def is_class(item: object) -> bool:
    """Return True for a class; on Python 3.10 ``tuple[int]`` is an instance of ``type`` too."""
    return isinstance(item, type) and typing.get_origin(item) is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_module_that_defines_one_for_airflow_is_listed(kind: str) -> None:
    listed = {module for entry in INFO[kind] for module in entry["python-modules"]}
    package = Path(airflow_provider_polars.__file__).parent
    defining = set()
    for file in (package / kind).glob("[a-z]*.py"):
        module = importlib.import_module(f"airflow_provider_polars.{kind}.{file.stem}")
        public = [
            item
            for name, item in vars(module).items()
            if name in airflow_provider_polars.__all__ or kind not in FOR_AUTHORS
        ]
        if any(
            is_class(item) and issubclass(item, KINDS[kind]) and item.__module__ == module.__name__ for item in public
        ):
            defining.add(module.__name__)
    assert listed == defining


def test_the_decorator_is_the_one_that_authors_import() -> None:
    (entry,) = INFO["task-decorators"]
    module, _, name = entry["class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is airflow_provider_polars.polars_task
    assert entry["name"] == "polars"


# ---- connections

each_connection = pytest.mark.parametrize(
    "connection", INFO["connection-types"], ids=lambda entry: str(entry["connection-type"])
)


def hook_of(connection: dict[str, Any]) -> type[PolarsHook]:
    """Return the hook of a connection type."""
    module, _, name = connection["hook-class-name"].rpartition(".")
    found: type[PolarsHook] = getattr(importlib.import_module(module), name)
    return found


@each_connection
def test_the_connection_type_is_the_hooks(connection: dict[str, Any]) -> None:
    hook = hook_of(connection)
    assert connection["connection-type"] == hook.conn_type
    assert connection["hook-name"] == hook.hook_name
    assert hook(**{hook.conn_name_attr: "absent"}).conn_id == "absent"


@each_connection
def test_every_field_of_the_form_is_read_and_explained(connection: dict[str, Any]) -> None:
    package = Path(airflow_provider_polars.__file__).parent
    source = "".join(file.read_text() for file in [*package.glob("hooks/*.py"), package / "credentials.py"])
    for name, field in connection["conn-fields"].items():
        assert f'"{name}"' in source
        assert field["label"]
        assert field["description"].endswith(".")


@each_connection
def test_a_form_can_be_saved_with_every_field_of_ours_empty(connection: dict[str, Any]) -> None:
    for field in connection["conn-fields"].values():
        assert "null" in field["schema"]["type"]


@each_connection
def test_a_field_of_the_form_that_holds_a_secret_is_one_that_airflow_hides(connection: dict[str, Any]) -> None:
    """That is the password; what our own fields hold is shown to whoever may see connections."""
    for name, field in connection["conn-fields"].items():
        assert field["schema"].get("format") != "password", name


@each_connection
def test_a_form_says_that_the_test_button_needs_a_port(connection: dict[str, Any]) -> None:
    behaviour = connection["ui-field-behaviour"]
    assert "port" not in behaviour["hidden-fields"]
    assert behaviour["placeholders"]["port"].endswith("the Test button of Airflow 3.3.2 answers 400")


def test_the_form_shows_no_field_that_nobody_reads() -> None:
    """But for the port, without which the Test button of Airflow 3.3.2 never reaches the hook."""
    assert set(CONNECTION["ui-field-behaviour"]["hidden-fields"]) == {"host", "login", "password", "schema"}


def test_the_example_in_the_form_is_a_compute() -> None:
    description = CONNECTION["conn-fields"]["default_compute"]["description"]
    example = re.search(r"\{.*\}", description)
    assert example is not None
    assert LocalCompute.from_dict(json.loads(example[0])) == LocalCompute(threads=4)


# ---- configuration


@pytest.fixture
def bare_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take away every ``[polars]`` setting and return AIRFLOW_HOME."""
    for name in OPTIONS:
        monkeypatch.delenv(f"AIRFLOW__POLARS__{name.upper()}", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


def test_every_option_is_read_by_a_function_of_its_name() -> None:
    assert all(callable(getattr(settings, name)) for name in OPTIONS)


def test_a_default_in_the_metadata_is_what_the_code_falls_back_to(bare_settings: Path) -> None:
    fallbacks = {
        "results_path": str(bare_settings / "polars_results"),
        "results_conn_id": None,
        "results_retention_days": 30,
        "allowed_prefixes": [],
        "client_id_variable": "POLARS_CLOUD_CLIENT_ID",
        "client_secret_variable": "POLARS_CLOUD_CLIENT_SECRET",
        "max_vcpus": None,
        "unreachable_seconds": 300,
        "vcpu_hour_price": None,
    }
    assert {name: getattr(settings, name)() for name in OPTIONS if name not in NEEDED} == fallbacks


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_an_option_without_a_default_is_asked_for(
    name: str, bare_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=rf"\[polars\] {name} is not set"):
            getattr(settings, name)()
        monkeypatch.setenv(f"AIRFLOW__POLARS__{name.upper()}", OPTIONS[name]["default"])


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - NEEDED))
def test_setting_an_option_to_its_default_changes_nothing(
    name: str, bare_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset = getattr(settings, name)()
    monkeypatch.setenv(f"AIRFLOW__POLARS__{name.upper()}", OPTIONS[name]["default"])
    assert getattr(settings, name)() == unset


@pytest.mark.parametrize("name", OPTIONS)
def test_the_example_of_an_option_is_accepted(name: str, bare_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = OPTIONS[name]["example"] or "7"
    monkeypatch.setenv(f"AIRFLOW__POLARS__{name.upper()}", example)
    expected = {
        "results_path": "s3://lake/airflow-results",
        "results_conn_id": "aws_default",
        "results_retention_days": 7,
        "allowed_prefixes": ["/data/lake", "s3://lake/", str(bare_settings / "polars_results")],
        "client_id_variable": "polars_etl_client_id",
        "client_secret_variable": "polars_etl_client_secret",
        "deployment_id": "prod",
        "max_vcpus": 64,
        "vcpu_hour_price": 0.05,
        "unreachable_seconds": 1800,
    }
    assert getattr(settings, name)() == expected[name]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("results_retention_days", "0", "must be at least 1, got 0"),
        ("results_path", "results", "[polars] results_path is the relative path 'results'"),
        ("results_path", "ftp://x/y", "[polars] results_path has the scheme 'ftp'"),
        ("deployment_id", "Prod-EU", "[polars] deployment_id must be 1 to 12 small letters and digits"),
        ("max_vcpus", "0", "[polars] max_vcpus must be a whole number above zero, or empty, got '0'."),
        ("vcpu_hour_price", "-1", "[polars] vcpu_hour_price must be a number such as 0.05, or empty, got '-1'."),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(
    option: str, value: str, message: str, bare_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW__POLARS__{option.upper()}", value)
    with pytest.raises(ConfigurationError) as caught:
        getattr(settings, option)()
    assert message in str(caught.value)
