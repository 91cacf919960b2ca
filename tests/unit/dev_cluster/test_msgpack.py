"""MessagePack, read as other libraries write it."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars.dev_cluster.worker import msgpack

texts = st.text() | st.sampled_from(["x" * 31, "x" * 32, "é" * 127, "x" * 256, "x" * 65_535, "x" * 65_536])
keys = texts | st.integers(-(2**63), 2**64 - 1)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(keys, inner, max_size=20),
)


@given(values, st.binary(max_size=3), st.binary(max_size=3))
def test_a_value_is_read_wherever_it_stands(value: Any, before: bytes, after: bytes) -> None:
    written = msgspec.msgpack.encode(value)

    assert msgpack.read(before + written + after, len(before)) == (value, len(before + written))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 65_535, 65_536])
def test_lists_maps_and_bytes_of_all_sizes_are_read(size: int) -> None:
    value = [[0] * size, dict.fromkeys(range(size)), b"x" * size]

    assert msgpack.read(msgspec.msgpack.encode(value), 0)[0] == value


@given(texts)
def test_a_text_is_written_as_others_do(text: str) -> None:
    assert msgpack.write_text(text) == msgspec.msgpack.encode(text)


@given(values, st.data())
def test_a_value_that_is_cut_off_is_refused(value: Any, data: st.DataObject) -> None:
    written = msgspec.msgpack.encode(value)
    at = data.draw(st.integers(0, len(written) - 1))

    with pytest.raises(ValueError, match="MessagePack"):
        msgpack.read(written[:at], 0)


@given(st.binary(max_size=50))
def test_bytes_are_a_value_or_refused(data: bytes) -> None:
    end = len(data)
    with contextlib.suppress(ValueError):
        _, end = msgpack.read(data, 0)

    assert bool(data) <= end <= len(data)


@pytest.mark.parametrize("data", [b"\xc1", b"\xd4\x01\x02", b"\xc7\x01\x01\x02", b"\x91" * 100_000, b"\x81\x90\x00"])
def test_what_plans_do_not_hold_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="MessagePack"):
        msgpack.read(data, 0)
