"""The classic operator: a function, ``"module:function"`` or SQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk import DAG

from airflow_provider_polars import CsvSink, IpcSink, LocalCompute, NdjsonSink, ParquetSink, PolarsRemoteOperator
from tests.unit.outcomes import failure, rows, succeeded

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("results_path")

MODULE = """
import polars as pl

def ladder(start, steps, upstream=None):
    return pl.LazyFrame({"a": range(start, start + steps)})

def count(frames: "list[pl.DataFrame]"):
    return pl.LazyFrame({"heights": [frame.height for frame in frames]})

class Queries:
    @staticmethod
    def one():
        return pl.LazyFrame({"a": [1]})

constant = 5
"""


def numbers(count: int = 3) -> pl.LazyFrame:
    """Return 0, 1, 2 ..."""
    return pl.LazyFrame({"a": range(count)})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an importable module with queries."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "our_queries.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    return "our_queries"


@pytest.fixture
def ref(in_memory_airflow: InMemoryAirflow) -> dict[str, Any]:
    """Return the reference to a result with the rows 0, 1, 2."""
    result = succeeded(in_memory_airflow.run_task(PolarsRemoteOperator(task_id="upstream", query=numbers)))
    assert isinstance(result, dict)
    return result


def test_function_runs_with_its_arguments(in_memory_airflow: InMemoryAirflow) -> None:
    """``query_kwargs`` are templated and passed by name."""
    task = PolarsRemoteOperator(
        task_id="t",
        query=lambda count, word: numbers(count).with_columns(word=pl.lit(word)),
        query_kwargs={"count": 2, "word": "{{ ds }}"},
    )
    result = succeeded(in_memory_airflow.run_task(task))
    assert rows(result) == [{"a": 0, "word": "2026-01-01"}, {"a": 1, "word": "2026-01-01"}]


def test_dataframe_is_taken_for_a_lazyframe(in_memory_airflow: InMemoryAirflow) -> None:
    """A function may return what it has collected itself."""
    task = PolarsRemoteOperator(task_id="t", query=lambda: numbers(1).collect())
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"a": 0}]


def test_module_function_runs_with_its_arguments(in_memory_airflow: InMemoryAirflow, module: str) -> None:
    """The module is imported in the task, not when the DAG is parsed."""
    task = PolarsRemoteOperator(task_id="t", query=f"{module}:ladder", query_kwargs={"start": 5, "steps": 2})
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"a": 5}, {"a": 6}]


def test_module_function_may_be_an_attribute_of_a_class(in_memory_airflow: InMemoryAirflow, module: str) -> None:
    """The part after the colon is looked up name by name."""
    task = PolarsRemoteOperator(task_id="t", query=f"{module}:Queries.one")
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"a": 1}]


def test_module_function_gets_upstream_results_as_it_is_annotated(
    in_memory_airflow: InMemoryAirflow, module: str, ref: dict[str, Any]
) -> None:
    """The annotation of the named function counts, as that of a decorated one."""
    task = PolarsRemoteOperator(task_id="t", query=f"{module}:count", query_kwargs={"frames": [ref, ref]})
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"heights": 3}, {"heights": 3}]


def test_module_function_runs_in_another_process(
    in_memory_airflow: InMemoryAirflow, module: str, ref: dict[str, Any]
) -> None:
    """What the task can import, the runner can too, and upstream results arrive there as well."""
    task = PolarsRemoteOperator(
        task_id="t", query=f"{module}:count", query_kwargs={"frames": [ref]}, compute=LocalCompute(threads=1)
    )
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"heights": 3}]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent", "has no attribute 'absent'"), ("constant", "is a int, not a function")],
)
def test_module_without_that_function_is_named(
    in_memory_airflow: InMemoryAirflow, module: str, name: str, reason: str
) -> None:
    """What the module has instead is told; a retry would not help."""
    task = PolarsRemoteOperator(task_id="t", query=f"{module}:{name}")
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text.startswith("QueryDefinitionError: ")
    assert f"{module}:{name}" in text
    assert reason in text


def test_module_that_does_not_exist_is_named(in_memory_airflow: InMemoryAirflow) -> None:
    """The import error of Python is in the message."""
    task = PolarsRemoteOperator(task_id="t", query="no_such_package.queries:f")
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text.startswith(
        "QueryDefinitionError: The query 'no_such_package.queries:f' cannot be imported here: No module"
    )


WRITERS: dict[str, Callable[[Path], None]] = {
    "t.parquet": lambda path: numbers().sink_parquet(path),
    "t.csv": lambda path: numbers().sink_csv(path),
    "t.ipc": lambda path: numbers().sink_ipc(path),
    "t.ndjson": lambda path: numbers().sink_ndjson(path),
    "t.jsonl": lambda path: numbers().sink_ndjson(path),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("form", ["{path}", "file://{path}"])
def test_sql_reads_files_by_their_extension(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path, name: str, form: str
) -> None:
    """A path and the URL of a path are the same table."""
    WRITERS[name](tmp_path / name)
    task = PolarsRemoteOperator(
        task_id="t", sql="SELECT SUM(a) AS total FROM t", tables={"t": form.format(path=tmp_path / name)}
    )
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"total": 3}]


def test_sql_reads_directories_and_patterns(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """A directory is one of Parquet files; a pattern takes its extension."""
    for number in range(2):
        numbers().sink_parquet(tmp_path / f"parts/{number}.parquet", mkdir=True)
        numbers().sink_csv(tmp_path / f"lines/{number}.csv", mkdir=True)
    task = PolarsRemoteOperator(
        task_id="t",
        sql="SELECT COUNT(*) AS n FROM parts UNION ALL SELECT COUNT(*) AS n FROM lines",
        tables={"parts": f"{tmp_path}/parts/", "lines": f"{tmp_path}/lines/*.csv"},
    )
    assert [row["n"] for row in rows(succeeded(in_memory_airflow.run_task(task)))] == [6, 6]


def test_sql_reads_upstream_results_beside_files(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """An XComArg in ``tables=`` makes the dependency and is read where it was written."""
    pl.DataFrame({"a": [1, 2], "name": ["one", "two"]}).write_csv(tmp_path / "names.csv")
    with DAG("sql", schedule=None):
        upstream = PolarsRemoteOperator(task_id="upstream", query=numbers)
        task = PolarsRemoteOperator(
            task_id="t",
            sql="SELECT name FROM numbers JOIN names USING (a) ORDER BY a DESC",
            tables={"numbers": upstream.output, "names": f"{tmp_path}/{{{{ 'names' }}}}.csv"},
        )
    assert task.upstream_task_ids == {"upstream"}
    succeeded(in_memory_airflow.run_task(upstream))
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"name": "two"}, {"name": "one"}]


@pytest.mark.parametrize("sink", [CsvSink, IpcSink, NdjsonSink])
def test_sql_reads_results_of_every_format(in_memory_airflow: InMemoryAirflow, tmp_path: Path, sink: Any) -> None:
    """What a sink wrote can be a table, whatever its format and its extension."""
    with DAG("sql", schedule=None):
        upstream = PolarsRemoteOperator(task_id="upstream", query=numbers, sink=sink(f"{tmp_path}/written.data"))
        task = PolarsRemoteOperator(task_id="t", sql="SELECT MAX(a) AS top FROM t", tables={"t": upstream.output})
    succeeded(in_memory_airflow.run_task(upstream))
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"top": 2}]


def test_sql_is_templated(in_memory_airflow: InMemoryAirflow, ref: dict[str, Any]) -> None:
    """Text and file names alike."""
    task = PolarsRemoteOperator(
        task_id="t", sql="SELECT '{{ ds }}' AS day FROM t LIMIT {{ params.n }}", tables={"t": ref}, params={"n": 2}
    )
    assert rows(succeeded(in_memory_airflow.run_task(task))) == [{"day": "2026-01-01"}] * 2


def test_sql_file_is_found_beside_the_dag_and_templated(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path, ref: dict[str, Any]
) -> None:
    """The content of a ``.sql`` file is rendered, and shown as the rendered field."""
    (tmp_path / "day.sql").write_text("SELECT a, '{{ ds }}' AS day FROM t WHERE a > 1")
    with DAG("sql", schedule=None, template_searchpath=str(tmp_path)):
        task = PolarsRemoteOperator(task_id="t", sql="day.sql", tables={"t": ref})
    outcome = in_memory_airflow.run_task(task)
    assert rows(succeeded(outcome)) == [{"a": 2, "day": "2026-01-01"}]
    assert outcome.rendered_fields["sql"] == "SELECT a, '2026-01-01' AS day FROM t WHERE a > 1"


def test_sql_file_that_is_missing_is_named(in_memory_airflow: InMemoryAirflow) -> None:
    """The message says where such files are looked for; a retry would not help."""
    with DAG("sql", schedule=None):
        task = PolarsRemoteOperator(task_id="t", sql="sql/absent.sql", tables={})
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text.startswith("TemplateRenderError: The file 'sql/absent.sql' is not found.")
    assert "template_searchpath" in text


def test_sql_that_names_another_table_gets_the_nearest(in_memory_airflow: InMemoryAirflow, ref: dict[str, Any]) -> None:
    """All given tables are listed."""
    task = PolarsRemoteOperator(task_id="t", sql="SELECT * FROM flihgts", tables={"flights": ref, "weather": ref})
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text.startswith("QueryDefinitionError: The SQL names the table 'flihgts'")
    assert "did you mean 'flights'?" in text
    assert "Given: flights, weather." in text


def test_sql_that_does_not_parse_is_refused(in_memory_airflow: InMemoryAirflow, ref: dict[str, Any]) -> None:
    """The words of the SQL parser are in the message."""
    task = PolarsRemoteOperator(task_id="t", sql="SELEKT 1", tables={"t": ref})
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text.startswith("QueryDefinitionError: The SQL of the query is refused: ")


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ("/nowhere/t.parquet", "ResultNotFoundError: tables['t'] = '/nowhere/t.parquet' does not exist"),
        ("data/t.parquet", "ConfigurationError: tables['t'] is the relative path 'data/t.parquet'"),
        ("ftp://host/t.parquet", "ConfigurationError: tables['t'] has the scheme 'ftp'"),
        (__file__, "has no known extension"),
        (7, "ConfigurationError: tables['t'] must be a path, a URL or the result of a Polars task, got int."),
        (["/a.parquet"], "must be a path, a URL or the result of a Polars task, got list."),
        (None, "must be a path, a URL or the result of a Polars task, got NoneType."),
    ],
)
def test_table_that_cannot_be_read_is_named(in_memory_airflow: InMemoryAirflow, table: Any, error: str) -> None:
    """Name of the table, what was given, and what is expected."""
    task = PolarsRemoteOperator(task_id="t", sql="SELECT * FROM t", tables={"t": table})
    assert error in failure(in_memory_airflow.run_task(task))


@pytest.mark.parametrize("arguments", [{}, {"query": numbers, "sql": "SELECT 1"}])
def test_exactly_one_query_is_needed(in_memory_airflow: InMemoryAirflow, arguments: dict[str, Any]) -> None:
    """Neither and both are refused."""
    task = PolarsRemoteOperator(task_id="t", **arguments)
    text = failure(in_memory_airflow.run_task(task, max_tries=2))
    assert text == "ConfigurationError: Give exactly one of query= and sql=."


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"query": numbers, "tables": {"t": "/t.parquet"}}, "tables="),
        ({"sql": "SELECT 1 AS a", "query_kwargs": {"a": 1}}, "query_kwargs="),
    ],
)
def test_arguments_of_the_other_form_are_refused(
    in_memory_airflow: InMemoryAirflow, arguments: dict[str, Any], name: str
) -> None:
    """Nothing that was given is ignored."""
    text = failure(in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", **arguments), max_tries=2))
    assert text.startswith("ConfigurationError: ")
    assert name in text


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (5, "query= must be a function that returns a LazyFrame or"),
        ("SELECT 1", "query= as text must read \"package.module:function\", got 'SELECT 1'. SQL goes into sql=."),
    ],
)
def test_query_of_another_type_is_refused_at_parse(query: Any, error: str) -> None:
    """Plain and mapped."""
    with pytest.raises(Exception, match="query=") as plain:
        PolarsRemoteOperator(task_id="t", query=query)
    with pytest.raises(Exception, match="query=") as mapped:
        PolarsRemoteOperator.partial(task_id="t", query=query)
    assert error in str(plain.value)
    assert str(mapped.value) == str(plain.value)


def test_result_is_written_where_the_sink_says(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """The reference names the very file."""
    task = PolarsRemoteOperator(task_id="t", query=numbers, sink=ParquetSink(f"{tmp_path}/{{{{ ds }}}}/a.parquet"))
    result = succeeded(in_memory_airflow.run_task(task))
    assert result["locations"] == [f"{tmp_path}/2026-01-01/a.parquet"]
    assert (result["rows"], result["files"], result["bytes"]) == (
        3,
        1,
        (tmp_path / "2026-01-01/a.parquet").stat().st_size,
    )
