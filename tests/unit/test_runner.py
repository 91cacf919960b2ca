"""The runner: one file that a foreign interpreter runs, and the reader that every task uses."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars import runner
from airflow_provider_polars.query.sinks import ParquetSink
from airflow_provider_polars.query.source import Input, make_source
from airflow_provider_polars.runner.reading import parse_dtype
from tests.unit.backends.local_runs import IN_CHILD, IN_PROCESS, read, run_one

RUNNER = Path(runner.__file__).parent


def rows() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2]})


def test_it_imports_the_standard_library_and_polars_alone() -> None:
    at_top = [node for file in RUNNER.glob("*.py") for node in ast.parse(file.read_text()).body]
    names = {alias.name for node in at_top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in at_top if isinstance(node, ast.ImportFrom) and node.module and not node.level}

    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"polars"}


def start(job: dict[str, Any], answers: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-I", str(RUNNER)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(answers,)
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"answers": answers, **job}).encode() + b"\n")
    process.stdin.flush()
    return process


def job_for(folder: Path, function: Callable[..., Any], **changes: Any) -> dict[str, Any]:
    write = {"format": "parquet", "path": str(folder / "a.parquet"), "directory": False, "options": {}}
    return {
        "parent": os.getpid(),
        "code": make_source(function).code(),
        "arguments": {},
        "single": True,
        "writes": {"return_value": write},
        "engine": "auto",
        "head_rows": 0,
        "sys_path": [],
        **changes,
    }


def answers_to(job: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Run a job as a process; return its answers and its exit code."""
    reading, writing = os.pipe()
    process = start(job, writing)
    os.close(writing)
    with os.fdopen(reading) as answers:
        lines = [json.loads(line) for line in answers]
    code = process.wait(60)
    for pipe in (process.stdin, process.stderr):
        assert pipe is not None
        pipe.close()
    return lines, code


def test_a_job_is_answered_by_one_line_for_each_output_and_a_clean_exit(tmp_path: Path) -> None:
    (answer,), code = answers_to(job_for(tmp_path, rows, head_rows=1))

    done = answer["done"]
    assert (answer["key"], code) == ("return_value", 0)
    assert (done["rows"], done["schema"], done["head"]) == (2, [["id", "Int64"]], [{"id": 1}])
    assert done["files"] == [str(tmp_path / "a.parquet")]
    assert done["bytes"] == (tmp_path / "a.parquet").stat().st_size


def test_a_job_of_another_parent_is_not_run(tmp_path: Path) -> None:
    answers, code = answers_to(job_for(tmp_path, rows, parent=1))

    assert (answers, code) == ([], 1)
    assert not list(tmp_path.iterdir())


def test_an_error_is_described_by_its_classes_message_number_and_traceback(tmp_path: Path) -> None:
    def locked() -> pl.LazyFrame:
        raise PermissionError(13, "locked", "/data/a")

    (answer,), code = answers_to(job_for(tmp_path, locked))

    assert (answer["key"], code) == (None, 0)
    assert answer["error"]["classes"] == ["PermissionError", "OSError", "Exception", "BaseException"]
    assert (answer["error"]["errno"], answer["error"]["message"]) == (13, "[Errno 13] locked: '/data/a'")
    assert "in locked" in answer["error"]["traceback"]


def test_a_very_long_traceback_is_cut_from_the_front() -> None:
    described = runner.described_error(ValueError("x" * 100_000 + "the end"))

    assert len(described["traceback"]) == 8000
    assert described["traceback"].rstrip().endswith("the end")


def test_code_may_have_annotations_that_only_type_checkers_can_resolve() -> None:
    code = {
        "source": "def f(x: Missing | None) -> 'pl.LazyFrame':\n    return pl.LazyFrame({'id': [x]})",
        "function": "f",
    }

    assert runner.load(code)(7).collect()["id"].item() == 7


def test_a_reference_is_imported_in_the_child_from_the_folders_of_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sales_queries.py").write_text(
        "import polars as pl\nclass Sales:\n    @staticmethod\n    def rows(n): return pl.LazyFrame({'id': range(n)})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    for compute in (IN_PROCESS, IN_CHILD):
        result = run_one("sales_queries:Sales.rows", ParquetSink(str(tmp_path / "a")), compute, kwargs={"n": 3})
        assert result.rows == 3


@pytest.mark.parametrize("compute", [IN_PROCESS, IN_CHILD], ids=["in process", "in a child"])
def test_inputs_arrive_in_the_form_the_query_wants_at_any_depth(tmp_path: Path, compute: Any) -> None:
    def described(lazy: Any, eager: Any, ref: Any, deep: Any, number: Any) -> pl.LazyFrame:
        total = pl.concat([lazy, eager.lazy(), *deep["list"]]).select(pl.len()).collect().item()
        names = [type(lazy).__name__, type(eager).__name__, str(ref["rows"]), ref.format, str(number)]
        return pl.LazyFrame({"text": [",".join(names)], "total": [total]})

    ref = run_one(rows, ParquetSink(str(tmp_path / "in.parquet")))
    scan = {"format": "parquet", "locations": ref.locations}
    lazy, eager, same = (Input(scan=scan, form=form, ref=ref) for form in ("lazy", "eager", "ref"))

    result = run_one(
        described,
        ParquetSink(str(tmp_path / "out.parquet")),
        compute,
        kwargs={"lazy": lazy, "eager": eager, "ref": same, "deep": {"list": [lazy, lazy]}, "number": 7},
    )

    assert read(result).rows() == [("LazyFrame,DataFrame,2,parquet,7", 8)]


