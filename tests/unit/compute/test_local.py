"""The embedded default as a value."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from airflow_provider_polars import Compute, LocalCompute
from airflow_provider_polars.backends.base import Backend
from airflow_provider_polars.exceptions import ConfigurationError, UnknownArgumentError
from airflow_provider_polars.hooks.polars import PolarsHook
from tests.unit.specs import KINDS

COMPUTES = [kind for kind in KINDS if issubclass(kind, Compute)]
computes = pytest.mark.parametrize("compute", COMPUTES, ids=lambda compute: compute.kind)


def test_it_needs_nothing() -> None:
    compute = LocalCompute()
    assert compute.to_dict() == {"kind": "local"}
    assert repr(compute) == "LocalCompute()"
    assert (compute.engine, compute.threads, compute.memory_limit_gb, compute.python) == ("auto", None, None, None)


def test_what_is_given_is_shown_and_kept() -> None:
    compute = LocalCompute(engine="streaming", threads=4, memory_limit_gb=8, python="/opt/python")
    assert repr(compute) == ("LocalCompute(engine='streaming', threads=4, memory_limit_gb=8.0, python='/opt/python')")
    assert Compute.from_dict(compute.to_dict()) == compute
    assert compute in {compute}
    assert compute != LocalCompute(engine="streaming")


def test_its_json_form_is_found_before_its_module_is_imported(run_python: Any) -> None:
    output = run_python(
        "from airflow_provider_polars import Compute\n"
        "import sys\n"
        "assert 'airflow_provider_polars.compute.local' not in sys.modules\n"
        "print(Compute.from_dict({'kind': 'local', 'threads': 2}))"
    )
    assert output.strip() == "LocalCompute(threads=2)"


def test_it_is_given_by_keywords_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        LocalCompute("streaming")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"engine": "warp"}, "LocalCompute(engine=) must be one of auto, streaming, in-memory, gpu, got 'warp'."),
        ({"engine": "in_memory"}, "got 'in_memory'; did you mean 'in-memory'?"),
        ({"engine": None}, "LocalCompute(engine=) must be one of auto, streaming, in-memory, gpu, got None."),
        ({"threads": 0}, "LocalCompute(threads=) must be above zero, got 0."),
        ({"threads": -1}, "LocalCompute(threads=) must be above zero, got -1."),
        ({"threads": "two"}, "LocalCompute(threads=) must be int, got str: 'two'."),
        ({"threads": 1.5}, "LocalCompute(threads=) must be int, got float: 1.5."),
        ({"threads": True}, "LocalCompute(threads=) must be int, got bool: True."),
        ({"memory_limit_gb": 0}, "LocalCompute(memory_limit_gb=) must be above zero, got 0.0."),
        ({"memory_limit_gb": float("nan")}, "LocalCompute(memory_limit_gb=) must be float, got float: nan."),
        ({"python": "python3"}, "LocalCompute(python=) must be an absolute path of an interpreter, got 'python3'."),
        ({"python": ""}, "LocalCompute(python=) must be an absolute path of an interpreter, got ''."),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name_and_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LocalCompute(**fields)
    assert message in str(caught.value)


def test_a_misspelt_keyword_names_the_nearest_and_all_there_are() -> None:
    with pytest.raises(UnknownArgumentError) as caught:
        LocalCompute(memory_limit=8)  # type: ignore[call-arg]
    assert str(caught.value) == (
        "LocalCompute has no argument 'memory_limit'; did you mean 'memory_limit_gb'? "
        "Its arguments are: engine, memory_limit_gb, python, threads."
    )


@pytest.mark.parametrize("field", ["engine", "threads", "memory_limit_gb", "python"])
def test_every_field_takes_a_template_and_is_checked_once_it_is_rendered(field: str) -> None:
    compute = LocalCompute(**{field: "{{ params.x }}"})
    rendered = {"engine": "gpu", "threads": "2", "memory_limit_gb": "0.5", "python": "/opt/python"}[field]
    expected = {"engine": "gpu", "threads": 2, "memory_limit_gb": 0.5, "python": "/opt/python"}[field]
    assert compute.map_templates(lambda _: rendered) == LocalCompute(**{field: expected})
    with pytest.raises(ConfigurationError, match=rf"LocalCompute\({field}=\)"):
        compute.map_templates(lambda _: "nothing that fits")


@computes
def test_a_kind_lives_in_the_module_of_its_name(compute: type[Compute]) -> None:
    assert compute.__module__ == f"airflow_provider_polars.compute.{compute.kind}"


@computes
def test_a_kind_names_a_backend_and_a_hook_that_exist(compute: type[Compute]) -> None:
    for path, base in ((compute.backend, Backend), (compute.hook, PolarsHook)):
        module, _, name = path.partition(":")
        assert issubclass(getattr(importlib.import_module(module), name), base)
