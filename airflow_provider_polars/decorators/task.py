"""``@polars_task``, also ``@task.polars``: a function that returns a LazyFrame becomes a task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, overload

from airflow.sdk.bases.decorator import DecoratedOperator, determine_kwargs, task_decorator_factory

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.operators.arguments import check_names, check_values, is_output_map
from airflow_provider_polars.operators.inputs import InputResolver
from airflow_provider_polars.operators.remote import PolarsRemoteOperator
from airflow_provider_polars.query.annotations import parameter_form, positional_names, returns_mapping
from airflow_provider_polars.query.source import FunctionSource, Query

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import Task


class _PolarsDecoratedOperator(DecoratedOperator, PolarsRemoteOperator):
    """Takes the query from the decorated function; all else is :class:`PolarsRemoteOperator`."""

    custom_operator_name = "@task.polars"
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *PolarsRemoteOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **PolarsRemoteOperator.template_fields_renderers,
    }
    taken_arguments: ClassVar[frozenset[str]] = frozenset({"query", "query_kwargs", "sql", "tables"})

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        check_names("polars_task", kwargs, type(self))
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def function_arguments(self) -> Any:
        return [self.op_args, self.op_kwargs]

    def build(self, context: Context, resolver: InputResolver) -> Query:
        """Return the function with its arguments; the context's names are there for parameters that ask for them."""
        function = self.python_callable

        def convert(name: str, value: Any) -> Any:
            return resolver.convert(value, lambda: parameter_form(function, name))

        positional = positional_names(function, len(self.op_args))
        args = tuple(convert(name, value) for name, value in zip(positional, self.op_args, strict=True))
        given = {name: convert(name, value) for name, value in self.op_kwargs.items()}
        kwargs = determine_kwargs(function, args, {**context, **given})
        return Query(FunctionSource(function), args, dict(kwargs))


@overload
def polars_task(python_callable: Callable[..., Any], /) -> Task[..., Any]: ...


@overload
def polars_task(
    python_callable: None = None, /, *, multiple_outputs: bool | None = None, **kwargs: Any
) -> Callable[[Callable[..., Any]], Task[..., Any]]: ...


def polars_task(
    python_callable: Callable[..., Any] | None = None,
    /,
    *,
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Make a task of a function that returns a LazyFrame, or a dict of them with a dict of sinks.

    Takes the arguments of :class:`PolarsRemoteOperator` and of Airflow's ``BaseOperator``. Upstream results arrive
    as LazyFrames; a parameter annotated ``pl.DataFrame`` gets it collected, one annotated ``ResultRef`` the
    reference itself.

    :param multiple_outputs: push each output as an XCom of its own. A dict of sinks always does; for a ``sink=``
        that another task returns, the default is whether the function's return annotation is a dict.
    :raises UnknownArgumentError: for a misspelt argument, naming the nearest.
    :raises ConfigurationError: for a value that cannot be right.
    """
    check_names("polars_task", kwargs, _PolarsDecoratedOperator)
    check_values(kwargs)

    def decorate(function: Callable[..., Any]) -> Any:
        sink = kwargs.get("sink")
        if sink is None and returns_mapping(function):
            raise ConfigurationError(
                f"{function.__name__} returns a dict: name its outputs with sink={{'name': ParquetSink(...)}}; "
                "None in the place of a sink means a location below [polars] results_path."
            )
        several = is_output_map(sink) or (sink is not None and returns_mapping(function))
        return task_decorator_factory(
            python_callable=function,
            multiple_outputs=several if multiple_outputs is None else multiple_outputs,
            decorated_operator_class=_PolarsDecoratedOperator,
            **kwargs,
        )

    return decorate if python_callable is None else decorate(python_callable)
