"""What the installed client, Polars or the scheduler cannot do, said before anything is lost."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import polars as pl
import polars_cloud as pc
import pytest

from airflow_provider_polars import ClusterCompute
from airflow_provider_polars.exceptions import ClusterAccessError, ClusterUnreachableError, QueryFailedError
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from tests.unit.outcomes import failure, succeeded
from tests.wire.cluster.elsewhere import run_elsewhere
from tests.wire.peers import StandInScheduler, aborting, serving

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.cluster.conftest import Run

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
NO_GPU = (
    f'RefusedOptionError: engine="gpu" is refused by polars_cloud {pc.__version__}: clusters have no GPU engine '
    'yet. Use LocalCompute(engine="gpu", python=...) on a worker with a GPU.'
)


class TestGpu:
    """The client refuses the GPU engine, so the task does, before it does anything else."""

    @pytest.mark.parametrize("distributed", [None, False])
    def test_it_is_refused_first_thing(
        self, run: Run, polars_dev_cluster: DevCluster, distributed: bool | None
    ) -> None:
        called: list[None] = []

        outcome = run(lambda: called.append(None), engine="gpu", distributed=distributed)

        assert failure(outcome) == NO_GPU
        assert called == []
        assert polars_dev_cluster.recorder.calls() == []

    def test_it_is_refused_as_the_engine_of_the_compute(self, run: Run) -> None:
        compute = ClusterCompute(uri="http://127.0.0.1:1", engine="gpu")

        assert failure(run(FRAME, compute=compute)) == NO_GPU

    def test_it_passes_as_soon_as_the_client_accepts_it(
        self, run: Run, polars_dev_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A later client is imitated: its check of the engine gone, the settings of the plan say GPU."""
        from polars_cloud.query import _utils, query

        prepare, serialize = _utils.prepare_query, _utils.pc_core.serialize_query_settings

        def accepting(*args: Any, engine: Any, **options: Any) -> Any:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    _utils.pc_core,
                    "serialize_query_settings",
                    lambda **settings: serialize(**{**settings, "engine": engine}),
                )
                return prepare(*args, engine="auto", **options)

        monkeypatch.setattr(_utils, "prepare_query", accepting)
        monkeypatch.setattr(query, "prepare_query", accepting)

        outcome = run(FRAME, engine="gpu")

        assert polars_dev_cluster.recorder.submissions[0]["engine"] == "gpu"
        assert failure(outcome) == (
            "QueryDefinitionError: The query tests.wire.cluster.conftest.run.run.<lambda> needs a package that the "
            f"cluster at {polars_dev_cluster.uri} lacks: GPU engine requested, but required package 'cudf_polars' "
            "could not be imported. Install it there, or do without."
        )


def versions(polars: str = pl.__version__) -> Any:
    """Return the answer of a scheduler about its versions."""
    named = wire.ComputeVersions(compute_plane_version="1", polars_python_version=polars, polars_rust_revision="r")
    return lambda request, context: wire.GetComputeVersionsResponse(versions=named)


ANSWERED = wire.SubmitQueryResponse(query_id=wire.QueryId(query_id="7b0a1b0e-0000-4000-8000-000000000001"))


def submit_to(run: Run, scheduler: StandInScheduler, **options: Any) -> Any:
    """Run a task on a stand-in for a scheduler and return its outcome."""
    with serving(scheduler) as port:
        compute = ClusterCompute(uri=f"http://127.0.0.1:{port}", observatory="http://127.0.0.1:1")
        return run(FRAME, compute=compute, **options)


def test_a_panic_of_the_client_is_an_error_of_ours(run: Run) -> None:
    """The client panics at an answer without an id."""
    scheduler = StandInScheduler(
        GetComputeVersions=versions(), SubmitQuery=lambda request, context: wire.SubmitQueryResponse()
    )

    outcome = submit_to(run, scheduler)

    assert type(outcome.error).__name__ == "QueryFailedError"
    assert "panicked" in failure(outcome)
    assert type(outcome.error.__cause__).__name__ == "PanicException"
    assert scheduler.calls == ["GetComputeVersions", "SubmitQuery"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, ClusterUnreachableError),
        (grpc.StatusCode.UNAUTHENTICATED, ClusterAccessError),
        (grpc.StatusCode.PERMISSION_DENIED, ClusterAccessError),
        (grpc.StatusCode.INTERNAL, QueryFailedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, QueryFailedError),
    ],
)
def test_a_scheduler_that_does_not_take_the_query_is_an_error_of_its_kind(
    run: Run, code: grpc.StatusCode, error: type[Exception]
) -> None:
    scheduler = StandInScheduler(GetComputeVersions=versions(), SubmitQuery=aborting(code, "no room today"))

    outcome = submit_to(run, scheduler)

    assert isinstance(outcome.error, error)
    assert "no room today" in failure(outcome)
    assert "failed a call for the query" in failure(outcome)


