"""Every error: its stable path, whether a retry can mend it, and an input that raises it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import task

from airflow_provider_polars import (
    ClusterCompute,
    Compute,
    LocalCompute,
    NdjsonSink,
    ParquetSink,
    PolarsRemoteOperator,
    ResultRef,
    exceptions,
    polars_task,
)
from airflow_provider_polars.exceptions import PolarsProviderError, nearest
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.operators.base import FailFastOperator
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from tests.unit import compute_errors
from tests.wire.peers import StandInScheduler, peer, refusing_port, serving

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

PERMANENT = {
    "PolarsProviderError": False,
    "ConfigurationError": True,
    "UnknownArgumentError": True,
    "UnknownKindError": True,
    "RefusedOptionError": True,
    "UnsupportedSinkError": True,
    "TemplateRenderError": True,
    "CredentialsError": True,
    "CredentialsUnavailableError": False,
    "ClusterUnreachableError": False,
    "ClusterAccessError": True,
    "WorkspaceError": True,
    "ControlPlaneUnavailableError": False,
    "ControlPlaneRefusedError": True,
    "QuotaExceededError": False,
    "ComputeNameTakenError": True,
    "ComputeStartError": False,
    "ComputeLostError": False,
    "ComputeStopError": False,
    "VersionMismatchError": True,
    "QueryDefinitionError": True,
    "SchemaError": True,
    "PlanError": True,
    "InvalidResultError": True,
    "ResultNotFoundError": False,
    "QueryFailedError": False,
    "QueryTimeoutError": False,
    "QueryCancelledError": False,
    "SinkWriteError": False,
    "MemoryLimitError": True,
    "GpuUnavailableError": True,
    "RunnerError": False,
}
CLASSES = [item for _, item in inspect.getmembers(exceptions, inspect.isclass) if issubclass(item, PolarsProviderError)]
classes = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def numbers() -> Any:
    """Return numbers."""
    import polars as pl

    return pl.select(n=pl.int_range(1000)).lazy()


def failing_numbers() -> Any:
    """Return numbers that fail while they are computed."""
    import polars as pl

    def fail(_: Any) -> Any:
        raise ValueError("broken on purpose")

    return pl.select(n=pl.int_range(3)).lazy().map_batches(fail)


class Blocked:
    """A query that runs until the test is over."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.running = threading.Event()

    def __call__(self) -> Any:
        """Return the query."""

        def wait(frame: Any) -> Any:
            self.running.set()
            self.released.wait(60)
            return frame

        return numbers().map_batches(wait)


@pytest.fixture
def blocked() -> Any:
    """Return a query that does not end before the test does."""
    query = Blocked()
    yield query
    query.released.set()


# ---- the hierarchy


def test_the_names_are_the_ones_that_users_may_have_written_down() -> None:
    assert {kind.__name__ for kind in CLASSES} == set(PERMANENT)


@classes
def test_a_class_has_a_stable_path_the_one_base_and_an_explanation(kind: type[PolarsProviderError]) -> None:
    assert f"{kind.__module__}.{kind.__qualname__}" == f"airflow_provider_polars.exceptions.{kind.__name__}"
    assert issubclass(kind, PolarsProviderError)
    assert kind.__doc__


@classes
def test_a_class_is_permanent_or_transient_as_documented(kind: type[PolarsProviderError]) -> None:
    assert kind.permanent is PERMANENT[kind.__name__]


