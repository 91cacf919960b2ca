"""What an author writes is checked when the DAG is parsed, and again once templates are rendered."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk import DAG, BaseOperator, task

from airflow_provider_polars import (
    CsvSink,
    LocalCompute,
    NdjsonSink,
    ParquetSink,
    PolarsCleanResultsOperator,
    PolarsRemoteOperator,
    polars_task,
)
from airflow_provider_polars.decorators.task import _PolarsDecoratedOperator
from airflow_provider_polars.exceptions import (
    ConfigurationError,
    RefusedOptionError,
    UnknownArgumentError,
    UnknownKindError,
)
from tests.unit.outcomes import failure, rows, succeeded, used_compute

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("results_path")


def numbers() -> pl.LazyFrame:
    """Return 0, 1, 2."""
    return pl.LazyFrame({"a": [0, 1, 2]})


def plain(**arguments: Any) -> Any:
    """Make a task in the classic form."""
    return PolarsRemoteOperator(task_id="t", query=numbers, **arguments)


def mapped(**arguments: Any) -> Any:
    """Make a mapped task in the classic form."""
    return PolarsRemoteOperator.partial(task_id="t", query=numbers, **arguments).expand(query_kwargs=[{}])


def decorated(**arguments: Any) -> Any:
    """Make a task of a decorated function."""
    return polars_task(task_id="t", **arguments)(numbers)()


def decorated_mapped(**arguments: Any) -> Any:
    """Make a mapped task of a decorated function."""

    def numbers_from(start: int) -> pl.LazyFrame:
        return numbers()

    return polars_task(task_id="t", **arguments)(numbers_from).expand(start=[1])


FORMS: list[Callable[..., Any]] = [plain, mapped, decorated, decorated_mapped]
every_form = pytest.mark.parametrize("make", FORMS)


@every_form
@pytest.mark.parametrize(("given", "near"), [("snik", "sink"), ("compte", "compute"), ("retires", "retries")])
def test_misspelt_keyword_names_the_nearest(make: Callable[..., Any], given: str, near: str) -> None:
    """Ours and Airflow's keywords, plain and mapped; mapped tasks never run ``__init__`` at parse."""
    with pytest.raises(UnknownArgumentError, match=f"has no argument '{given}'; did you mean '{near}'") as caught:
        make(**{given: 1})
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("name", ["query", "sql", "tables", "query_kwargs"])
def test_decorated_function_is_the_only_query(name: str) -> None:
    """What the decorator would have to ignore is no argument of it."""
    with pytest.raises(UnknownArgumentError, match=f"polars_task has no argument '{name}'"):
        polars_task(**{name: "SELECT 1"})


