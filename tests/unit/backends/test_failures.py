"""Queries that cannot be built or fail while they run: one error of ours, in process and in a child alike."""

from __future__ import annotations

import http.server
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.exceptions import (
    ConfigurationError,
    PolarsProviderError,
    QueryDefinitionError,
    QueryFailedError,
    ResultNotFoundError,
    SchemaError,
)
from airflow_provider_polars.query.sinks import NdjsonSink, ParquetSink
from airflow_provider_polars.query.source import Input, SqlSource
from tests.unit.backends.local_runs import IN_CHILD, IN_PROCESS, read, run_all, run_one

Tree = Callable[[Path], dict[str, bytes]]
both = pytest.mark.parametrize("compute", [IN_PROCESS, IN_CHILD], ids=["in process", "in a child"])


def good() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2]})


def eager() -> pl.DataFrame:
    return pl.DataFrame({"id": [1, 2]})


def nothing() -> None:
    pl.LazyFrame({"id": [1, 2]})


def a_list() -> list[pl.LazyFrame]:
    return [pl.LazyFrame({"id": [1, 2]})]


def a_dict() -> dict[str, pl.LazyFrame]:
    return {"a": pl.LazyFrame({"id": [1, 2]})}


def a_number() -> int:
    return 7


def column_missing() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2]}).select("amount")


def column_missing_in_the_body() -> pl.DataFrame:
    return pl.LazyFrame({"id": [1, 2]}).select("amount").collect()


def conversion_fails() -> pl.LazyFrame:
    return pl.LazyFrame({"id": ["1", "two"]}).select(pl.col("id").cast(pl.Int64))


def types_do_not_fit() -> pl.LazyFrame:
    return pl.LazyFrame({"id": ["1"]}).select(pl.col("id") * 2)


def udf_raises() -> pl.LazyFrame:
    def fail(value: int) -> int:
        raise ValueError(f"cannot use {value}")

    return pl.LazyFrame({"id": [13]}).with_columns(pl.col("id").map_elements(fail, return_dtype=pl.Int64))


def input_gone() -> pl.LazyFrame:
    return pl.scan_parquet("/nowhere/at/all.parquet")


def panics() -> pl.LazyFrame:
    return pl.LazyFrame({"bytes": [b"no JSON"]})


def panics_in_the_body() -> pl.LazyFrame:
    raise pl.exceptions.PanicException("it was not None\nbacktrace")


RUN_FAILURES: list[tuple[Callable[..., Any], type[PolarsProviderError], str]] = [
    (column_missing, SchemaError, 'does not fit its input: unable to find column "amount"'),
    (column_missing_in_the_body, SchemaError, 'does not fit its input: unable to find column "amount"'),
    (conversion_fails, SchemaError, r'conversion from `str` to `i64` failed in column .id.* \["two"\]'),
    (types_do_not_fit, SchemaError, "does not fit its input: arithmetic on"),
    (udf_raises, QueryFailedError, "failed with ValueError: cannot use 13"),
    (input_gone, ResultNotFoundError, "reads a file that is not there: .*/nowhere/at/all.parquet"),
    (panics, QueryFailedError, "Polars panicked while it ran the query .*BinaryView.* another engine="),
    (
        panics_in_the_body,
        QueryFailedError,
        r"Polars panicked .*: it was not None\. This is a defect of Polars",
    ),
    (nothing, QueryDefinitionError, r"must return a LazyFrame, got None \(is a return missing\?\)"),
    (a_list, QueryDefinitionError, "must return a LazyFrame, got list"),
    (a_dict, QueryDefinitionError, "must return a LazyFrame, got dict"),
    (a_number, QueryDefinitionError, "must return a LazyFrame, got int"),
]


