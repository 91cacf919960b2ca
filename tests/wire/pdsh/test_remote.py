"""The 22 queries of TPC-H through the real client give what local Polars gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from tests.wire.pdsh.data import scan
from tests.wire.pdsh.queries import QUERIES, Query


@pytest.mark.parametrize(("name", "build"), QUERIES, ids=[name for name, _ in QUERIES])
def test_a_query_gives_the_rows_of_local_polars(
    context: Any, pdsh_data: Path, tmp_path: Path, name: str, build: Query
) -> None:
    frame = build(scan(pdsh_data))
    expected = frame.collect(engine="streaming")

    result = frame.remote(context).single_node().sink_parquet(str(tmp_path / f"{name}.parquet")).await_result()

    assert result.n_rows_total == expected.height
    assert_frame_equal(result.lazy().collect(), expected, check_exact=False)
    assert_frame_equal(frame.remote(context).distributed().collect(), expected, check_exact=False)