@every_form
@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"engine": "warp"}, ConfigurationError, "engine= must be one of auto, streaming, in-memory, gpu, got 'warp'"),
        ({"engine": "streeming"}, ConfigurationError, "did you mean 'streaming'?"),
        (
            {"compute": {"kind": "lokal"}},
            UnknownKindError,
            "There is no compute of kind 'lokal'; did you mean 'local'?",
        ),
        ({"compute": {"threads": 1}}, UnknownKindError, "A compute as JSON is an object with a 'kind'"),
        (
            {"compute": "local"},
            ConfigurationError,
            "compute= must be a Compute such as LocalCompute(), got str: 'local'",
        ),
        ({"sink": {"kind": "parket", "path": "/a"}}, UnknownKindError, "did you mean 'parquet'?"),
        ({"sink": "/a.parquet"}, ConfigurationError, "sink= must be a sink such as ParquetSink(path), got str"),
        ({"sink": {"a": "/a.parquet"}}, ConfigurationError, "sink['a'] must be a sink such as ParquetSink(path)"),
        ({"sink": {}}, ConfigurationError, "sink={} names no output"),
        ({"sink": {"a b": None}}, ConfigurationError, "An output of sink= must be named like a variable, got 'a b'"),
        ({"head_rows": -1}, ConfigurationError, "head_rows= must not be negative, got -1"),
        ({"timeout": "soon"}, ConfigurationError, "timeout= must be float, got str: 'soon'"),
    ],
)
def test_value_that_cannot_be_right_is_refused_at_parse(
    make: Callable[..., Any], arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """The message has the argument, its value and what to write."""
    with pytest.raises(kind) as caught:
        make(**arguments)
    assert message in str(caught.value)


@every_form
@pytest.mark.parametrize("option", [{"distributed": True}, {"priority": 3}, {"n_retries": 2}, {"n_retries": 0}])
def test_option_that_the_compute_cannot_honour_is_refused_at_parse(
    make: Callable[..., Any], option: dict[str, Any]
) -> None:
    """By name, with its value, and with those that it knows."""
    (name, value) = next(iter(option.items()))
    with pytest.raises(RefusedOptionError) as caught:
        make(compute=LocalCompute(), **option)
    assert str(caught.value) == (
        f"{name}={value!r} is an option that LocalCompute cannot honour (it knows: engine, head_rows, labels, "
        "timeout). Remove it or choose another compute."
    )


@every_form
def test_option_is_refused_in_the_task_where_the_compute_is_known_only_there(
    make: Callable[..., Any], in_memory_airflow: InMemoryAirflow
) -> None:
    """Without ``compute=`` at parse nothing is known; in the task it ends without a retry and names the option."""
    with DAG("refused", schedule=None):
        work = make(priority=3)
    index = 0 if make in (mapped, decorated_mapped) else -1
    text = failure(in_memory_airflow.run_task(work, max_tries=2, map_index=index))
    assert text.startswith("RefusedOptionError: priority=3 is an option that LocalCompute cannot honour")


SAME_PLACE = [
    ("/lake/a.parquet", "/lake/a.parquet"),
    ("/lake/a.parquet", "file:///lake/a.parquet"),
    ("/lake/a.parquet", "/lake/./b/../a.parquet"),
    ("/lake/a/", "/lake//a"),
    ("s3://lake/a/", "s3://lake/a"),
    ("/lake/{{ ds }}/a.parquet", "/lake/{{ ds }}/a.parquet"),
]


@every_form
@pytest.mark.parametrize(("first", "second"), SAME_PLACE)
def test_two_outputs_with_one_location_are_refused_at_parse(make: Callable[..., Any], first: str, second: str) -> None:
    """However the location is written."""
    with pytest.raises(ConfigurationError, match="The outputs 'a' and 'b' have one location: ") as caught:
        make(sink={"a": ParquetSink(first), "b": ParquetSink(second)})
    assert repr(second) in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [("/lake/a/", "/lake/a/b.parquet"), ("s3://lake/a/b/", "s3://lake/a/"), ("/lake/{{ ds }}/", "/lake/{{ ds }}/b")],
)
def test_output_inside_the_directory_of_another_is_refused(first: str, second: str) -> None:
    """A directory is replaced as a whole, and the other output would go with it."""
    with pytest.raises(ConfigurationError, match="The outputs 'a' and 'b' overlap: "):
        plain(sink={"a": ParquetSink(first), "b": ParquetSink(second)})


def test_outputs_side_by_side_are_accepted() -> None:
    """One name may begin with another, and None is no location."""
    made = plain(sink={"a": ParquetSink("/lake/a"), "b": ParquetSink("/lake/ab"), "c": None, "d": None})
    assert made.multiple_outputs is True


def test_two_outputs_with_one_location_are_refused_once_rendered(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path
) -> None:
    """Templates that differ may render to one path."""
    sinks = {
        "a": ParquetSink(f"{tmp_path}/{{{{ ds }}}}.parquet"),
        "b": CsvSink(f"{tmp_path}/{{{{ params.day }}}}.parquet"),
    }
    work = plain(sink=sinks, params={"day": "2026-01-01"})
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith("ConfigurationError: The outputs 'a' and 'b' have one location: ")
    assert not any(tmp_path.glob("*.parquet"))


def upstream_sink() -> Any:
    """Return the output of a task that names a path."""

    @task
    def choose() -> str:
        return "/chosen.parquet"

    return choose()