@both
@pytest.mark.parametrize(("query", "kind", "message"), RUN_FAILURES, ids=[case[0].__name__ for case in RUN_FAILURES])
def test_a_failure_is_one_error_of_ours_that_names_the_query_and_leaves_the_earlier_result(
    query: Callable[..., Any],
    kind: type[PolarsProviderError],
    message: str,
    compute: LocalCompute,
    tmp_path: Path,
    tree: Tree,
) -> None:
    sink = NdjsonSink(str(tmp_path / "a.jsonl"))
    run_one(good, sink)
    before = tree(tmp_path)

    with pytest.raises(kind, match=message) as caught:
        run_one(query, sink, compute)

    assert query.__name__ in str(caught.value)
    assert caught.value.__cause__ is not None
    assert tree(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_an_exception_of_the_query_itself_passes_unchanged_in_the_process_of_the_task(tmp_path: Path) -> None:
    error = KeyError("of the author")

    def raises() -> pl.LazyFrame:
        raise error

    with pytest.raises(KeyError) as caught:
        run_one(raises, ParquetSink(str(tmp_path / "a.parquet")))

    assert caught.value is error
    assert not list(tmp_path.iterdir())


def test_an_exception_of_the_query_itself_comes_out_of_a_child_with_its_class_message_and_traceback(
    tmp_path: Path,
) -> None:
    def raises() -> pl.LazyFrame:
        raise KeyError("of the author")

    with pytest.raises(QueryFailedError, match="raises failed with KeyError: 'of the author'") as caught:
        run_one(raises, ParquetSink(str(tmp_path / "a.parquet")), IN_CHILD)

    assert 'File "<polars_task>", line 2, in raises' in str(caught.value.__cause__)


class Refusing(http.server.BaseHTTPRequestHandler):
    """Refuses every request, as an object store refuses a signature that has expired."""

    def do_HEAD(self) -> None:
        self.send_response(403)
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[int]:
    """Return the port of a web server that refuses everything."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@both
def test_secrets_of_a_url_that_polars_repeats_are_nowhere_in_the_error(
    compute: LocalCompute, tmp_path: Path, refusing: int
) -> None:
    url = f"http://reader:hidden-1@127.0.0.1:{refusing}/a.csv?signature=hidden-2"

    def signed(url: str) -> pl.LazyFrame:
        return pl.scan_csv(url)

    with pytest.raises(PolarsProviderError, match=f"http://127.0.0.1:{refusing}/a.csv") as caught:
        run_one(signed, ParquetSink(str(tmp_path / "a.parquet")), compute, kwargs={"url": url})

    assert "hidden" not in "".join(traceback.format_exception(caught.value))


@both
def test_a_data_frame_is_as_good_as_a_lazy_one(compute: LocalCompute, tmp_path: Path) -> None:
    result = run_one(eager, ParquetSink(str(tmp_path / "a.parquet")), compute)

    assert read(result).equals(eager())


@both
@pytest.mark.parametrize(
    ("sql", "kind", "message"),
    [
        (
            "SELECT * FROM orderz",
            QueryDefinitionError,
            "names the table 'orderz'.* did you mean 'orders'. Given: orders, x.",
        ),
        ("SELEC 1", QueryDefinitionError, "The SQL of the query is refused: .*SELEC"),
        ("SELECT amount FROM orders", SchemaError, 'unable to find column "amount"'),
    ],
)
def test_sql_that_does_not_fit_its_tables_says_what_is_given(
    sql: str, kind: type[PolarsProviderError], message: str, compute: LocalCompute, tmp_path: Path
) -> None:
    pl.DataFrame({"id": [1]}).write_parquet(tmp_path / "orders.parquet")
    table = Input(scan={"format": "parquet", "locations": [str(tmp_path / "orders.parquet")]})

    with pytest.raises(kind, match=message):
        run_one(
            SqlSource(sql),
            ParquetSink(str(tmp_path / "a.parquet")),
            compute,
            kwargs={"orders": table, "x": table},
        )


def three_frames() -> dict[str, pl.LazyFrame]:
    frame = pl.LazyFrame({"id": ["1", "two"]})
    return {
        "good": frame,
        "missing": frame.select("amount"),
        "wrong": frame.select(pl.col("id").cast(pl.Int64)),
    }


@both
def test_when_outputs_fail_each_is_named_after_all_have_ended_and_none_is_replaced(
    compute: LocalCompute, tmp_path: Path, tree: Tree
) -> None:
    sinks = {name: ParquetSink(str(tmp_path / f"{name}.parquet")) for name in ("good", "missing", "wrong")}
    for sink in sinks.values():
        run_one(good, sink)
    before = tree(tmp_path)

    with pytest.raises(SchemaError) as caught:
        run_all(three_frames, sinks, compute)

    message = str(caught.value)
    assert message.startswith("2 of 3 outputs failed. missing: ")
    assert 'unable to find column "amount"' in message
    assert "; wrong: " in message
    assert message.endswith("Without error: good; no local result was replaced.")
    assert tree(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 3


@both
def test_a_body_that_fails_is_reported_once_for_all_outputs(compute: LocalCompute, tmp_path: Path) -> None:
    sinks = {name: ParquetSink(str(tmp_path / f"{name}.parquet")) for name in "ab"}

    with pytest.raises(QueryDefinitionError) as caught:
        run_all(a_list, sinks, compute)

    assert str(caught.value).count("must return a dict of LazyFrames with the keys ['a', 'b'], got list") == 1


@both
def test_outputs_other_than_those_asked_for_are_named(compute: LocalCompute, tmp_path: Path) -> None:
    sinks = {name: ParquetSink(str(tmp_path / f"{name}.parquet")) for name in ("good", "bad")}
    expected = r"with the keys \['bad', 'good'\], got the keys \['good', 'missing', 'wrong'\]"

    with pytest.raises(QueryDefinitionError, match=expected):
        run_all(three_frames, sinks, compute)


@both
def test_an_output_that_is_no_frame_is_named(compute: LocalCompute, tmp_path: Path) -> None:
    def half() -> dict[str, Any]:
        return {"a": pl.LazyFrame({"id": [1]}), "b": None}

    with pytest.raises(QueryDefinitionError, match="must return a LazyFrame for 'b', got None"):
        run_all(half, {name: ParquetSink(str(tmp_path / name)) for name in "ab"}, compute)


def test_mixed_failures_are_not_taken_for_permanent(tmp_path: Path) -> None:
    def mixed() -> dict[str, pl.LazyFrame]:
        return {"gone": pl.scan_parquet("/nowhere.parquet"), "missing": pl.LazyFrame({"id": [1]}).select("x")}

    with pytest.raises(QueryFailedError) as caught:
        run_all(mixed, {name: ParquetSink(str(tmp_path / name)) for name in ("gone", "missing")})

    assert not caught.value.permanent


def test_code_that_needs_its_module_is_refused_before_a_child_is_started(tmp_path: Path) -> None:
    def uses_module() -> Any:
        return run_all

    with pytest.raises(ConfigurationError, match=r"sent to another process: .* names of its module: run_all"):
        run_one(uses_module, ParquetSink(str(tmp_path / "a.parquet")), IN_CHILD)
    assert not list(tmp_path.iterdir())
