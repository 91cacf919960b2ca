"""Templates in Compute and Sink values, in every field and at every depth; the DAG's own objects stay as they are."""

from __future__ import annotations

import copy
import dataclasses
import typing
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_polars import CsvSink, LocalCompute, ParquetSink, PolarsRemoteOperator, polars_task
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.query.sinks import FileSink, Sink
from airflow_provider_polars.spec import Spec
from tests.unit.outcomes import failure, rows, succeeded, used_compute
from tests.unit.specs import KINDS, minimal

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("results_path")

REFUSED = {("IcebergSink", "aws_conn_id"), ("IcebergSink", "storage_options")}
FIELDS = [
    (kind, field.name)
    for kind in KINDS
    for field in dataclasses.fields(kind)
    if (kind.__name__, field.name) not in REFUSED
]
TEXT = "s3://bucket/ren.dered"
ADDRESS = "http://ren.dered:0"
"""With a port that is none, so that the task ends before it looks for the host."""

SPECIAL: dict[str, Any] = {
    "python": "/ren.dered",
    "line_terminator": ";",
    "separator": "|",
    "quote_char": "~",
    "uri": ADDRESS,
    "observatory": ADDRESS,
    "ca_cert": "/ren.dered",
    "requirements": "/ren.dered",
    "idle_timeout_mins": 70,
    "compute_id": "4e4de4ed-0000-4000-8000-000000000000",
}
COMPANIONS: dict[str, dict[str, Any]] = {"cpus": {"memory": 4}, "memory": {"cpus": 2}}
"""Fields that are nothing without others."""

ALONE = {("CloudCompute", "instance_type"), ("CloudCompute", "name")}
"""Fields that are refused beside others."""

DAYS = [datetime(2026, 1, day, tzinfo=timezone.utc) for day in (1, 2)]


def skip(**_: Any) -> pl.LazyFrame:
    """End the task where its fields have been rendered and its query is to be built."""
    raise AirflowSkipException


def fields_of(kind: type[Spec]) -> dict[str, Any]:
    """Return a value for every field that may be given with the others, each different from its default."""
    return {name: _value(kind, name) for found, name in FIELDS if found is kind and (kind.__name__, name) not in ALONE}


def _value(kind: type[Spec], name: str) -> Any:
    if name in SPECIAL:
        return SPECIAL[name]
    hint = typing.get_type_hints(kind)[name]
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    if type(None) in typing.get_args(hint):
        hint = options[0]
    origin = typing.get_origin(hint)
    if origin is Literal:
        return typing.get_args(hint)[1]
    if origin in (tuple, Sequence):
        choices = typing.get_args(typing.get_args(hint)[0])
        return list(choices) or ["one", TEXT]
    if origin is dict:
        return {"uri": TEXT}
    if hint is bool:
        return not next(field.default for field in dataclasses.fields(kind) if field.name == name)
    return {int: 7, float: 7.5, str: TEXT}[hint]


def templated(value: Any) -> Any:
    """Return ``value`` with each text or number in it as a template that renders to it."""
    if isinstance(value, dict):
        return {key: templated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [templated(item) for item in value]
    return f"{{{{ '{value}' }}}}"


def argument(kind: type[Spec]) -> str:
    """Return the name of the operator's argument that takes values of this kind."""
    return "compute" if issubclass(kind, Compute) else "sink"


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}-{name}" for kind, name in FIELDS])
def test_every_field_is_rendered(kind: type[Spec], name: str, in_memory_airflow: InMemoryAirflow) -> None:
    """Numbers, choices, lists and the values of mappings too; rendered text becomes the declared type."""
    value = _value(kind, name)
    beside = COMPANIONS.get(name, {})
    spec, expected = minimal(kind, **{name: templated(value)}, **beside), minimal(kind, **{name: value}, **beside)
    task = PolarsRemoteOperator(task_id="t", query=skip, **{argument(kind): spec})
    rendered = in_memory_airflow.run_task(task).rendered_fields[argument(kind)]
    assert rendered == expected.to_dict()
    assert rendered[name] != getattr(spec, name)


def plain(arguments: dict[str, Any]) -> Any:
    """Make a classic task."""
    return PolarsRemoteOperator(task_id="t", query=skip, **arguments)


def partial(arguments: dict[str, Any]) -> Any:
    """Make a mapped task that holds the value in its common part."""
    return PolarsRemoteOperator.partial(task_id="t", query=skip, **arguments).expand(query_kwargs=[{}])