@pytest.mark.parametrize("value", [lambda output: output, str, lambda output: f"/lake/{output}/a.parquet"])
def test_output_of_a_task_inside_a_value_is_refused(value: Callable[[Any], Any]) -> None:
    """Airflow would see no dependency; the message says what to do instead."""
    with DAG("inside", schedule=None), pytest.raises(ConfigurationError) as caught:
        ParquetSink(value(upstream_sink()))
    assert str(caught.value).startswith("ParquetSink(path=) was given the output of a task.")
    assert "give the value as a plain dict" in str(caught.value)


@pytest.mark.parametrize("make", [plain, mapped, decorated])
def test_output_of_a_task_inside_a_plain_dict_is_a_dependency(
    make: Callable[..., Any], in_memory_airflow: InMemoryAirflow, tmp_path: Path
) -> None:
    """As the error for the other form promises."""
    path = f"{tmp_path}/chosen.parquet"
    with DAG("inside", schedule=None):
        work = make(sink={"kind": "parquet", "path": upstream_sink()})
    operator = getattr(work, "operator", work)
    assert operator.upstream_task_ids == {"choose"}
    result = succeeded(in_memory_airflow.run_task(work, xcoms={"choose": path}, map_index=0 if make is mapped else -1))
    assert result["locations"] == [path]


@pytest.mark.parametrize("make", [plain, mapped, decorated, decorated_mapped])
def test_compute_and_sink_may_be_outputs_of_tasks(
    make: Callable[..., Any], in_memory_airflow: InMemoryAirflow, tmp_path: Path
) -> None:
    """As dicts with a kind; both are dependencies, and both are used."""
    with DAG("outputs", schedule=None):

        @task(multiple_outputs=False)
        def compute() -> dict[str, Any]:
            return {}

        @task(multiple_outputs=False)
        def sink() -> dict[str, Any]:
            return {}

        work = make(compute=compute(), sink=sink())
    operator = getattr(work, "operator", work)
    assert operator.upstream_task_ids == {"compute", "sink"}
    given = {
        "compute": LocalCompute(engine="streaming").to_dict(),
        "sink": {"kind": "parquet", "path": f"{tmp_path}/x.parquet"},
    }
    index = 0 if make in (mapped, decorated_mapped) else -1
    outcome = in_memory_airflow.run_task(work, xcoms=given, map_index=index)
    assert succeeded(outcome)["locations"] == [f"{tmp_path}/x.parquet"]
    assert used_compute(outcome) == {"kind": "local", "engine": "streaming"}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"compute": {"kind": "lokal"}}, "UnknownKindError: There is no compute of kind 'lokal'"),
        ({"compute": [1]}, "ConfigurationError: compute= must be a Compute such as LocalCompute(), got list: [1]."),
        ({"compute": {"kind": "local", "threats": 1}}, "UnknownArgumentError: LocalCompute has no argument 'threats'"),
        ({"sink": {"kind": "parquet", "path": "rel"}}, "ConfigurationError: ParquetSink(path=) is the relative path"),
        ({"sink": "x"}, "ConfigurationError: sink= must be a sink such as ParquetSink(path), got str."),
    ],
)
def test_output_of_a_task_that_is_no_such_value_ends_the_task(
    in_memory_airflow: InMemoryAirflow, given: dict[str, Any], error: str
) -> None:
    """The checks of parsing are made again in the task, without a retry."""
    with DAG("outputs", schedule=None):

        @task
        def upstream() -> None:
            pass

        work = plain(**dict.fromkeys(given, upstream()))
    outcome = in_memory_airflow.run_task(work, xcoms={"upstream": next(iter(given.values()))}, max_tries=2)
    assert failure(outcome).startswith(error)


