"""How an upstream result arrives in a parameter of a decorated function."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest
from airflow.sdk import DAG, task

from airflow_provider_polars import CsvSink, LocalCompute, ResultRef, polars_task
from tests.unit.outcomes import failure, rows, succeeded

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("results_path")


@pytest.fixture
def ref(in_memory_airflow: InMemoryAirflow) -> dict[str, Any]:
    """Return the reference to a result with the rows 0, 1, 2."""

    @polars_task
    def upstream() -> pl.LazyFrame:
        return pl.LazyFrame({"a": [0, 1, 2]})

    result = succeeded(in_memory_airflow.run_task(upstream()))
    assert isinstance(result, dict)
    return result


def name_of(value: Any) -> str:
    """Return the type of a value, and those inside it."""
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}[{', '.join(map(name_of, value))}]"
    if type(value) is dict:
        return f"dict[{', '.join(f'{key}={name_of(item)}' for key, item in value.items())}]"
    return type(value).__name__


def received(airflow: InMemoryAirflow, annotation: Any, value: Any) -> str:
    """Return what a parameter with this annotation gets for ``value``."""

    def look(x):  # type: ignore[no-untyped-def]
        return pl.LazyFrame({"got": [name_of(x)]})

    if annotation is not None:
        look.__annotations__["x"] = annotation
    result = succeeded(airflow.run_task(polars_task(look)(value)))
    found: str = rows(result)[0]["got"]
    return found


EAGER = [
    "pl.DataFrame",
    "'pl.DataFrame'",
    "DataFrame",
    "polars.DataFrame",
    "pl.DataFrame | None",
    "Optional[pl.DataFrame]",
    "typing.Optional['pl.DataFrame']",
    "list[pl.DataFrame]",
    "dict[str, pl.DataFrame]",
    pl.DataFrame,
    typing.Optional[pl.DataFrame],  # noqa: UP045
    pl.DataFrame | None,
    list[pl.DataFrame],
    dict[str, pl.DataFrame],
    typing.Annotated[pl.DataFrame, "sorted"],
    collections.abc.Sequence[pl.DataFrame],
]


@pytest.mark.parametrize("annotation", EAGER, ids=str)
def test_dataframe_annotation_gets_it_collected(
    in_memory_airflow: InMemoryAirflow, ref: dict[str, Any], annotation: Any
) -> None:
    """As text or as an object, alone, optional or in a container; names need not be importable."""
    assert received(in_memory_airflow, annotation, ref) == "DataFrame"


@pytest.mark.parametrize(
    "annotation", [None, "pl.LazyFrame", "LazyFrame | None", pl.LazyFrame, "Any", Any, "Unknown", int]
)
def test_anything_else_gets_a_lazyframe(
    in_memory_airflow: InMemoryAirflow, ref: dict[str, Any], annotation: Any
) -> None:
    """The default; a name that cannot be evaluated does no harm."""
    assert received(in_memory_airflow, annotation, ref) == "LazyFrame"


@pytest.mark.parametrize(
    "annotation", ["ResultRef", "ResultRef | None", "list[ResultRef]", ResultRef, ResultRef | None]
)
def test_result_annotation_gets_the_reference(
    in_memory_airflow: InMemoryAirflow, ref: dict[str, Any], annotation: Any
) -> None:
    """With its properties."""
    assert received(in_memory_airflow, annotation, ref) == "ResultRef"


@pytest.mark.parametrize(
    "annotation", ["pl.DataFrame | pl.LazyFrame", "ResultRef | pl.DataFrame", pl.DataFrame | pl.LazyFrame]
)
def test_mixed_annotation_is_refused(in_memory_airflow: InMemoryAirflow, ref: dict[str, Any], annotation: Any) -> None:
    """The parameter and its annotation are named; without an upstream result it does not matter."""

    def mixed(frame):  # type: ignore[no-untyped-def]
        return pl.LazyFrame({"a": [1]})

    mixed.__annotations__["frame"] = annotation
    text = failure(in_memory_airflow.run_task(polars_task(mixed)(ref), max_tries=2))
    assert text.startswith("ConfigurationError: Parameter 'frame' is annotated ")
    assert "Choose one of them." in text
    assert succeeded(in_memory_airflow.run_task(polars_task(mixed)(5)))


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (lambda ref: [ref, ref], "list[DataFrame, DataFrame]"),
        (lambda ref: {"a": ref, "n": 1}, "dict[a=DataFrame, n=int]"),
        (lambda ref: (ref, "x"), "tuple[DataFrame, str]"),
        (lambda ref: {"deep": [{"er": ref}]}, "dict[deep=list[dict[er=DataFrame]]]"),
    ],
)
def test_results_in_containers_are_converted(
    in_memory_airflow: InMemoryAirflow, ref: dict[str, Any], wrap: Callable[[Any], Any], expected: str
) -> None:
    """At any depth, beside other values."""
    assert received(in_memory_airflow, "Any pl.DataFrame", wrap(ref)) == expected


class Pair(NamedTuple):
    """A value of a user's own."""

    one: int
    two: int


