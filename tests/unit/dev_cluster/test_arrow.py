"""Arrow IPC streams, cut into messages."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes

from airflow_provider_polars.dev_cluster.worker import arrow

NESTED = pl.DataFrame(
    {
        "list": [[1, None], [], None],
        "struct": [{"a": 1, "b": ["x"]}, {"a": None, "b": []}, None],
        "array": pl.Series([[1.5, 2.5], None, [0.0, 0.0]], dtype=pl.Array(pl.Float32, 2)),
        "decimal": [Decimal("1.25"), None, Decimal("-3.50")],
        "category": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
        "binary": [b"", b"\x00\xff", None],
        "null": [None, None, None],
        "time": [dt.time(1, 2, 3), None, dt.time(0)],
        "duration": [dt.timedelta(microseconds=1), None, dt.timedelta(days=-9)],
        "zoned": pl.Series([dt.datetime(2024, 1, 1)] * 3).dt.replace_time_zone("Europe/Berlin"),
    }
)


def stream(frame: pl.DataFrame) -> bytes:
    return frame.write_ipc_stream(None).getvalue()


def joined(data: bytes) -> bytes:
    return b"".join(arrow.encapsulated(metadata) + body for metadata, body in arrow.messages(io.BytesIO(data)))


@given(dataframes(max_cols=6, max_size=8))
def test_the_messages_of_a_stream_make_it_up(frame: pl.DataFrame) -> None:
    data = stream(frame)

    assert joined(data) + arrow.END == data
    assert_frame_equal(pl.read_ipc_stream(io.BytesIO(joined(data) + arrow.END)), frame, categorical_as_str=True)


def test_streams_with_dictionaries_and_nested_columns_are_cut() -> None:
    (schema, no_body), *rest = arrow.messages(io.BytesIO(stream(NESTED)))

    assert no_body == b""
    assert len(rest) >= len(["dictionary", "rows"])
    assert_frame_equal(pl.read_ipc_stream(io.BytesIO(joined(stream(NESTED)) + arrow.END)), NESTED)
    assert pl.read_ipc_stream(io.BytesIO(arrow.encapsulated(schema) + arrow.END)).schema == NESTED.schema


@given(st.data())
def test_a_stream_that_ends_within_a_message_is_refused(data: st.DataObject) -> None:
    whole = stream(NESTED)
    ends = [0]
    for metadata, body in arrow.messages(io.BytesIO(whole)):
        ends.append(ends[-1] + len(arrow.encapsulated(metadata)) + len(body))
    at = data.draw(st.integers(0, len(whole)).filter(lambda at: at not in ends and at < ends[-1] + 8))

    with pytest.raises(ValueError, match="ends in the middle of a message"):
        list(arrow.messages(io.BytesIO(whole[:at])))


def test_a_stream_without_its_end_is_whole() -> None:
    data = stream(NESTED).removesuffix(arrow.END)

    assert joined(data) == data
