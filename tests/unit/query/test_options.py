"""Options of one query."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_polars import LocalCompute
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError
from airflow_provider_polars.query.options import OPTION_NAMES, QueryOptions
from tests.unit.specs import KINDS, minimal

GIVEN: dict[str, Any] = {
    "engine": "streaming",
    "distributed": True,
    "labels": ("daily",),
    "priority": 1,
    "n_retries": 2,
    "head_rows": 3,
    "timeout": 4.5,
    "wait": False,
}
COMPUTES = [kind for kind in KINDS if issubclass(kind, Compute)]


def test_every_option_is_shown_here() -> None:
    assert tuple(GIVEN) == OPTION_NAMES


def test_nothing_is_given_by_default() -> None:
    assert {getattr(QueryOptions(), name) for name in OPTION_NAMES} == {None}


def test_to_wait_is_what_every_compute_does_anyway() -> None:
    options = QueryOptions(wait=True)
    assert options == QueryOptions()
    assert options.check_compute(LocalCompute()) is None


@pytest.mark.parametrize("compute", COMPUTES, ids=lambda compute: compute.kind)
@pytest.mark.parametrize("name", GIVEN)
def test_an_option_is_honoured_or_refused_by_name(name: str, compute: type[Compute]) -> None:
    options = QueryOptions(**{name: GIVEN[name]})
    if name in compute.options:
        assert options.check_compute(minimal(compute)) is None
        return
    with pytest.raises(RefusedOptionError) as caught:
        options.check_compute(minimal(compute))
    assert f"{name}={GIVEN[name]!r} is an option that {compute.__name__} cannot honour" in str(caught.value)
    assert "Remove it or choose another compute" in str(caught.value)


def test_options_that_only_clusters_have_are_refused_by_the_embedded_compute() -> None:
    assert set(OPTION_NAMES) - LocalCompute.options == {"distributed", "priority", "n_retries", "wait"}


def test_a_false_option_is_still_one_that_was_given() -> None:
    with pytest.raises(RefusedOptionError, match="distributed=False"):
        QueryOptions(distributed=False).check_compute(LocalCompute())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("labels", "daily", ("daily",)),
        ("labels", ["a", "b"], ("a", "b")),
        ("timeout", "90", 90.0),
        ("head_rows", "3", 3),
        ("head_rows", 0, 0),
        ("distributed", {"stages": 3}, {"stages": 3}),
        ("distributed", "true", True),
        ("priority", -1, -1),
        ("engine", "{{ params.engine }}", "{{ params.engine }}"),
        ("wait", "false", False),
        ("wait", "true", None),
    ],
)
def test_an_option_is_brought_to_its_type(name: str, value: Any, expected: Any) -> None:
    assert getattr(QueryOptions(**{name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("engine", "warp", "engine= must be one of auto, streaming, in-memory, gpu, got 'warp'."),
        ("engine", "streamin", "got 'streamin'; did you mean 'streaming'?"),
        ("engine", "cpu", "got 'cpu'"),
        ("head_rows", -1, "head_rows= must not be negative, got -1."),
        ("timeout", -0.5, "timeout= must be above zero, or left out for none, got -0.5."),
        ("timeout", 0, "timeout= must be above zero, or left out for none, got 0.0."),
        ("n_retries", -1, "n_retries= must not be negative, got -1."),
        ("timeout", "soon", "timeout= must be float, got str: 'soon'."),
        ("timeout", float("nan"), "timeout= must be float, got float: nan."),
        ("head_rows", 1.5, "head_rows= must be int, got float: 1.5."),
        ("head_rows", True, "head_rows= must be int, got bool: True."),
        ("labels", [1], "labels= must be str, got int: 1."),
        ("distributed", 3, "distributed= must be bool, got int: 3."),
        ("wait", "later", "wait= must be bool, got str: 'later'."),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name_and_value(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        QueryOptions(**{name: value})
    assert message in str(caught.value)


@pytest.mark.parametrize("distributed", [True, {"max_workers": 2}])
def test_the_in_memory_engine_is_refused_for_a_distributed_query(distributed: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        QueryOptions(engine="in-memory", distributed=distributed)
    assert str(caught.value) == (
        'engine="in-memory" cannot run distributed. Use engine="streaming" or "auto", or distributed=False.'
    )
    assert QueryOptions(engine="in-memory", distributed=False).distributed is False


def test_a_secret_in_an_option_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        QueryOptions(distributed={"api_token": "hunter2"})
    assert "'api_token', which looks like a secret" in str(caught.value)
    assert "hunter2" not in str(caught.value)