@classes
def test_an_error_survives_being_sent_to_another_process(kind: type[PolarsProviderError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what was wrong")))
    assert type(error) is kind
    assert str(error) == "what was wrong"


@classes
def test_a_permanent_error_ends_the_task_and_a_transient_one_is_retried(
    kind: type[PolarsProviderError], in_memory_airflow: InMemoryAirflow
) -> None:
    class Raises(FailFastOperator):
        """Raises the error."""

        def perform(self, context: Any) -> None:
            raise kind("what was wrong")

    outcome = in_memory_airflow.run_task(Raises(task_id="t", retries=1), max_tries=1)
    assert outcome.state == ("failed" if kind.permanent else "up_for_retry")
    assert isinstance(outcome.error, kind)
    assert (
        f"{type(outcome.error).__module__}.{type(outcome.error).__qualname__}" == f"{kind.__module__}.{kind.__name__}"
    )
    assert str(outcome.error) == "what was wrong"


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [
        ("comput", ["compute", "sink"], "; did you mean 'compute'?"),
        ("xyz", ["compute", "sink"], "."),
        ("xyz", [], "."),
        (3, ["compute"], "."),
    ],
)
def test_the_nearest_known_word_is_suggested_if_one_is_near(word: Any, known: list[str], end: str) -> None:
    assert nearest(word, known) == end


# ---- an input for each class

Raise = Callable[..., Any]


def run(airflow: InMemoryAirflow, **arguments: Any) -> None:
    """Run one task and raise its error."""
    run_options = {name: arguments.pop(name) for name in ("logical_date",) if name in arguments}
    outcome = airflow.run_task(PolarsRemoteOperator(task_id="t", **{"query": numbers, **arguments}), **run_options)
    if outcome.error is not None:
        raise outcome.error


def configuration_error(**_: Any) -> None:
    LocalCompute(threads=0)


def unknown_argument_error(**_: Any) -> None:
    polars_task(snik=1)


def unknown_kind_error(**_: Any) -> None:
    Compute.from_dict({"kind": "locl"})


def refused_option_error(airflow: InMemoryAirflow, **_: Any) -> None:
    run(airflow, priority="{{ 1 }}")


def unsupported_sink_error(**_: Any) -> None:
    NdjsonSink("s3://lake/x").check_compute("cloud")


def template_render_error(airflow: InMemoryAirflow, **_: Any) -> None:
    run(airflow, sink=ParquetSink("/lake/{{ ds }}/"), logical_date=None)


def check_account(airflow: InMemoryAirflow) -> None:
    """Look for a service account of Polars Cloud in a task, and check it."""

    @task
    def check() -> Any:
        return PolarsCloudHook(client_id_variable="id", client_secret_variable="secret").check_credentials()

    outcome = airflow.run_task(check())
    if outcome.error is not None:
        raise outcome.error


def credentials_error(airflow: InMemoryAirflow, **_: Any) -> None:
    airflow.variables["id"] = "some-client"
    check_account(airflow)


def credentials_unavailable_error(airflow: InMemoryAirflow, **_: Any) -> None:
    airflow.variables |= {"id": "some-client", "secret": "some-secret"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLARS_CLOUD_DOMAIN", "x@127.0.0.1:1")
        check_account(airflow)


@contextlib.contextmanager
def scheduler(polars: str) -> Iterator[ClusterCompute]:
    """Run a stand-in of a cluster that says which Polars it has, and knows nothing else."""
    versions = wire.ComputeVersions(compute_plane_version="0.0", polars_python_version=polars)
    told = wire.GetComputeVersionsResponse(versions=versions)
    with serving(StandInScheduler(GetComputeVersions=lambda request, context: told)) as port:
        yield ClusterCompute(uri=f"http://127.0.0.1:{port}", max_plan_mb=0.001)


def cluster_unreachable_error(airflow: InMemoryAirflow, **_: Any) -> None:
    with refusing_port() as port:
        run(airflow, compute=ClusterCompute(uri=f"http://127.0.0.1:{port}"))


def cluster_access_error(airflow: InMemoryAirflow, **_: Any) -> None:
    with peer(b"HTTP/1.1 400 Bad Request\r\n\r\n", hangs_up=True) as (host, port):
        run(airflow, compute=ClusterCompute(uri=f"http://{host}:{port}"))


def version_mismatch_error(airflow: InMemoryAirflow, **_: Any) -> None:
    with scheduler(polars="1.0.0") as compute:
        run(airflow, compute=compute)


def plan_error(airflow: InMemoryAirflow, **_: Any) -> None:
    with scheduler(polars=importlib.metadata.version("polars")) as compute:
        run(airflow, compute=compute)


def query_definition_error(airflow: InMemoryAirflow, **_: Any) -> None:
    run(airflow, query=lambda: 3)


def schema_error(airflow: InMemoryAirflow, **_: Any) -> None:
    run(airflow, query=lambda: numbers().select("absent"))


def invalid_result_error(**_: Any) -> None:
    ResultRef.parse({"polars_result": 1, "locations": ["/etc/passwd"], "format": "pickle"})


def result_not_found_error(airflow: InMemoryAirflow, folder: Path, **_: Any) -> None:
    run(airflow, query=None, sql="SELECT * FROM t", tables={"t": str(folder / "gone.parquet")})


def query_failed_error(airflow: InMemoryAirflow, **_: Any) -> None:
    run(airflow, query=failing_numbers)


def query_timeout_error(airflow: InMemoryAirflow, blocked: Blocked, **_: Any) -> None:
    run(airflow, query=blocked, timeout=0.05)


def query_cancelled_error(airflow: InMemoryAirflow, blocked: Blocked, **_: Any) -> None:
    def kill() -> None:
        if blocked.running.wait(60):
            os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        run(airflow, query=blocked)
    finally:
        killer.join()


def sink_write_error(airflow: InMemoryAirflow, folder: Path, **_: Any) -> None:
    (folder / "file").touch()
    run(airflow, sink=ParquetSink(str(folder / "file" / "x.parquet")))


def memory_limit_error(airflow: InMemoryAirflow, **_: Any) -> None:
    run(airflow, query=f"{__name__}:numbers", compute=LocalCompute(memory_limit_gb=0.001))


def gpu_unavailable_error(airflow: InMemoryAirflow, **_: Any) -> None:
    run(airflow, query=f"{__name__}:numbers", engine="gpu")


def runner_error(airflow: InMemoryAirflow, folder: Path, **_: Any) -> None:
    interpreter = folder / "python"
    interpreter.write_text("#!/bin/sh\nexit 3\n")
    interpreter.chmod(0o755)
    run(airflow, query=f"{__name__}:numbers", compute=LocalCompute(python=str(interpreter)))


RAISED_BY: dict[type[PolarsProviderError], tuple[Raise, str]] = {
    exceptions.ConfigurationError: (configuration_error, "LocalCompute(threads=) must be above zero, got 0."),
    exceptions.UnknownArgumentError: (
        unknown_argument_error,
        "polars_task has no argument 'snik'; did you mean 'sink'?",
    ),
    exceptions.UnknownKindError: (unknown_kind_error, "no compute of kind 'locl'; did you mean 'local'? Known kinds: "),
    exceptions.RefusedOptionError: (refused_option_error, "priority=1 is an option that LocalCompute cannot honour"),
    exceptions.UnsupportedSinkError: (
        unsupported_sink_error,
        "by 'cloud' compute; it can by: dask, local. Use ParquetSink",
    ),
    exceptions.TemplateRenderError: (template_render_error, "This run has no logical date"),
    exceptions.CredentialsError: (credentials_error, "Variable id is given, Variable secret is not. Give both."),
    exceptions.CredentialsUnavailableError: (
        credentials_unavailable_error,
        "the identity service 127.0.0.1:1 gave no answer (ConnectError",
    ),
    exceptions.ClusterUnreachableError: (cluster_unreachable_error, "Nothing listens at http://127.0.0.1:"),
    exceptions.ClusterAccessError: (cluster_access_error, "is a web server (HTTP/1), not the scheduler"),
    exceptions.VersionMismatchError: (version_mismatch_error, "runs Polars 1.0.0, this worker has Polars"),
    exceptions.PlanError: (plan_error, "more than max_plan_mb=0.001 of its compute"),
    exceptions.QueryDefinitionError: (query_definition_error, "must return a LazyFrame, got int"),
    exceptions.SchemaError: (schema_error, "absent"),
    exceptions.InvalidResultError: (invalid_result_error, "format 'pickle'"),
    exceptions.ResultNotFoundError: (result_not_found_error, "gone.parquet' does not exist on this worker"),
    exceptions.QueryFailedError: (query_failed_error, "broken on purpose"),
    exceptions.QueryTimeoutError: (query_timeout_error, "did not end within timeout=0.05 seconds and was cancelled"),
    exceptions.QueryCancelledError: (query_cancelled_error, "The task was killed"),
    exceptions.SinkWriteError: (sink_write_error, "Cannot write"),
    exceptions.MemoryLimitError: (memory_limit_error, "memory_limit_gb=0.001. Raise the limit"),
    exceptions.GpuUnavailableError: (gpu_unavailable_error, "Nothing was run on the CPU instead"),
    exceptions.RunnerError: (runner_error, "ended with exit code 3 without an answer"),
    **compute_errors.RAISED_BY,
}


def test_every_class_has_an_input_that_raises_it() -> None:
    assert set(RAISED_BY) == set(CLASSES) - {PolarsProviderError}


@pytest.mark.parametrize("kind", RAISED_BY, ids=lambda kind: kind.__name__)
def test_it_is_raised_by_name_and_says_what_was_wrong(
    kind: type[PolarsProviderError],
    in_memory_airflow: InMemoryAirflow,
    results_path: Path,
    tmp_path: Path,
    blocked: Blocked,
) -> None:
    provoke, message = RAISED_BY[kind]
    with pytest.raises(kind) as caught:
        provoke(airflow=in_memory_airflow, folder=tmp_path, blocked=blocked)
    assert caught.type.__name__ == kind.__name__
    assert message in str(caught.value)
