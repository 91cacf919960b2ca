"""``PolarsHook``: the connection's default compute, its Test button, and the way to a backend."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import LocalCompute, PolarsRemoteOperator
from airflow_provider_polars.backends.local import LocalBackend
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks.polars import PolarsHook, make_hook
from tests.unit.outcomes import failure, succeeded, used_compute

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

STREAMING = {"kind": "local", "engine": "streaming"}


def connect(monkeypatch: pytest.MonkeyPatch, extra: Any) -> PolarsHook:
    """Return a hook of a connection with this ``extra``."""
    monkeypatch.setenv("AIRFLOW_CONN_POLARS_X", json.dumps({"conn_type": "polars", "extra": extra}))
    return PolarsHook("polars_x")


def number() -> pl.LazyFrame:
    """Return one row."""
    return pl.LazyFrame({"a": [1]})


@pytest.mark.parametrize("value", [STREAMING, json.dumps(STREAMING)])
def test_default_compute_is_an_object_or_its_text(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    """A form of the user interface may save either."""
    hook = connect(monkeypatch, {"default_compute": value})
    assert hook.default_compute() == LocalCompute(engine="streaming")


@pytest.mark.parametrize("extra", [{}, {"default_compute": None}, {"default_compute": ""}, {"default_compute": {}}])
def test_connection_may_name_no_compute(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    """Then the task decides, and the Test button says on what."""
    hook = connect(monkeypatch, extra)
    assert hook.default_compute() is None
    good, message = hook.test_connection()
    assert good
    assert message == f"Polars {pl.__version__}; default compute: LocalCompute()."


def test_hook_without_a_connection_names_no_compute() -> None:
    """And needs no Airflow to say so."""
    assert PolarsHook().default_compute() is None
    assert PolarsHook().test_connection()[0]


MALFORMED = [
    ("{broken", "Expecting property name"),
    ("[1, 2]", "A compute as JSON is an object with a 'kind', got list"),
    ("local", "Expecting value"),
    (7, "A compute as JSON is an object with a 'kind', got int"),
    ({"threads": 4}, "A compute as JSON is an object with a 'kind'"),
    ({"kind": "lokal"}, "There is no compute of kind 'lokal'; did you mean 'local'?"),
    ({"kind": "local", "threats": 4}, "LocalCompute has no argument 'threats'; did you mean 'threads'?"),
    ({"kind": "local", "threads": 0}, "LocalCompute(threads=) must be above zero"),
]


@pytest.mark.parametrize(("value", "message"), MALFORMED)
def test_malformed_default_compute_is_explained(monkeypatch: pytest.MonkeyPatch, value: Any, message: str) -> None:
    """The connection is named, and an example given; the Test button, which tests a nameless copy, shows the same."""
    hook = connect(monkeypatch, {"default_compute": value})
    with pytest.raises(ConfigurationError) as caught:
        hook.default_compute()
    text = str(caught.value)
    assert text.startswith("The connection 'polars_x' has no usable default_compute: ")
    assert message in text
    assert text.endswith('Write a JSON object such as {"kind": "local", "threads": 4}.')
    assert hook.test_connection() == (False, text.replace(" 'polars_x'", ""))


def test_connection_button_reports_a_missing_polars(mocker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server need not have Polars."""
    mocker.patch.object(importlib.metadata, "version", side_effect=importlib.metadata.PackageNotFoundError("polars"))
    good, message = connect(monkeypatch, {}).test_connection()
    assert (good, message) == (False, "Polars is not installed here; install the package polars.")


def test_connection_button_does_not_import_polars() -> None:
    """The API server stays light."""
    code = (
        "import sys; from airflow_provider_polars.hooks.polars import PolarsHook; "
        "assert PolarsHook().test_connection()[0]; print('polars' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "False"


def test_connection_that_does_not_exist_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not raised: the Test button shows the message."""
    monkeypatch.delenv("AIRFLOW_CONN_POLARS_Y", raising=False)
    good, message = PolarsHook("polars_y").test_connection()
    assert not good
    assert "polars_y" in message


def test_backend_belongs_to_the_compute() -> None:
    """The kind names its hook and its backend by import path."""
    compute = LocalCompute(threads=2)
    hook = make_hook(compute, None)
    assert type(hook) is PolarsHook
    backend = hook.get_backend(compute)
    assert isinstance(backend, LocalBackend)
    assert backend.compute is compute


@pytest.mark.parametrize("value", [STREAMING, json.dumps(STREAMING)])
def test_task_without_compute_uses_that_of_its_connection(
    in_memory_airflow: InMemoryAirflow, results_path: Any, value: Any
) -> None:
    """One given to the task wins."""
    in_memory_airflow.add_connection("polars_eu", "polars", extra={"default_compute": value})
    default = PolarsRemoteOperator(task_id="a", query=number, conn_id="polars_eu")
    own = PolarsRemoteOperator(task_id="b", query=number, conn_id="polars_eu", compute=LocalCompute(engine="in-memory"))
    assert used_compute(in_memory_airflow.run_task(default)) == STREAMING
    assert used_compute(in_memory_airflow.run_task(own)) == {"kind": "local", "engine": "in-memory"}


def test_task_with_a_connection_that_names_no_compute_runs_here(
    in_memory_airflow: InMemoryAirflow, results_path: Any
) -> None:
    """As without a connection."""
    in_memory_airflow.add_connection("empty", "polars")
    outcome = in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=number, conn_id="empty"))
    succeeded(outcome)
    assert used_compute(outcome) == {"kind": "local"}


@pytest.mark.parametrize("compute", [None, LocalCompute()])
def test_task_whose_connection_does_not_exist_fails(
    in_memory_airflow: InMemoryAirflow, results_path: Any, compute: Any
) -> None:
    """At once, with our own message, which names the connection; never a silent run elsewhere."""
    work = PolarsRemoteOperator(task_id="t", query=number, conn_id="polars_absent", compute=compute)
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith("ConfigurationError: ")
    assert "conn_id='polars_absent' names no connection" in text


def test_task_whose_connection_is_malformed_fails(in_memory_airflow: InMemoryAirflow, results_path: Any) -> None:
    """Without a retry."""
    in_memory_airflow.add_connection("bad", "polars", extra={"default_compute": {"kind": "lokal"}})
    work = PolarsRemoteOperator(task_id="t", query=number, conn_id="bad")
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith(
        "ConfigurationError: The connection 'bad' has no usable default_compute: There is no compute"
    )


def test_task_whose_connection_has_a_broken_extra_fails(in_memory_airflow: InMemoryAirflow, results_path: Any) -> None:
    """Rather than run on something else than was meant."""
    in_memory_airflow.add_connection("bad", "polars", extra='{"default_compute": ')
    work = PolarsRemoteOperator(task_id="t", query=number, conn_id="bad")
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text == "ConfigurationError: The extra of the connection 'bad' is no JSON object; correct it."


def test_option_that_the_connections_compute_cannot_honour_is_refused(
    in_memory_airflow: InMemoryAirflow, results_path: Any
) -> None:
    """What parsing cannot know is checked first thing in the task."""
    in_memory_airflow.add_connection("eu", "polars", extra={"default_compute": STREAMING})
    work = PolarsRemoteOperator(task_id="t", query=number, conn_id="eu", distributed=True)
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith("RefusedOptionError: distributed=True is an option that LocalCompute cannot honour")