def expanded(arguments: dict[str, Any]) -> Any:
    """Make a task that is mapped over the value."""
    lists = {name: [value] for name, value in arguments.items()}
    return PolarsRemoteOperator.partial(task_id="t", query=skip).expand(**lists)


def expanded_kwargs(arguments: dict[str, Any]) -> Any:
    """Make a task that is mapped over sets of arguments."""
    return PolarsRemoteOperator.partial(task_id="t", query=skip).expand_kwargs([arguments])


def decorated(arguments: dict[str, Any]) -> Any:
    """Make a task of a function."""
    return polars_task(task_id="t", **arguments)(skip)()


def decorated_mapped(arguments: dict[str, Any]) -> Any:
    """Make a mapped task of a function."""
    return polars_task(task_id="t", **arguments)(skip).expand(x=[1])


FORMS: list[Callable[[dict[str, Any]], Any]] = [plain, partial, expanded, expanded_kwargs, decorated, decorated_mapped]


@pytest.mark.parametrize("make", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_all_fields_are_rendered_in_every_form_of_task(
    make: Callable[[dict[str, Any]], Any], kind: type[Spec], in_memory_airflow: InMemoryAirflow
) -> None:
    """All at once, plain and mapped; the value that the DAG holds is not changed."""
    spec = kind(**templated(fields_of(kind)))
    before = copy.deepcopy(spec)
    with DAG("forms", schedule=None):
        task = make({argument(kind): spec})
    index = -1 if make in (plain, decorated) else 0
    rendered = in_memory_airflow.run_task(task, map_index=index).rendered_fields[argument(kind)]
    assert rendered == kind(**fields_of(kind)).to_dict()
    assert spec == before


@pytest.mark.parametrize(
    "nest", [lambda sink: {"a": sink, "b": None}, lambda sink: {"a": sink.to_dict()}, lambda sink: {"a": [[sink]]}]
)
def test_values_in_dicts_and_lists_are_rendered(
    nest: Callable[[Spec], Any], in_memory_airflow: InMemoryAirflow
) -> None:
    """However deep they lie in a templated argument."""
    sink = ParquetSink("/lake/{{ ds }}/", partition_by=["{{ run_id }}"])
    name = "query_kwargs" if isinstance(nest(sink)["a"], list) else "sink"
    outcome = in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=skip, **{name: nest(sink)}))
    rendered = outcome.rendered_fields[name]["a"]
    while isinstance(rendered, list):
        rendered = rendered[0]
    assert rendered == {"kind": "parquet", "path": "/lake/2026-01-01/", "partition_by": ["manual"]}


