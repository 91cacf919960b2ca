"""References to results: small whatever the data, and never trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_polars import ResultRef
from airflow_provider_polars.exceptions import ConfigurationError, InvalidResultError
from airflow_provider_polars.query.paths import MAX_LOCATION_BYTES, check_location
from airflow_provider_polars.query.result import FORMATS, MARKER, MAX_BYTES, SCAN_OPTIONS, is_result
from airflow_provider_polars.query.sinks import Sink
from tests.unit.specs import SINKS, minimal, of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
dtypes = st.sampled_from(["Int64", "String", "Datetime(time_unit='us', time_zone=None)"]) | names


def ref(**fields: Any) -> dict[str, Any]:
    """Return a reference as XCom brings it, with ``fields`` changed; None leaves a field out."""
    built = built_ref(locations=["/lake/a.parquet"], root="/lake/a.parquet")
    return {name: value for name, value in (dict(built) | fields).items() if value is not None}


def iceberg(**options: Any) -> dict[str, Any]:
    """Return a reference to an Iceberg table."""
    scan_options = {"table": "sales.orders", "catalog": "prod", "catalog_properties": {}, "snapshot_id": 1} | options
    return ref(format="iceberg", locations=["iceberg://prod/sales.orders"], scan_options=scan_options)


def built_ref(**fields: Any) -> ResultRef:
    """Build a reference to two columns, with ``fields`` changed."""
    given = {
        "locations": ["/lake/a.parquet"],
        "root": "/lake/",
        "format": "parquet",
        "rows": 3,
        "bytes": 100,
        "schema": [("a", "Int64"), ("b", "String")],
        "query_id": "q1",
        "timings": {"run": 0.12345},
    }
    return ResultRef.build(**{**given, **fields})


def size(value: Any) -> int:
    """Return the bytes of ``value`` as JSON, as Airflow stores it."""
    return len(json.dumps(value).encode())


# ---- building


def test_a_small_result_is_described_in_full() -> None:
    built = built_ref(head=[{"a": 1}], scan_options={"version": 3}, conn_id="aws")
    assert dict(built) == {
        "polars_result": 1,
        "locations": ["/lake/a.parquet"],
        "format": "parquet",
        "rows": 3,
        "bytes": 100,
        "files": 1,
        "schema": [["a", "Int64"], ["b", "String"]],
        "schema_hash": built["schema_hash"],
        "query_id": "q1",
        "timings": {"run": 0.123},
        "scan_options": {"version": 3},
        "conn_id": "aws",
        "head": [{"a": 1}],
    }
    assert (built.locations, built.format, built.rows, built.bytes) == (["/lake/a.parquet"], "parquet", 3, 100)
    assert (built.schema, built.query_id, built.head) == ([("a", "Int64"), ("b", "String")], "q1", [{"a": 1}])


def test_head_and_reader_options_are_left_out_unless_given() -> None:
    optional = {"head", "scan_options", "conn_id", "schema_omitted", "statistics", "signed"}
    assert optional.isdisjoint(built_ref(statistics={}, signed=False))


def test_what_a_cluster_counts_and_whether_it_signs_its_urls_is_told() -> None:
    built = built_ref(statistics={"stages": 2, "rows_read": 7}, signed=True)
    assert (built["statistics"], built["signed"]) == ({"stages": 2, "rows_read": 7}, 1)
    assert ResultRef.parse(json.loads(json.dumps(built))) == built


@given(
    locations=st.lists(names, min_size=1, max_size=30),
    root=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=400).map(lambda text: f"/{text}"),
    schema=st.lists(st.tuples(names, dtypes), max_size=60),
    head=st.lists(st.dictionaries(names, json_values, max_size=5), max_size=10),
    columns=st.sampled_from([0, 1, 100, 5000]),
)
@example(
    locations=["/" + "\U0001f43b" * 255] * 21,
    root="/" + "\U0001f43b" * 255,
    schema=[("\0" * 5000, "Int64")],
    head=[{"a": "\0" * 5000}],
    columns=5000,
)
def test_a_reference_is_at_most_4096_bytes_whatever_the_data(
    locations: list[str],
    root: str,
    schema: list[tuple[str, str]],
    head: list[dict[str, Any]],
    columns: int,
) -> None:
    root = root.encode()[:MAX_LOCATION_BYTES].decode(errors="ignore")
    check_location(root, "root")
    pairs = [*schema, *((f"column_{number}", "Float64") for number in range(columns))]
    built = built_ref(
        locations=locations,
        root=root,
        rows=2**63,
        bytes=2**63,
        schema=pairs,
        query_id="f" * 36,
        timings=dict.fromkeys(["queue", "plan", "run"], 123456.789),
        head=head,
        conn_id="x" * 250,
        statistics=dict.fromkeys(["stages", "rows_read", "bytes_read", "bytes_shuffled"], 2**63),
        signed=True,
    )
    assert size(built) <= MAX_BYTES
    assert len(built["schema"]) + built.get("schema_omitted", 0) == len(pairs)
    assert size(built["schema"]) <= 2048
    assert size(built.head) <= 1024
    assert built["files"] == len(locations)
    assert built.locations in (locations, [root])


@pytest.mark.parametrize("kind", SINKS, ids=lambda kind: kind.kind)
def test_the_longest_sink_that_is_accepted_still_fits(kind: type[Sink]) -> None:
    long: dict[str, Any] = {
        "parquet": {"path": "s3://" + "ä" * 509},
        "csv": {"path": "s3://" + "ä" * 509, "null_value": "N" * 100, "separator": "|", "quote_char": "'"},
        "ipc": {"path": "s3://" + "ä" * 509},
        "ndjson": {"path": "s3://" + "ä" * 509},
        "delta": {"path": "s3://" + "ä" * 509},
        "iceberg": {
            "table": "sales." + "t" * 200,
            "catalog": "c" * 100,
            "catalog_properties": {"type": "rest", "uri": "https://" + "u" * 300, "warehouse": "w" * 300},
        },
    }[kind.kind]
    connection = {} if kind.kind == "iceberg" else {"aws_conn_id": "x" * 250}
    sink = minimal(kind, **connection, **long)
    built = built_ref(
        locations=[sink.target], root=sink.target, scan_options=sink.scan_options(), conn_id=sink.aws_conn_id
    )
    assert size(built) <= MAX_BYTES
    assert ResultRef.parse(json.loads(json.dumps({**built, "format": kind.kind}))) == {**built, "format": kind.kind}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("csv", {"null_value": "N" * 3500}),
        ("iceberg", {"table": "sales." + "t" * 2000}),
        ("iceberg", {"catalog_properties": {"uri": "https://" + "u" * 3500}}),
        ("parquet", {"aws_conn_id": "x" * 3500}),
    ],
)
def test_a_sink_that_would_not_fit_is_refused_before_anything_is_written(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"bytes of JSON to be found and read again, the limit is 3500"):
        minimal(Sink.registry[kind], **fields)


@given(data=st.data(), kind=st.sampled_from(SINKS))
def test_a_reference_to_any_sink_that_is_accepted_fits(data: st.DataObject, kind: type[Sink]) -> None:
    sink = data.draw(of(kind))
    assert isinstance(sink, Sink)
    built = built_ref(
        locations=[sink.target],
        root=sink.target,
        schema=[(f"column_{number}", "Float64") for number in range(5000)],
        scan_options=sink.scan_options(),
        conn_id=sink.aws_conn_id,
        head=[{"a": "x"}] * 100,
    )
    assert size(built) <= MAX_BYTES


def test_more_than_20_locations_become_their_folder_and_a_count() -> None:
    files = [f"/lake/{number}.parquet" for number in range(21)]
    assert built_ref(locations=files[:20]).locations == files[:20]
    many = built_ref(locations=files)
    assert many.locations == ["/lake/"]
    assert many["files"] == 21


def test_locations_above_1024_bytes_become_their_folder_and_a_count() -> None:
    files = [f"/lake/{'x' * 600}/{number}.parquet" for number in range(2)]
    assert built_ref(locations=files).locations == ["/lake/"]


def test_a_wide_schema_is_cut_and_the_rest_counted() -> None:
    built = built_ref(schema=[(f"column_{number}", "Float64") for number in range(1000)])
    assert size(built["schema"]) <= 2048
    assert built["schema_omitted"] == 1000 - len(built.schema)
    assert built.schema[0] == ("column_0", "Float64")


def test_the_hash_covers_the_columns_that_are_left_out() -> None:
    columns = [(f"column_{number}", "Float64") for number in range(1000)]
    assert built_ref(schema=columns)["schema_hash"] != built_ref(schema=columns[:-1])["schema_hash"]
    assert built_ref(schema=columns)["schema_hash"] == built_ref(schema=list(columns))["schema_hash"]


def test_a_head_keeps_the_first_rows_that_fit_in_1024_bytes() -> None:
    rows = [{"n": number, "text": "x" * 100} for number in range(50)]
    head = built_ref(head=rows).head
    assert head == rows[: len(head)]
    assert 0 < size(head) <= 1024


def test_the_size_does_not_depend_on_the_number_of_rows() -> None:
    assert size(built_ref(rows=10_000_000, bytes=10**9)) - size(built_ref(rows=10, bytes=100)) < 20


# ---- parsing


@pytest.mark.parametrize("value", [ref(), ref(head=[{"a": 1}]), ref(rows=None, bytes=None), iceberg()])
def test_a_reference_survives_xcom(value: dict[str, Any]) -> None:
    parsed = ResultRef.parse(json.loads(json.dumps(value)))
    assert dict(parsed) == value
    assert is_result(parsed)


@given(value=st.dictionaries(st.sampled_from(list(ref())) | st.text(max_size=8), json_values, max_size=8))
@example(value=ref(schema=[["a"]]))
@example(value=ref(schema=["ab"]))
@example(value=ref(head=[3]))
@example(value=ref(locations=["file://["]))
@example(value=iceberg(catalog_properties=3))
@example(value=iceberg(catalog_properties=None))
@example(value=ref(format="iceberg", scan_options={}))
@pytest.mark.parametrize("prefixes", [(), ("/lake", "s3://lake/")])
def test_any_json_object_is_read_or_refused_as_an_invalid_result(
    prefixes: tuple[str, ...], value: dict[str, Any]
) -> None:
    try:
        parsed = ResultRef.parse(value, prefixes)
    except InvalidResultError:
        return
    assert (parsed.locations, parsed.schema, parsed.head, parsed.query_id) is not None


@given(
    field=st.sampled_from([*ref(), "scan_options", "head", "conn_id"]),
    value=json_values,
    format=st.sampled_from(sorted(FORMATS)),
    prefixes=st.sampled_from([(), ("/lake", "s3://lake/")]),
)
def test_a_reference_with_one_field_replaced_by_anything_is_read_or_refused(
    field: str, value: Any, format: str, prefixes: tuple[str, ...]
) -> None:
    try:
        parsed = ResultRef.parse({**ref(format=format), field: value}, prefixes)
    except InvalidResultError:
        return
    assert all(isinstance(name, str) and isinstance(dtype, str) for name, dtype in parsed.schema)
    assert all(isinstance(location, str) for location in parsed.locations)
    assert all(isinstance(row, dict) for row in parsed.head)


@given(format=st.sampled_from(sorted(SCAN_OPTIONS)), data=st.data())
def test_reader_options_that_are_anything_are_read_or_refused(format: str, data: st.DataObject) -> None:
    known = st.sampled_from([*SCAN_OPTIONS[format], "uri", "credential"])
    options = data.draw(st.dictionaries(known, json_values, max_size=4))
    try:
        parsed = ResultRef.parse(ref(format=format, scan_options=options))
    except InvalidResultError:
        return
    assert all(isinstance(item, SCAN_OPTIONS[format][name]) for name, item in parsed["scan_options"].items())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"polars_result": 1}, "version 1, format None, 0 locations"),
        (ref(polars_result=2), "version 2, format 'parquet', 1 locations"),
        (ref(polars_result=True), "field 'polars_result' is 'True'"),
        (ref(format="pickle"), "format 'pickle'"),
        (ref(locations=[]), "0 locations"),
        (ref(locations="/lake/a.parquet"), "field 'locations' is '/lake/a.parquet'"),
        (ref(locations=[3]), "must be an absolute path or a URL, got 3"),
        (ref(locations=[""]), "must be an absolute path or a URL, got ''"),
        (ref(locations=["a.parquet"]), "must be an absolute path or a URL, got 'a.parquet'"),
        (ref(locations=["~/a.parquet"]), "must be an absolute path or a URL, got '~/a.parquet'"),
        (ref(locations=["/lake/\0"]), "must be an absolute path or a URL"),
        (ref(rows="3"), "field 'rows' is '3'"),
        (ref(rows=True), "field 'rows' is 'True'"),
        (ref(signed=True), "field 'signed' is 'True'"),
        (ref(statistics=[1]), "field 'statistics' is '[1]'"),
        (ref(plan="gASV"), "field 'plan' is 'gASV'. Pass on what the upstream task returned, unchanged"),
        (ref(schema=[["a", 3]]), "must be [name, data type], got ['a', 3]"),
        (ref(head=[[1]]), "must be an object, got [1]"),
        (ref(scan_options={"eval": "x"}), "reader options of this parquet result are wrong: eval"),
        (ref(format="csv", scan_options={"separator": 3}), "reader options of this csv result are wrong: separator"),
        (iceberg(py_io_impl="x"), "reader options of this iceberg result are wrong: py_io_impl"),
        (
            iceberg(catalog_properties={"credential": "x"}),
            "reader options of this iceberg result are wrong: credential",
        ),
        (ref(format="iceberg"), "are wrong: catalog, catalog_properties, table"),
    ],
)
def test_a_malformed_reference_is_refused_with_what_is_wrong(value: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidResultError) as caught:
        ResultRef.parse(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "location",
    ["/lake/a.parquet", "/lake/", "file:///lake/a.parquet", "s3://lake/a.parquet"],
)
def test_a_location_below_an_allowed_prefix_is_read(location: str) -> None:
    assert ResultRef.parse(ref(locations=[location]), ["/lake", "s3://lake/"]).locations == [location]


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "/lake/../etc/passwd", "/lake2/a", "file:///etc/passwd", "s3://other/a", "https://lake/a"],
)
def test_a_location_outside_the_allowed_prefixes_is_refused_by_its_name(location: str) -> None:
    with pytest.raises(InvalidResultError) as caught:
        ResultRef.parse(ref(locations=["/lake/a.parquet", location]), ["/lake", "s3://lake/"])
    assert f"The result location {location!r} is outside [polars] allowed_prefixes (/lake, s3://lake/)" in str(
        caught.value
    )


def test_a_link_out_of_an_allowed_prefix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "secret.parquet").touch()
    link = tmp_path / "lake" / "a.parquet"
    link.symlink_to(tmp_path / "secret.parquet")
    with pytest.raises(InvalidResultError, match="is outside"):
        ResultRef.parse(ref(locations=[str(link)]), [str(tmp_path / "lake")])


def test_an_iceberg_result_is_held_to_the_table_that_it_reads_not_to_what_it_calls_its_location() -> None:
    allowed = ["/lake", "iceberg://prod/sales.orders"]
    assert ResultRef.parse(iceberg(), allowed).format == "iceberg"
    with pytest.raises(InvalidResultError, match=r"'iceberg://prod/hr\.salaries' is outside"):
        ResultRef.parse(iceberg(table="hr.salaries"), allowed)


def test_an_iceberg_result_does_not_bring_a_catalog_of_its_own() -> None:
    value = iceberg(catalog_properties={"uri": "https://catalog.invalid"})
    with pytest.raises(InvalidResultError, match=r"'https://catalog\.invalid' is outside"):
        ResultRef.parse(value, ["iceberg://prod"])
    assert ResultRef.parse(value, ["iceberg://prod", "https://catalog.invalid/"]).format == "iceberg"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ref(), True),
        ({MARKER: "x"}, True),
        ({"locations": []}, False),
        ([MARKER], False),
        (MARKER, False),
        (None, False),
    ],
)
def test_only_an_object_with_the_marker_is_taken_for_a_reference(value: object, expected: bool) -> None:
    assert is_result(value) is expected
