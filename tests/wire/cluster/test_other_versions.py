"""Another Polars on either side: a mismatch is found before anything is submitted; the oldest pair works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import polars_cloud as pc
import pytest
from polars.testing import assert_frame_equal

from airflow_provider_polars import ClusterCompute
from airflow_provider_polars.testing.environment import set_environment
from tests.unit.outcomes import failure
from tests.wire.cluster.elsewhere import run_elsewhere

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.cluster.conftest import Run

pytestmark = pytest.mark.other_client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the tasks of the other environment write to."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def ended(other_python: Path, other_cluster: DevCluster, folder: Path) -> dict[str, Any]:
    """Return how tasks of the other environment ended on a cluster of it."""
    return run_elsewhere(other_python, other_cluster, folder)


def test_a_task_here_is_told_what_the_cluster_has_and_what_to_install(
    run: Run, other_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(other_cluster.environment, monkeypatch)
    other_cluster.recorder.forget()
    called: list[None] = []

    outcome = run(lambda: called.append(None), compute=ClusterCompute(uri=other_cluster.uri))

    assert failure(outcome) == (
        f"VersionMismatchError: The cluster at {other_cluster.uri} runs Polars {other_cluster.polars}, this worker "
        f"has Polars {pl.__version__} (polars_cloud {pc.__version__}). Plans are read by the same version only. "
        f"Install polars-cloud==0.6.0 on the workers, or a cluster with Polars {pl.__version__}."
    )
    assert called == []
    assert [call["call"] for call in other_cluster.recorder.calls()] == ["GetComputeVersions"]


def test_a_task_of_the_oldest_client_is_told_the_same_by_a_cluster_of_today(
    polars_dev_cluster: DevCluster, other_python: Path, other_cluster: DevCluster, tmp_path: Path
) -> None:
    ended = run_elsewhere(other_python, polars_dev_cluster, tmp_path)

    assert list(ended.values()) == [
        f"VersionMismatchError: The cluster at {polars_dev_cluster.uri} runs Polars {pl.__version__}, this worker has "
        f"Polars {other_cluster.polars} (polars_cloud 0.6.0). Plans are read by the same version only. Install "
        f"polars-cloud=={pc.__version__} on the workers, or a cluster with Polars {other_cluster.polars}."
    ]
    assert polars_dev_cluster.recorder.submissions == []


def test_the_oldest_client_runs_queries_on_a_cluster_of_its_polars(ended: dict[str, Any]) -> None:
    assert (ended["kept rows"]["rows"], ended["kept rows"]["head"]) == (3, [{"a": 1}])
    assert ended["read"]["head"] == [{"a": 6}]
    assert (ended["scan of a file"]["rows"], ended["scan of a file"]["head"]) == (3, [{"a": 1}])
    assert ended["function"]["head"] == [{"a": 11}]
    assert ended["setting"]["rows"] == ended["user name"]["rows"] == 3


def test_its_sinks_write(ended: dict[str, Any], folder: Path) -> None:
    expected = pl.DataFrame({"a": [1, 2, 3]})
    assert_frame_equal(pl.read_parquet(ended["parquet file"]["locations"]), expected)
    assert_frame_equal(pl.read_csv(ended["csv file"]["locations"][0], separator=";"), expected)
    assert ended["partitions"]["files"] == 3
    first, second = (ended[f"ipc directory {number}"]["locations"] for number in (1, 2))
    assert {str(file) for file in (folder / "parts").iterdir()} == {*first, *second}
    assert_frame_equal(pl.read_ipc(second[0]), expected)


def test_its_errors_are_ours(ended: dict[str, Any]) -> None:
    assert ended["missing column"].startswith("SchemaError: ")
    assert ended["failing function"].startswith("QueryFailedError: ")
    assert "ZeroDivisionError" in ended["failing function"]
    assert ended["object column"].startswith("PlanError: ")
    assert "did you mean 'shuffle_compression'?" in ended["unknown setting"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("gpu", 'RefusedOptionError: engine="gpu" is refused by polars_cloud 0.6.0'),
        ("priority", "VersionMismatchError: priority= needs polars-cloud 0.12.0 or newer, this worker has 0.6.0."),
        ("labels", "VersionMismatchError: labels= on a cluster of your own needs polars-cloud 0.11.0 or newer"),
        ("headers", "VersionMismatchError: a token or headers needs polars-cloud 0.9.0 or newer"),
        ("token", "VersionMismatchError: a token or headers needs polars-cloud 0.9.0 or newer"),
        ("workers", "RefusedOptionError: distributed= has 'min_workers', which polars_cloud 0.6.0 does not know"),
        ("iceberg", "VersionMismatchError: IcebergSink on a cluster needs polars-cloud 0.9.0 or newer"),
    ],
)
def test_what_the_oldest_client_lacks_is_refused_by_name(ended: dict[str, Any], asked: str, words: str) -> None:
    assert ended[asked].startswith(words)


def test_the_oldest_client_is_not_used_where_it_would_send_a_plan_in_clear(
    start_cluster: Callable[..., DevCluster], other_python: Path, tmp_path: Path
) -> None:
    """It speaks without TLS to 127.0.0.1 and localhost, whatever it is told."""
    cluster = start_cluster("--tls", "--python", str(other_python))

    assert list(run_elsewhere(other_python, cluster, tmp_path).values()) == [
        "VersionMismatchError: TLS to 127.0.0.1 needs polars-cloud 0.9.0 or newer, this worker has 0.6.0. Remove it, "
        "or upgrade the client together with the cluster."
    ]
    # Versions are asked for meanwhile; the refusal may come before the cluster has heard it.
    assert {call["call"] for call in cluster.recorder.calls()} <= {"GetComputeVersions"}


def test_nothing_that_was_refused_was_submitted(ended: dict[str, Any], other_cluster: DevCluster) -> None:
    submitted = [call for call in other_cluster.recorder.calls("SubmitQuery") if "refused" not in call]
    written = [name for name, how in ended.items() if isinstance(how, dict)]

    assert len(submitted) == len([*written, "failing function"])