FAILED = wire.QUERY_STATUS_FAILED


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ([], "gave no reason; see its log"),
        (["out of luck"], "failed with ComputeError: out of luck"),
        ([json.dumps({"worker-1": "ValueError: too large"})], "failed with ValueError: too large"),
        ([json.dumps(["a list"])], 'failed with ComputeError: ["a list"]'),
        ([json.dumps({"scheduler": "KeyboardInterrupt: stop"})], "failed with KeyboardInterrupt: stop"),
        ([json.dumps({"scheduler": "SystemExit"})], "failed with ComputeError: SystemExit"),
        (
            [json.dumps({"scheduler": "ComputeError: a worker failed", "worker-1": "ShapeError: of no shape"})],
            "failed with ShapeError: of no shape",
        ),
    ],
)
def test_whatever_a_cluster_gives_as_reason_is_told(run: Run, errors: list[str], words: str) -> None:
    answer = wire.GetQueryResultResponse(
        query_result=wire.QueryResult(errors=[wire.Error(message=text) for text in errors]),
        compute_info=wire.ComputeQueryInfo(),
        query_status=FAILED,
    )
    scheduler = StandInScheduler(
        GetComputeVersions=versions(),
        SubmitQuery=lambda request, context: ANSWERED,
        GetQueryStatus=lambda request, context: wire.GetQueryStatusResponse(status=FAILED),
        GetQueryResult=lambda request, context: answer,
    )

    outcome = submit_to(run, scheduler)

    assert failure(outcome).startswith("QueryFailedError: ")
    assert words in failure(outcome)


def test_a_cluster_of_another_polars_is_refused_with_what_to_install(run: Run) -> None:
    called: list[None] = []
    for polars, install in (("1.44.2", "polars-cloud==0.11.3"), ("9.9.9", "the polars-cloud that pins polars==9.9.9")):
        scheduler = StandInScheduler(GetComputeVersions=versions(polars))
        with serving(scheduler) as port:
            address = f"http://127.0.0.1:{port}"
            outcome = run(lambda: called.append(None), compute=ClusterCompute(uri=address))
        assert failure(outcome) == (
            f"VersionMismatchError: The cluster at {address} runs Polars {polars}, this worker has Polars "
            f"{pl.__version__} (polars_cloud {pc.__version__}). Plans are read by the same version only. "
            f"Install {install} on the workers, or a cluster with Polars {pl.__version__}."
        )
        assert scheduler.calls == ["GetComputeVersions"]
    assert called == []


def test_versions_of_both_sides_are_in_the_log_before_the_query_is_submitted(
    run: Run, polars_dev_cluster: DevCluster, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        succeeded(run(FRAME))

    (line,) = (message for message in caplog.messages if message.startswith("Cluster "))
    assert line.startswith(f"Cluster {polars_dev_cluster.uri}: version development-cluster ")
    assert line.endswith(f"Polars {pl.__version__}. Here: polars_cloud {pc.__version__}, Polars {pl.__version__}")


def test_polars_with_32_bit_indices_is_refused_first_thing(polars_dev_cluster: DevCluster, tmp_path: Path) -> None:
    """The build with 32 bit indices, which is there beside the other one, is chosen by a variable."""
    assert importlib.util.find_spec("_polars_runtime_32") is not None

    ended = run_elsewhere(Path(sys.executable), polars_dev_cluster, tmp_path, POLARS_FORCE_PKG="32")

    assert list(ended.values()) == [
        f"ConfigurationError: Polars {pl.__version__} is the build with 32 bit indices (polars[rt32]), whose plans "
        "clusters cannot read. Install polars[rt64] on the workers."
    ]
    assert polars_dev_cluster.recorder.calls() == []
