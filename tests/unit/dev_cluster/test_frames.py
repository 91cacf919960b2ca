"""Messages between scheduler and worker."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars.dev_cluster.worker import frames

values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.dictionaries(st.text(), values | st.lists(values) | st.dictionaries(st.text(), values)), st.binary())
def test_a_message_and_its_bytes_come_back(message: dict[str, Any], body: bytes) -> None:
    assert frames.unpack(frames.pack(message, body)) == (message, body)