@pytest.mark.parametrize(
    "value", [5, "text", b"bytes", bytearray(b"xy"), None, Pair(1, 2), {1, 2}, range(3), Path("/x")]
)
def test_other_values_arrive_as_they_are(in_memory_airflow: InMemoryAirflow, value: Any) -> None:
    """Neither copied nor turned into another type."""
    seen = []

    @polars_task
    def look(x: Any) -> pl.LazyFrame:
        seen.append(x)
        return pl.LazyFrame({"a": [1]})

    succeeded(in_memory_airflow.run_task(look(value)))
    assert (type(seen[0]), seen[0]) == (type(value), value)


def test_variable_parameters_are_converted(in_memory_airflow: InMemoryAirflow, ref: dict[str, Any]) -> None:
    """``*args`` and ``**kwargs`` by their own annotations."""

    @polars_task
    def look(first: Any, *rest: pl.DataFrame, how: str = "", **named: pl.DataFrame) -> pl.LazyFrame:
        return pl.LazyFrame({"got": [name_of(first), name_of(rest), name_of(named["other"])]})

    result = succeeded(in_memory_airflow.run_task(look(ref, ref, ref, other=ref)))
    got = [row["got"] for row in rows(result)]
    assert got == ["LazyFrame", "tuple[DataFrame, DataFrame]", "DataFrame"]


def test_names_of_the_context_are_parameters(in_memory_airflow: InMemoryAirflow, ref: dict[str, Any]) -> None:
    """As for ``@task``, beside what the author passes; defaults stand."""

    @polars_task(params={"limit": 2})
    def look(frame: Any, ds: Any, ti: Any, params: Any, run_id: Any, n: int = 7, dag_run: Any = None) -> pl.LazyFrame:
        return frame.head(params["limit"]).select(
            a="a", what=pl.lit(f"{ds} {ti.task_id} {run_id} {n} {dag_run.run_id}")
        )  # type: ignore[no-any-return]

    result = succeeded(in_memory_airflow.run_task(look(ref)))
    assert rows(result) == [{"a": a, "what": "2026-01-01 look manual 7 manual"} for a in (0, 1)]