DTYPES = [
    *(pl.Int8, pl.Int128, pl.UInt64, pl.Float32, pl.String, pl.Boolean, pl.Date, pl.Time, pl.Categorical, pl.Null),
    *(pl.Datetime("ms"), pl.Datetime("ns", "Asia/Tokyo"), pl.Duration("us"), pl.Decimal(10, 2), pl.Decimal(None, 3)),
    *(pl.Enum(["it's", 'a "b"']), pl.List(pl.List(pl.Int8)), pl.Array(pl.Int8, (2, 3)), pl.Struct([])),
    pl.Struct({"a'b": pl.List(pl.Date), "c": pl.Struct({"d": pl.Datetime("us")})}),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_data_type_is_read_from_its_printed_form(dtype: Any) -> None:
    assert parse_dtype(str(dtype)) == dtype


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('exit 1')",
        "open('/etc/passwd')",
        "pl.Int8",
        "Int8()()",
        "List(1)",
        "Struct(1)",
        "Decimal(precision=10**9)",
        "[Int8]",
        "{'a': Int8}",
        "1",
        "",
        "LazyFrame",
        "(" * 1000,
        "-" * 100_000 + "1",
    ],
    ids=lambda text: text[:20],
)
def test_text_that_is_no_data_type_is_neither_evaluated_nor_taken_for_one(text: str) -> None:
    assert parse_dtype(text) is None


def test_what_a_schema_does_not_tell_is_found_by_the_reader(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,rest,tail\n1,2.5,x\n")
    schema = [["id", "UInt8"], ["rest", "of another version"]]

    frame = runner.scan(
        {"format": "csv", "locations": [str(tmp_path / "a.csv")], "schema": schema, "complete": False}
    ).collect()

    assert frame.schema == {"id": pl.UInt8, "rest": pl.Float64, "tail": pl.String}


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("a", [["13:14:15"]]).cast(pl.List(pl.String)).list.eval(pl.element().str.to_time()),
        pl.Series("a", [["1.5"]]).cast(pl.List(pl.Decimal(9, 1))),
    ],
    ids=["time", "decimal"],
)
def test_nested_values_that_json_holds_as_text_are_read_as_text_rather_than_not_at_all(
    tmp_path: Path, values: pl.Series
) -> None:
    values.to_frame().write_ndjson(tmp_path / "a.jsonl")

    frame = runner.scan(
        {
            "format": "ndjson",
            "locations": [str(tmp_path / "a.jsonl")],
            "schema": [["a", str(values.dtype)]],
            "complete": True,
        }
    ).collect()

    assert frame["a"].dtype == pl.List(pl.String)


def test_names_with_wildcards_stand_for_themselves(tmp_path: Path) -> None:
    def other() -> pl.LazyFrame:
        return pl.LazyFrame({"id": [99]})

    wanted = run_one(rows, ParquetSink(str(tmp_path / "a[1]*.parquet")))
    run_one(other, ParquetSink(str(tmp_path / "a[1]x.parquet")))
    run_one(other, ParquetSink(str(tmp_path / "a1.parquet")))
    folder = run_one(rows, ParquetSink(str(tmp_path / "d[*]/"), partition_by=("id",)))

    assert read(wanted).equals(rows().collect())
    assert read(folder).sort("id").equals(rows().collect())


def test_partitions_keep_keys_that_are_null_or_have_awkward_letters(tmp_path: Path) -> None:
    def keys() -> pl.LazyFrame:
        return pl.LazyFrame({"key": ["a/b", "ü %", "", "*", "_x", ".y", None], "id": range(7)})

    for name in ("parquet", "again"):
        result = run_one(keys, ParquetSink(str(tmp_path / name), partition_by=("key",)))

    assert result.rows == 7
    assert read(result).sort("id").equals(keys().collect())


def test_hundreds_of_files_are_read_by_their_folder(tmp_path: Path) -> None:
    def many() -> pl.LazyFrame:
        return pl.LazyFrame({"id": range(300)})

    result = run_one(many, ParquetSink(str(tmp_path / "d"), max_rows_per_file=1))

    assert (result["files"], result.locations) == (300, [f"{tmp_path}/d/"])
    assert read(result).equals(many().collect())


def test_the_head_holds_values_as_json(tmp_path: Path) -> None:
    def mixed() -> pl.LazyFrame:
        return pl.LazyFrame({"id": [1, 2], "day": [None, None], "list": [[1], []], "nan": [float("nan"), 0.5]})

    result = run_one(mixed, ParquetSink(str(tmp_path / "a")), head_rows=1)

    assert result.head[0]["id"] == 1
    assert json.loads(json.dumps(result, allow_nan=False)) == result
