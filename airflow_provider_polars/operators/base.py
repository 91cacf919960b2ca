"""``PolarsBaseOperator``: templating of Specs, the choice of the compute, and errors that end a task at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jinja2
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.exceptions import ConfigurationError, PolarsProviderError, TemplateRenderError
from airflow_provider_polars.hooks.polars import PolarsHook
from airflow_provider_polars.spec import Spec

if TYPE_CHECKING:
    from airflow.sdk import Context


class FailFastOperator(BaseOperator):
    """An operator whose permanent errors end the task without a retry. Subclasses implement :meth:`perform`."""

    def execute(self, context: Context) -> Any:
        """Run :meth:`perform`; an error that a retry cannot mend ends the task without one."""
        return _failing_fast(lambda: self.perform(context))

    def perform(self, context: Context) -> Any:
        """Do the work of the operator."""
        raise NotImplementedError

    def resume(self, context: Context, event: dict[str, Any], **kept: Any) -> Any:
        """Run :meth:`go_on` with what a trigger has found, as :meth:`execute` runs :meth:`perform`.

        :param kept: ``kwargs`` of the deferral, which :meth:`go_on` finds in the event.
        """
        return _failing_fast(lambda: self.go_on(context, {**event, **kept}))

    def go_on(self, context: Context, event: dict[str, Any]) -> Any:
        """Do what is left of the work after a deferral, in a new process."""
        raise NotImplementedError


class PolarsBaseOperator(FailFastOperator):
    """Base of the operators that use a compute.

    :param compute: (templated) a Compute, or one as a dict; default the enclosing ``polars_compute`` group's, else
        the connection's, else :class:`LocalCompute`.
    :param conn_id: (templated) Airflow connection.
    """

    template_fields: Sequence[str] = ("compute", "conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"compute": "json"}

    def __init__(
        self, *, compute: Compute | Mapping[str, Any] | None = None, conn_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.compute = compute
        self.conn_id = conn_id

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as Airflow does; a Spec is replaced by a rendered copy.

        :raises TemplateRenderError: if a template does not render, naming it.
        """
        try:
            if isinstance(content, Spec):
                if seen_oids and id(content) in seen_oids:
                    return content
                jinja_env = jinja_env or self.get_template_env()
                return content.map_templates(lambda text: self.render_template(text, context, jinja_env))
            return super().render_template(content, context, jinja_env, seen_oids)
        except jinja2.TemplateError as error:
            raise without_retry(_template_error(content, context, error)) from error
        except PolarsProviderError as error:
            raise without_retry(error) from error.__cause__

    def resolve_compute(self, context: Context) -> Compute:
        """Return what to run on: the task's own, else its group's, else the connection's, else this worker."""
        if self.compute is not None:
            return as_compute(self.compute)
        if (group := enclosing_compute_group(self)) is not None:
            if group.start is not None:
                return started_compute(group, context)
            rendered: Compute = self.render_template(group.compute, context)
            return rendered
        return PolarsHook(self.conn_id).default_compute() or LocalCompute()


def _failing_fast(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except PolarsProviderError as error:
        raise without_retry(error) from error.__cause__


def enclosing_compute_group(task: Any) -> Any:
    """Return the innermost task group around ``task`` that has a compute, None if there is none."""
    group = task.task_group
    while group is not None and not isinstance(getattr(group, "compute", None), Compute):
        group = group.parent_group
    return group


def started_compute(group: Any, context: Context) -> Compute:
    """Return the handle of the compute that the start task of a group has started, for this index of a mapped group.

    :raises ConfigurationError: if it has not.
    """
    handle = group.start.output.resolve(context)
    if not isinstance(handle, Mapping):
        raise ConfigurationError(
            f"The compute of the group {group.group_id!r} is not started: the task {group.start.task_id!r} has "
            "returned nothing. Clear this task together with it, as Airflow does by itself."
        )
    return as_compute(handle)


def as_compute(value: Any) -> Compute:
    """Return a Compute for one given as itself or as a dict.

    :raises ConfigurationError: if it is neither.
    """
    if isinstance(value, Compute):
        return value
    if isinstance(value, Mapping):
        return Compute.from_dict(value)
    raise ConfigurationError(
        f"compute= must be a Compute such as LocalCompute(), got {type(value).__name__}: {value!r}."
    )


def without_retry(error: PolarsProviderError, *, always: bool = False) -> PolarsProviderError:
    """Return ``error``; if it is permanent, as an instance of its class that Airflow does not retry either.

    :param always: take it for permanent, whatever its class says.
    """
    if not (error.permanent or always) or isinstance(error, AirflowFailException):
        return error
    kind: Any = type(error)
    failing: PolarsProviderError = _failing(kind)(*error.args)
    return failing.with_traceback(error.__traceback__)


@functools.cache
def _failing(kind: Any) -> Any:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, AirflowFailException), names)


def _template_error(content: Any, context: Context, error: jinja2.TemplateError) -> TemplateRenderError:
    if isinstance(error, jinja2.TemplateNotFound):
        return TemplateRenderError(
            f"The file {content!r} is not found. It is looked for beside the DAG file and in template_searchpath."
        )
    hint = "Check the names in it."
    run = context.get("dag_run")
    if isinstance(error, jinja2.UndefinedError) and run is not None and run.logical_date is None:
        hint = (
            "This run has no logical date (it was started by hand or by an asset), so ds, ts, logical_date and "
            "data_interval_start do not exist; use run_id, or dag_run.run_after | ds."
        )
    return TemplateRenderError(f"The template {content!r} does not render: {error.message or error}. {hint}")
