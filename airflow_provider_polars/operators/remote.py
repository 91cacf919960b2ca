"""``PolarsRemoteOperator``: runs one query on a compute and hands on a reference to its result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_polars.backends.base import Submission
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute.cluster import ClusterCompute
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.labels import airflow_labels
from airflow_provider_polars.lineage.listening import is_listened_to, parent_run
from airflow_provider_polars.lineage.record import Lineage, expected
from airflow_provider_polars.links import observatory, portal
from airflow_provider_polars.operators.arguments import (
    Sinks,
    as_sinks,
    check_fit,
    check_group,
    check_locations,
    check_mapped_sinks,
    check_names,
    check_values,
    check_waiting,
    is_output_map,
)
from airflow_provider_polars.operators.base import PolarsBaseOperator
from airflow_provider_polars.operators.inputs import InputResolver
from airflow_provider_polars.operators.outputs import make_outputs
from airflow_provider_polars.operators.query_waiting import Awaited, QueryWaitingOperator
from airflow_provider_polars.query.annotations import parameter_form
from airflow_provider_polars.query.options import OPTION_NAMES, QueryOptions
from airflow_provider_polars.query.source import Query, SqlSource, make_source

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_polars.query.sinks import Sink


class PolarsRemoteOperator(QueryWaitingOperator):
    """Run a query on a compute, write its result, and return a reference to it.

    ``deferrable``, ``defer_after``, ``durable`` and ``cancel_on_kill`` are those of :class:`QueryWaitingOperator`.

    :param query: a function that returns a LazyFrame, or ``"package.module:function"``. With a dict of sinks it
        returns a dict of LazyFrames with the same keys.
    :param query_kwargs: (templated) arguments of the function; an upstream result arrives as a LazyFrame.
    :param sql: (templated, ``.sql``) a SELECT, instead of ``query``.
    :param tables: (templated) tables of the SQL by name: a path, a URL or an upstream result.
    :param sink: (templated) where the result goes; a dict of sinks for several outputs. Default a location below
        ``[polars] results_path``.
    :param engine: (templated) ``auto``, ``streaming``, ``in-memory`` or ``gpu``; default that of the compute.
    :param distributed: (templated) run on all workers of a cluster.
    :param labels: (templated) labels of the query.
    :param priority: (templated) higher runs first, on a cluster that queues.
    :param n_retries: (templated) how often the compute itself tries the query again.
    :param head_rows: (templated) first rows to keep in the reference, which holds at most 1 KB of them; default 0.
    :param timeout: (templated) seconds after which the query is cancelled and the task fails; default none.
    :param wait: (templated) False ends the task once the query is submitted, on computes that run on without it.
    :param compute: (templated) see :class:`PolarsBaseOperator`.
    :param conn_id: (templated) see :class:`PolarsBaseOperator`.
    :return: a :class:`ResultRef` as a plain dict; a dict of them for a dict of sinks.
    """

    template_fields: Sequence[str] = (
        *PolarsBaseOperator.template_fields,
        "query_kwargs",
        "sql",
        "tables",
        "sink",
        *OPTION_NAMES,
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **PolarsBaseOperator.template_fields_renderers,
        "query_kwargs": "json",
        "sql": "sql",
        "tables": "json",
        "sink": "json",
    }
    operator_extra_links: Collection[BaseOperatorLink] = (
        observatory.PolarsObservatoryLink(),
        portal.PolarsComputeLink(),  # for a compute of its own, which a connection or a template may name
    )
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        query: Callable[..., Any] | str | None = None,
        query_kwargs: Mapping[str, Any] | None = None,
        sql: str | None = None,
        tables: Mapping[str, Any] | None = None,
        sink: Sink | Mapping[str, Any] | None = None,
        engine: str | None = None,
        distributed: bool | Mapping[str, Any] | None = None,
        labels: str | list[str] | tuple[str, ...] | None = None,
        priority: int | None = None,
        n_retries: int | None = None,
        head_rows: int | None = None,
        timeout: float | None = None,
        wait: bool | None = None,
        **kwargs: Any,
    ) -> None:
        check_names(type(self).__name__, kwargs, type(self))
        if is_output_map(sink):
            kwargs["multiple_outputs"] = True
        super().__init__(**kwargs)
        self.query = make_source(query) if query is not None else None
        self.query_kwargs = query_kwargs
        self.sql = sql
        self.tables = tables
        self.sink = sink
        self.engine = engine
        self.distributed = distributed
        self.labels = labels
        self.priority = priority
        self.n_retries = n_retries
        self.head_rows = head_rows
        self.timeout = timeout
        self.wait = wait
        if not getattr(self, "_BaseOperator__from_mapped", False):  # a mapped one is made in the task; perform() checks
            check_values(self.given_arguments())

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin a mapped task; see Airflow's ``BaseOperator.partial``. Arguments are checked here already."""
        check_names(cls.__name__, kwargs, cls)
        check_values(kwargs)
        if kwargs.get("query") is not None:
            kwargs["query"] = make_source(kwargs["query"])
        return super().partial(**kwargs)

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render as Airflow does; of the arguments, people then see those that were given. Not called for mapped tasks.

        Airflow 3.3 spends 0.3 ms and more on every further field it shows, be it None.
        """
        super().render_template_fields(context, jinja_env)
        self.template_fields = tuple(name for name in self.template_fields if getattr(self, name) is not None)

    def perform(self, context: Context) -> Any:
        self.operator_extra_links = ()  # until there is something to look at: Airflow would keep an empty address
        sinks, options = as_sinks(self.sink), QueryOptions(**self._options())
        check_locations(sinks)
        compute = self.resolve_compute(context)
        check_fit(compute, sinks, options)
        check_mapped_sinks(self, context["ti"].map_index)
        check_group(self, options)
        check_waiting(compute, self.defer_after, cancel_on_kill=self.cancel_on_kill)
        single = not is_output_map(self.sink)
        self._check_mapping(single and context["ti"].map_index in (None, -1))
        if not compute.needs_start:
            return self._run(compute, sinks, options, context)
        if unkept := [name for name, sink in sinks.items() if sink is None]:
            self.log.warning(
                "%s of this task has no sink, and so lies where the service keeps such results; it may be gone once "
                "the instance is stopped, at the end of this task. Give it a sink for later tasks to read it.",
                ", ".join(unkept),
            )
        with self.make_own(compute, context).started() as handle:
            return self._run(handle, sinks, options, context)

    def _run(self, compute: Compute, sinks: Sinks, options: QueryOptions, context: Context) -> Any:
        ti, remote, single = context["ti"], isinstance(compute, RemoteCompute), not is_output_map(self.sink)
        submission = Submission(
            query=self.build(context, InputResolver(here=not remote)),
            outputs=make_outputs(sinks, context, kept_by_compute=remote),
            options=options,
            single=single,
            labels=airflow_labels(ti.dag_id, ti.task_id, ti.run_id, -1 if ti.map_index is None else ti.map_index),
            finds_inputs=is_listened_to(),
            parent_run=parent_run(ti) if self._tells_parent_run(compute) else None,
        )
        if options.wait is False:
            runs = {run.output: run.to_dict() for run in self.submit(submission, compute, context)}
            return runs["return_value"] if list(runs) == ["return_value"] else runs
        return self.run_query(submission, compute, context)

    def expected_lineage(self) -> Lineage:
        return expected(self.function_arguments(), self.tables, as_sinks(self.sink))

    def function_arguments(self) -> Any:
        """Return what the function of the query is called with, as XCom brings it."""
        return self.query_kwargs

    def _tells_parent_run(self, compute: Compute) -> bool:
        return self.openlineage_inject_parent_job_info and isinstance(compute, ClusterCompute)

    def awaited(self, context: Context) -> Awaited:
        """Return what this task writes on a compute that is not its worker, and its options."""
        outputs = make_outputs(as_sinks(self.sink), context, kept_by_compute=True)
        return Awaited(outputs, QueryOptions(**self._options()), single=not is_output_map(self.sink))

    def build(self, context: Context, resolver: InputResolver) -> Query:
        """Return the query of this task, the upstream results in its arguments ready to be scanned."""
        if (self.query is None) == (self.sql is None):
            raise ConfigurationError("Give exactly one of query= and sql=.")
        unused = "query_kwargs" if self.sql is not None else "tables"
        if getattr(self, unused):
            raise ConfigurationError(
                f"{unused}= has no use here: query= takes its arguments from query_kwargs=, sql= from tables=."
            )
        if self.sql is not None:
            tables = {name: resolver.table(name, value) for name, value in (self.tables or {}).items()}
            return Query(SqlSource(self.sql), kwargs=tables)
        source = self.query
        assert source is not None

        def convert(name: str, value: Any) -> Any:
            return resolver.convert(value, lambda: parameter_form(source.load(), name))

        return Query(source, kwargs={name: convert(name, value) for name, value in (self.query_kwargs or {}).items()})

    def _check_mapping(self, single: bool) -> None:
        if single and next(iter(self.iter_mapped_dependants()), None) is not None:
            raise ConfigurationError(
                f"A task is expanded over the one result of {self.task_id!r}, which would map over its fields. "
                f"Write .expand(name=[{self.task_id}_result]) for a list of one, or give this task a dict of sinks."
            )

    def given_arguments(self) -> dict[str, Any]:
        """Return the arguments that are checked: options, sink and compute."""
        return {**self._options(), "sink": self.sink, "compute": self.compute}

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in OPTION_NAMES}