def test_text_without_a_template_is_left_as_it_is(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """Jinja would drop a newline at its end."""
    sink = CsvSink(f"{tmp_path}/{{{{ ds }}}}.csv", line_terminator="\r\n", null_value="-", separator="\t")
    task = PolarsRemoteOperator(task_id="t", query=lambda: pl.LazyFrame({"a": [1, None], "b": [2, 3]}), sink=sink)
    succeeded(in_memory_airflow.run_task(task))
    assert (tmp_path / "2026-01-01.csv").read_bytes() == b"a\tb\r\n1\t2\r\n-\t3\r\n"


@pytest.mark.parametrize("terminator", ["\n", "\r\n", ";"])
def test_line_terminator_survives_rendering(in_memory_airflow: InMemoryAirflow, terminator: str) -> None:
    """Also where it is the default and given all the same."""
    sink = CsvSink("/lake/{{ ds }}.csv", line_terminator=terminator)
    task = PolarsRemoteOperator(task_id="t", query=skip)
    rendered = task.render_template(sink, {"ds": "2026-01-01"})  # type: ignore[typeddict-item]
    assert rendered == CsvSink("/lake/2026-01-01.csv", line_terminator=terminator)


def test_one_dag_object_serves_many_runs(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """Two dates rendered from one operator give two results, and the operator keeps its templates."""
    sink = ParquetSink(f"{tmp_path}/{{{{ ds }}}}.parquet")
    compute = LocalCompute(engine="{{ params.engine }}")
    task = PolarsRemoteOperator(
        task_id="t", query=lambda: pl.LazyFrame({"a": [1]}), sink=sink, compute=compute, params={"engine": "streaming"}
    )
    outcomes = [in_memory_airflow.run_task(task, logical_date=day, run_id=f"{day:%d}") for day in DAYS]
    written = [succeeded(outcome)["locations"] for outcome in outcomes]
    assert written == [[f"{tmp_path}/2026-01-01.parquet"], [f"{tmp_path}/2026-01-02.parquet"]]
    assert (task.sink, task.compute) == (sink, compute)
    assert (sink.path, compute.engine) == (f"{tmp_path}/{{{{ ds }}}}.parquet", "{{ params.engine }}")


def test_one_value_may_serve_many_tasks(in_memory_airflow: InMemoryAirflow) -> None:
    """The same object in two arguments of one task is rendered in both."""
    sink = ParquetSink("/lake/{{ ds }}/x.parquet")
    task = PolarsRemoteOperator(task_id="t", query=skip, query_kwargs={"one": sink, "two": [sink]}, sink=sink)
    rendered = in_memory_airflow.run_task(task).rendered_fields
    expected = {"kind": "parquet", "path": "/lake/2026-01-01/x.parquet"}
    assert (rendered["sink"], rendered["query_kwargs"]) == (expected, {"one": expected, "two": [expected]})


def test_people_see_the_arguments_that_were_given(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    sink = ParquetSink(f"{tmp_path}/{{{{ ds }}}}.parquet")
    task = PolarsRemoteOperator(task_id="t", sql="SELECT 1 AS a", sink=sink, head_rows=0)
    rendered = in_memory_airflow.run_task(task).rendered_fields
    assert rendered == {
        "sql": "SELECT 1 AS a",
        "sink": {"kind": "parquet", "path": f"{tmp_path}/2026-01-01.parquet"},
        "head_rows": 0,
    }


def test_rendered_fields_are_json_and_secrets_are_masked(in_memory_airflow: InMemoryAirflow) -> None:
    """What the user interface gets: objects, without what a template took from a connection."""
    in_memory_airflow.add_connection("store", "generic", login="ada", password="hidden-phrase")
    options = {"region": "eu-west-1", "plain": "{{ conn.store.login }}", "sneaked": "{{ conn.store.password }}"}
    sink = ParquetSink("s3://lake/{{ ds }}/", storage_options=options)
    with DAG("masked", schedule=None):
        task = PolarsRemoteOperator(
            task_id="t",
            query=skip,
            sink={"a": sink},
            compute=LocalCompute(threads=2),
            query_kwargs={"password": "word", "n": [1, {"k": "{{ ds }}"}]},
        )
    rendered = in_memory_airflow.run_task(task).rendered_fields
    assert rendered["compute"] == {"kind": "local", "threads": 2}
    assert rendered["query_kwargs"] == {"password": "***", "n": [1, {"k": "2026-01-01"}]}
    shown = {"region": "eu-west-1", "plain": "ada", "sneaked": "***"}
    assert rendered["sink"] == {"a": {"kind": "parquet", "path": "s3://lake/2026-01-01/", "storage_options": shown}}


@pytest.mark.parametrize(
    ("arguments", "field", "expected"),
    [
        ({"compute": LocalCompute(threads="{{ params.n }}")}, "threads", 4),  # type: ignore[arg-type]
        ({"sink": ParquetSink("/a/", partition_by="{{ params.columns }}")}, "partition_by", ["x", "y"]),  # type: ignore[arg-type]
        ({"sink": ParquetSink("s3://a/", aws_conn_id="{{ params.digits }}")}, "aws_conn_id", "20260101"),
        ({"sink": ParquetSink("s3://a/", partition_by=["{{ params.digits }}"])}, "partition_by", ["20260101"]),
        ({"query_kwargs": {"n": "{{ params.n }}"}}, "", {"n": 4}),
        ({"head_rows": "{{ params.n }}"}, "", 4),
    ],
)
def test_native_rendering_keeps_the_declared_types(
    in_memory_airflow: InMemoryAirflow, arguments: dict[str, Any], field: str, expected: Any
) -> None:
    """With ``render_template_as_native_obj`` a template gives an object; a field takes it as its own type."""
    with DAG("native", schedule=None, render_template_as_native_obj=True):
        params = {"n": 4, "columns": ["x", "y"], "digits": "20260101"}
        task = PolarsRemoteOperator(task_id="t", query=skip, params=params, **arguments)
    rendered = in_memory_airflow.run_task(task).rendered_fields
    shown = rendered[next(iter(arguments))]
    assert (shown.get(field) if field else shown) == expected


def test_undefined_name_is_named(in_memory_airflow: InMemoryAirflow) -> None:
    """The template is shown, and a retry would not help."""
    task = PolarsRemoteOperator(task_id="t", query=skip, sink=ParquetSink("/lake/{{ nonsense.x }}/a.parquet"))
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text.startswith("TemplateRenderError: The template '/lake/{{ nonsense.x }}/a.parquet' does not render: ")
    assert "'nonsense' is undefined" in text


def test_broken_template_is_named(in_memory_airflow: InMemoryAirflow) -> None:
    """As one with a syntax error."""
    task = PolarsRemoteOperator(task_id="t", query=skip, query_kwargs={"a": ["{% if %}"]})
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text.startswith("TemplateRenderError: The template '{% if %}' does not render: ")


@pytest.mark.parametrize("make", FORMS)
def test_date_without_a_logical_date_is_explained(
    make: Callable[[dict[str, Any]], Any], in_memory_airflow: InMemoryAirflow
) -> None:
    """Runs by hand and by asset have none; the message names the template and what to write, and no retry follows."""
    with DAG("by_hand", schedule=None):
        task = make({"sink": ParquetSink("/lake/{{ ds }}/a.parquet")})
    index = -1 if make in (plain, decorated) else 0
    text = failure(in_memory_airflow.run_task(task, max_tries=2, logical_date=None, map_index=index))
    assert text.startswith("TemplateRenderError: The template '/lake/{{ ds }}/a.parquet' does not render: ")
    assert "This run has no logical date" in text
    assert text.endswith("use run_id, or dag_run.run_after | ds.")


def test_remedy_for_a_run_without_a_logical_date_works(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """``dag_run.run_after | ds`` is there in every run."""
    sink = ParquetSink(f"{tmp_path}/{{{{ dag_run.run_after | ds }}}}-{{{{ run_id }}}}.parquet")
    task = PolarsRemoteOperator(task_id="t", query=lambda: pl.LazyFrame({"a": [1]}), sink=sink)
    result = succeeded(in_memory_airflow.run_task(task, logical_date=None))
    assert result["locations"] == [f"{tmp_path}/2026-01-01-manual.parquet"]


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (ParquetSink("{{ params.path }}"), "ParquetSink(path=) is the relative path 'not/absolute'"),
        (ParquetSink("/a", compression="{{ params.path }}"), "ParquetSink(compression=) must be one of lz4, "),  # type: ignore[arg-type]
        (ParquetSink("/a", row_group_size="{{ params.path }}"), "ParquetSink(row_group_size=) must be int, "),  # type: ignore[arg-type]
    ],
)
def test_rendered_value_is_checked_again(in_memory_airflow: InMemoryAirflow, sink: Sink, message: str) -> None:
    """With the message of parsing, and without a retry."""
    task = PolarsRemoteOperator(task_id="t", query=skip, sink=sink, params={"path": "not/absolute"})
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text.startswith(f"ConfigurationError: {message}")


def test_connection_ids_are_templated(in_memory_airflow: InMemoryAirflow, mocker: Any) -> None:
    """That of the operator, and those of sinks."""
    in_memory_airflow.add_connection("polars_eu", "polars", extra={"default_compute": {"kind": "local"}})
    asked = mocker.patch("airflow_provider_polars.operators.outputs.storage_options", side_effect=AirflowSkipException)
    task = PolarsRemoteOperator(
        task_id="t",
        query=skip,
        conn_id="polars_{{ params.where }}",
        sink=ParquetSink("s3://lake/", aws_conn_id="aws_{{ params.where }}"),
        params={"where": "eu"},
    )
    outcome = in_memory_airflow.run_task(task)
    asked.assert_called_once_with("aws_eu")
    assert outcome.rendered_fields["conn_id"] == "polars_eu"
    assert [request.path for request in outcome.requests if "connections" in request.path] == ["connections/polars_eu"]


def test_dict_of_a_compute_is_rendered(in_memory_airflow: InMemoryAirflow) -> None:
    """A dict with a kind is data like any other until the task runs."""
    task = PolarsRemoteOperator(
        task_id="t",
        query=lambda: pl.LazyFrame({"a": [1]}),
        compute={"kind": "local", "engine": "{{ params.engine }}"},
        params={"engine": "in-memory"},
    )
    outcome = in_memory_airflow.run_task(task)
    assert rows(succeeded(outcome)) == [{"a": 1}]
    assert used_compute(outcome) == {"kind": "local", "engine": "in-memory"}


def test_values_have_no_template_fields_of_their_own() -> None:
    """Airflow would set attributes on them, in the DAG's own object."""
    assert [kind for kind in KINDS if hasattr(kind, "template_fields") or isinstance(kind, BaseOperator)] == []
    assert all(dataclasses.fields(kind) and kind.__dataclass_params__.frozen for kind in KINDS)  # type: ignore[attr-defined]
    assert issubclass(Sink.registry["csv"], FileSink)
