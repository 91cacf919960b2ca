"""Queries on an instance, in direct and in proxy mode: what a cluster of one's own does, they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import ParquetSink
from tests.wire.cloud.tasks import CloudTasks, compute, refused, retried

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wire.gates import Gate


@pytest.fixture
def handle(cloud: CloudTasks, mode: str) -> dict[str, Any]:
    """Return an instance that was started."""
    return cloud.started(compute(connection_mode=mode, cluster_size=2))


def test_a_result_is_written_and_handed_on(cloud: CloudTasks, handle: dict[str, Any], tmp_path: Path) -> None:
    sink = ParquetSink(f"{tmp_path}/numbers.parquet")

    outcome = cloud.query(handle, sink=sink, labels=["finance"])

    assert outcome.error is None
    assert outcome.result["rows"] == 3
    assert pl.read_parquet(outcome.result["locations"])["a"].to_list() == [1, 2, 3]
    assert set(outcome.result["timings"]) >= {"run"}


def test_a_result_without_a_sink_stays_where_the_instance_keeps_it(cloud: CloudTasks, handle: dict[str, Any]) -> None:
    outcome = cloud.query(handle)
    assert pl.read_parquet(outcome.result["locations"])["a"].to_list() == [1, 2, 3]


def test_a_query_carries_the_labels_of_its_task(cloud: CloudTasks, handle: dict[str, Any]) -> None:
    assert cloud.query(handle, labels=["finance"]).state == "success"

    (record,) = cloud.records(handle)
    assert record["labels"] == ["airflow", "dag:in_memory", "task:query", "run:first", "finance"]


def test_a_query_links_to_its_page_in_the_portal(cloud: CloudTasks, handle: dict[str, Any]) -> None:
    outcome = cloud.query(handle)
    page = f"/portal/{handle['workspace']}/{handle['compute_id']}/queries/{outcome.result['query_id']}"
    assert outcome.xcoms["polars_query_link"].endswith(page)
    assert outcome.xcoms["polars_queries"] == [outcome.result["query_id"]]


def test_a_query_that_fails_carries_the_reason(cloud: CloudTasks, handle: dict[str, Any]) -> None:
    def wrong() -> Any:
        return pl.LazyFrame({"a": ["x"]}).select(pl.col("a").cast(pl.Int64))

    message = refused(cloud.query(handle, wrong, max_tries=1))

    assert message.startswith("SchemaError: ")
    assert "conversion from `str` to `i64` failed" in message


def test_a_plan_that_cannot_run_is_refused(cloud: CloudTasks, handle: dict[str, Any]) -> None:
    message = refused(cloud.query(handle, lambda: pl.LazyFrame({"a": [1]}).select("b"), max_tries=1))
    assert message.startswith("SchemaError: ")


def test_a_function_that_submits_by_itself_is_watched(cloud: CloudTasks, handle: dict[str, Any]) -> None:
    def by_itself() -> Any:
        frame: Any = pl.LazyFrame({"a": [1, 2, 3]})
        largest = frame.select(pl.col("a").max()).remote().single_node().execute(blocking=False).await_result()
        assert largest.n_rows_total == 1
        return frame.remote().single_node().execute(blocking=False)

    outcome = cloud.query(handle, by_itself, distributed=None)

    assert outcome.error is None
    assert outcome.result["rows"] == 3
    assert len(outcome.xcoms["polars_queries"]) == 2


@pytest.mark.parametrize("way", ["made", "started"])
def test_a_function_that_would_start_another_instance_is_refused(
    cloud: CloudTasks, handle: dict[str, Any], way: str
) -> None:
    def starts() -> Any:
        import polars_cloud as pc
        from polars_cloud.context import cache

        if way == "made":
            pc.ComputeContext(cpus=64, memory=256).start()
        else:
            cache.cached_context.start()  # type: ignore[union-attr]
        return pl.LazyFrame({"a": [1]})

    message = refused(cloud.query(handle, starts, max_tries=1))

    assert message.startswith("QueryDefinitionError: ")
    assert "an instance that nobody would stop" in message
    assert cloud.plane.started == [handle["compute_id"]]


def test_a_context_that_was_made_before_the_task_is_refused(cloud: CloudTasks, handle: dict[str, Any]) -> None:
    import uuid

    import polars_cloud as pc

    pc.authenticate(interactive=False)
    other = pc.ComputeContext.connect(uuid.UUID(handle["compute_id"]), uuid.UUID(handle["workspace"]))
    other._compute_id = uuid.uuid4()

    frame: Any = pl.LazyFrame({"a": [1]})
    message = refused(cloud.query(handle, lambda: frame.remote(other).single_node().execute(), max_tries=1))

    assert message.startswith("QueryDefinitionError: ")
    assert cloud.records(handle) == []


def test_a_retry_adopts_the_query_that_runs_on(cloud: CloudTasks, handle: dict[str, Any], gate: Gate) -> None:
    submitted = cloud.query(handle, lambda: gate.frame("held"), wait=False)
    gate.wait_until_started("held")
    gate.open()

    adopted = cloud.query(handle, lambda: gate.frame("held"), try_number=2)

    assert adopted.result["query_id"] == submitted.result["query_id"]
    assert gate.starts("held") == 1


def test_a_cleared_task_cancels_the_query_of_before(cloud: CloudTasks, handle: dict[str, Any], gate: Gate) -> None:
    submitted = cloud.query(handle, lambda: gate.frame("held"), wait=False)
    gate.wait_until_started("held")

    again = cloud.query(handle, try_number=2, max_tries=1)

    assert again.state == "success"
    assert again.result["query_id"] != submitted.result["query_id"]


def test_a_timeout_cancels_the_query(cloud: CloudTasks, handle: dict[str, Any], gate: Gate) -> None:
    message = retried(cloud.query(handle, lambda: gate.frame("held"), timeout=1.0, max_tries=1))
    assert message.startswith("QueryTimeoutError: ")
    assert "did not end within timeout=1 seconds and was cancelled" in message


def test_a_query_ends_with_the_lifetime_of_its_compute(cloud: CloudTasks, handle: dict[str, Any], gate: Gate) -> None:
    old = {**handle, "ready_at": handle["ready_at"] - 3600, "max_lifetime": 1.0003}
    message = retried(cloud.query(old, lambda: gate.frame("held"), max_tries=1))
    assert message.startswith("QueryTimeoutError: ")
    assert "did not end within the max_lifetime= of CloudCompute(" in message


def test_an_instance_with_another_polars_is_refused_before_anything_is_sent(
    cloud: CloudTasks, handle: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_polars.backends.polars_client import load_client

    monkeypatch.setattr(load_client(), "polars", "1.2.3")

    message = refused(cloud.query(handle, max_tries=1))

    assert message.startswith(
        f"VersionMismatchError: The instance {handle['compute_id']} runs Polars {pl.__version__}, this "
    )
    assert cloud.records(handle) == []


def test_rows_that_proxy_mode_does_not_hand_out_are_refused(cloud: CloudTasks) -> None:
    proxied, direct = (cloud.started(compute(connection_mode=mode), run_id=mode) for mode in ("proxy", "direct"))
    message = refused(cloud.query(proxied, head_rows=2, max_tries=1))
    assert message.startswith("RefusedOptionError: head_rows=2 cannot be honoured in proxy mode")
    assert cloud.query(direct, head_rows=2).result["head"] == [{"a": 1}, {"a": 2}]


def test_a_plan_above_the_limit_of_proxy_mode_is_refused(cloud: CloudTasks) -> None:
    handle = cloud.started(compute(connection_mode="proxy"))
    large = pl.LazyFrame({"a": pl.int_range(1_500_000, eager=True)})
    message = refused(cloud.query(handle, lambda: large, max_tries=1))
    assert message.startswith("PlanError: ")
    assert "more than max_plan_mb=10.4858" in message
