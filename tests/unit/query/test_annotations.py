"""What a parameter gets, told from its annotation's text alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union  # noqa: UP035

import polars as pl
import pytest

from airflow_provider_polars import ResultRef
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.query.annotations import parameter_form, returns_mapping

if TYPE_CHECKING:
    from somewhere_that_is_not_installed import DataFrame

UNSET = inspect.Parameter.empty


def annotated(annotation: Any, returns: Any = UNSET) -> Callable[..., Any]:
    """Return a function whose parameter ``x`` has ``annotation``."""

    def function(x, *rest, **others):  # type: ignore[no-untyped-def]
        """Do nothing."""

    given = {"x": annotation, "rest": annotation, "others": annotation, "return": returns}
    function.__annotations__ = {name: value for name, value in given.items() if value is not UNSET}
    return function


@pytest.mark.parametrize(
    ("annotation", "form"),
    [
        (UNSET, "lazy"),
        (pl.LazyFrame, "lazy"),
        ("pl.LazyFrame", "lazy"),
        (int, "lazy"),
        ("Any", "lazy"),
        (pl.DataFrame, "eager"),
        ("pl.DataFrame", "eager"),
        ("'pl.DataFrame'", "eager"),
        ("pl.DataFrame | None", "eager"),
        (pl.DataFrame | None, "eager"),
        (Optional[pl.DataFrame], "eager"),  # noqa: UP045
        (list[pl.DataFrame], "eager"),
        (List[pl.DataFrame], "eager"),  # noqa: UP006
        ("dict[str, list[DataFrame]]", "eager"),
        (ResultRef, "ref"),
        ("ResultRef", "ref"),
        (list[ResultRef], "ref"),
        ("MyDataFrameLike", "lazy"),
        ("no.such.module.Name", "lazy"),
    ],
)
def test_the_form_that_an_annotation_asks_for(annotation: Any, form: str) -> None:
    assert parameter_form(annotated(annotation), "x") == form


def test_an_annotation_that_cannot_be_imported_is_read_all_the_same() -> None:
    def function(x: DataFrame, y: Optional[DataFrame] = None) -> None:  # noqa: UP045
        """Do nothing."""

    assert [parameter_form(function, name) for name in ("x", "y")] == ["eager", "eager"]


def test_arguments_that_a_function_collects_take_the_form_of_what_collects_them() -> None:
    function = annotated("pl.DataFrame")
    assert [parameter_form(function, name) for name in ("rest", "others", "any_name")] == ["eager"] * 3


def test_a_name_that_is_no_parameter_is_lazy() -> None:
    assert parameter_form(lambda x: x, "y") == "lazy"


@pytest.mark.parametrize(
    "annotation",
    [
        "pl.LazyFrame | pl.DataFrame",
        pl.LazyFrame | pl.DataFrame,
        Union[pl.DataFrame, ResultRef],  # noqa: UP007
        "dict[ResultRef, pl.LazyFrame]",
    ],
)
def test_an_annotation_that_names_two_forms_is_refused_by_the_parameter(annotation: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parameter_form(annotated(annotation), "x")
    assert "Parameter 'x' is annotated" in str(caught.value)
    assert "names more than one of LazyFrame, DataFrame, ResultRef" in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (dict, True),
        (dict[str, pl.LazyFrame], True),
        (Dict[str, Any], True),  # noqa: UP006
        (Mapping[str, Any], True),
        ("dict[str, pl.LazyFrame]", True),
        ("'dict[str, pl.LazyFrame]'", True),
        ("Mapping[str, pl.LazyFrame]", True),
        (UNSET, False),
        (None, False),
        (pl.LazyFrame, False),
        ("pl.LazyFrame", False),
        ("list[dict]", False),
        ("dictionary", False),
    ],
)
def test_whether_a_function_says_that_it_returns_a_dict(annotation: Any, expected: bool) -> None:
    assert returns_mapping(annotated(UNSET, annotation)) is expected


def test_a_callable_without_annotations_does_not_say_that_it_returns_a_dict() -> None:
    class Builder:
        """Has no annotations of its own."""

        def __call__(self) -> dict[str, pl.LazyFrame]:
            """Return nothing."""
            return {}

    assert returns_mapping(Builder()) is False