def test_results_from_other_tasks_arrive_by_their_names(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """The functions' calls are the dependencies; formats do not matter to the reader."""
    with DAG("chain", schedule=None):

        @polars_task(sink=CsvSink(f"{tmp_path}/lines.csv", separator=";", null_value="-"))
        def lines() -> pl.LazyFrame:
            return pl.LazyFrame({"day": ["1", "2"], "n": [1, None]})

        @polars_task
        def total(lines: pl.LazyFrame, scale: int) -> pl.LazyFrame:
            return lines.select(pl.col("n").sum() * scale, days=pl.col("day").str.join("+"))

        first = lines()
        second = total(first, scale=10)
    assert second.operator.upstream_task_ids == {"lines"}
    succeeded(in_memory_airflow.run_task(first))
    assert rows(succeeded(in_memory_airflow.run_task(second))) == [{"n": 10, "days": "1+2"}]


def test_function_runs_in_another_process_as_here(in_memory_airflow: InMemoryAirflow, ref: dict[str, Any]) -> None:
    """Forms of results and JSON values travel; what it needs it imports."""

    @polars_task(compute=LocalCompute(threads=1))
    def elsewhere(lazy, eager: pl.DataFrame, kept: ResultRef, word):  # type: ignore[no-untyped-def]
        import polars as pl

        names = [type(lazy).__name__, type(eager).__name__, str(kept["rows"]), word, str(pl.thread_pool_size())]
        return pl.LazyFrame({"got": names})

    result = succeeded(in_memory_airflow.run_task(elsewhere(ref, eager=ref, kept=ref, word="w")))
    assert [row["got"] for row in rows(result)] == ["LazyFrame", "DataFrame", "3", "w", "1"]


BROKEN: list[dict[str, Any]] = [
    {"polars_result": 99},
    {"locations": []},
    {"locations": "a.parquet"},
    {"locations": [5]},
    {"locations": ["relative/x.parquet"]},
    {"format": "pickle"},
    {"unexpected": 1},
    {"rows": "many"},
    {"scan_options": {"storage_options": {}}},
]


@pytest.mark.parametrize("change", BROKEN)
def test_malformed_reference_is_refused(
    in_memory_airflow: InMemoryAirflow, ref: dict[str, Any], change: dict[str, Any]
) -> None:
    """Nothing in it is trusted; a retry would not help."""

    @polars_task
    def read(frame: Any) -> Any:
        return frame

    text = failure(in_memory_airflow.run_task(read({**ref, **change}), max_tries=2))
    assert text.startswith("InvalidResultError: ")


@pytest.mark.parametrize("inside", ["list", "mapping"])
def test_malformed_reference_is_found_in_containers(
    in_memory_airflow: InMemoryAirflow, ref: dict[str, Any], inside: str
) -> None:
    """However deep."""

    @polars_task
    def read(frames: Any) -> Any:
        return pl.LazyFrame()

    bad = {**ref, "format": "pickle"}
    text = failure(in_memory_airflow.run_task(read([ref, bad] if inside == "list" else {"a": {"b": bad}})))
    assert text.startswith("InvalidResultError: ")


def test_locations_outside_the_allowed_prefixes_are_refused(
    in_memory_airflow: InMemoryAirflow, ref: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not below them, out of them by ``..`` or a link, beside them, or in another store."""
    lake = tmp_path / "lake"
    lake.mkdir()
    (tmp_path / "lakes").mkdir()
    (lake / "link").symlink_to(tmp_path)
    pl.DataFrame({"a": [5]}).write_parquet(tmp_path / "secret.parquet")
    pl.DataFrame({"a": [1]}).write_parquet(lake / "good.parquet")
    monkeypatch.setenv("AIRFLOW__POLARS__ALLOWED_PREFIXES", f"{lake}/,s3://bucket/lake/")

    @polars_task
    def read(frame: Any) -> Any:
        return frame

    def at(location: str) -> Any:
        return in_memory_airflow.run_task(read({**ref, "locations": [location]}), max_tries=2)

    assert rows(succeeded(at(f"{lake}/good.parquet"))) == [{"a": 1}]
    assert rows(succeeded(at(f"file://{lake}/good.parquet"))) == [{"a": 1}]
    assert len(rows(succeeded(at(ref["locations"][0])))) == 3
    outside = [
        f"{tmp_path}/secret.parquet",
        f"{lake}/../secret.parquet",
        f"{lake}/link/secret.parquet",
        f"file://{lake}/%2e%2e/secret.parquet",
        f"{tmp_path}/lakes/x.parquet",
        "s3://bucket/other/x.parquet",
        "s3://bucket/lake/../other/x.parquet",
        "s3://bucket/lakes/x.parquet",
        "http://bucket/lake/x.parquet",
    ]
    for location in outside:
        text = failure(at(location))
        assert text.startswith(
            f"InvalidResultError: The result location {location!r} is outside [polars] allowed_prefixes"
        )
        assert "Add its prefix there" in text


def test_plain_dicts_are_no_results(in_memory_airflow: InMemoryAirflow) -> None:
    """Only the marker makes one."""

    @task(multiple_outputs=False)
    def upstream() -> dict[str, Any]:
        return {"locations": ["/x.parquet"], "format": "parquet"}

    assert received(in_memory_airflow, None, in_memory_airflow.run_task(upstream()).result) == (
        "dict[locations=list[str], format=str]"
    )