def test_mapped_sinks_are_checked_in_the_task(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """Each map index has its own; a wrong one fails alone."""
    sinks: list[Any] = [
        ParquetSink(f"{tmp_path}/{{{{ ds }}}}.parquet"),
        {"kind": "csv", "path": f"{tmp_path}/b.csv"},
        5,
    ]
    with DAG("sinks", schedule=None):
        work = PolarsRemoteOperator.partial(task_id="t", query=numbers).expand(sink=sinks)
    first, second, third = (in_memory_airflow.run_task(work, map_index=index, max_tries=2) for index in range(3))
    assert succeeded(first)["locations"] == [f"{tmp_path}/2026-01-01.parquet"]
    assert succeeded(second)["format"] == "csv"
    assert failure(third) == "ConfigurationError: sink= must be a sink such as ParquetSink(path), got int."
    assert third.state == "failed"


def test_options_may_be_templates(in_memory_airflow: InMemoryAirflow) -> None:
    """Rendered text becomes the declared type; parsing accepts what it cannot know."""
    work = plain(
        head_rows="{{ params.head }}", timeout="{{ params.limit }}", engine="{{ params.engine }}",
        params={"head": 2, "limit": 30.5, "engine": "streaming"},
    )  # fmt: skip
    outcome = in_memory_airflow.run_task(work)
    assert succeeded(outcome)["head"] == [{"a": 0}, {"a": 1}]
    assert {outcome.rendered_fields[name] for name in ("head_rows", "timeout", "engine")} == {"2", "30.5", "streaming"}


def test_option_that_renders_to_nonsense_ends_the_task(in_memory_airflow: InMemoryAirflow) -> None:
    """With the message of parsing, without a retry."""
    work = plain(engine="{{ params.engine }}", params={"engine": "warp"})
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith("ConfigurationError: engine= must be one of auto, streaming, in-memory, gpu, got 'warp'")


@pytest.mark.parametrize("make", [plain, decorated])
def test_every_template_field_is_an_attribute(make: Callable[..., Any]) -> None:
    """And an argument of the same name, as serialisation requires."""
    made = make()
    operator = getattr(made, "operator", made)
    assert [name for name in operator.template_fields if not hasattr(operator, name)] == []
    assert set(operator.template_fields).isdisjoint(vars(BaseOperator(task_id="base")))


@pytest.mark.parametrize("kind", [PolarsRemoteOperator, _PolarsDecoratedOperator])
def test_every_connection_id_is_templated(kind: type[BaseOperator]) -> None:
    """On the operators, and on sinks through their own rendering."""
    named = {name for name in vars(kind(task_id="t", **_least(kind))) if name.endswith("conn_id")}
    assert named == {"conn_id"}
    assert named <= set(kind.template_fields)


def _least(kind: type[BaseOperator]) -> dict[str, Any]:
    return {"python_callable": numbers} if kind is _PolarsDecoratedOperator else {"query": numbers}


@pytest.mark.parametrize("make", [plain, decorated])
def test_copies_of_operators_are_independent_and_run(
    make: Callable[..., Any], in_memory_airflow: InMemoryAirflow, tmp_path: Path
) -> None:
    """Airflow deep-copies DAGs and operators; values in a copy are equal."""
    with DAG("copied", schedule=None) as dag:
        make(sink=ParquetSink(f"{tmp_path}/x.parquet"), compute=LocalCompute(engine="streaming"))
    again = copy.deepcopy(dag).get_task("t")
    original = dag.get_task("t")
    assert again is not original
    assert (again.sink, again.compute) == (original.sink, original.compute)  # type: ignore[attr-defined]
    assert rows(succeeded(in_memory_airflow.run_task(again))) == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_values_survive_pickling() -> None:
    """As those of any plain Python object, although their constructors check."""
    values = (LocalCompute(threads=2), NdjsonSink("/a.jsonl", storage_options={"region": "x"}))
    assert pickle.loads(pickle.dumps(values)) == values


def test_clean_results_operator_checks_its_keywords_too() -> None:
    """The nearest keyword is named there as well."""
    with pytest.raises(UnknownArgumentError, match="has no argument 'dryrun'; did you mean 'dry_run'"):
        PolarsCleanResultsOperator(task_id="t", dryrun=True)
