"""Clients of another environment, with another Polars: workers of its interpreter serve them.

``make test-clients`` makes such an environment, with the oldest client that is supported, and runs these tests.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.testing import DevCluster
from airflow_provider_polars.testing.environment import set_environment

pytestmark = pytest.mark.other_client

SCRIPT = Path(__file__).with_name("other_client.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the client of that interpreter writes to."""
    return tmp_path_factory.mktemp("other-client")


@pytest.fixture(scope="module")
def seen(other_python: Path, other_cluster: DevCluster, folder: Path) -> dict[str, Any]:
    """Return what the client of that interpreter sees of that cluster."""
    return _run_client(other_python, other_cluster, folder)


def _run_client(python: Path, cluster: DevCluster, folder: Path) -> dict[str, Any]:
    ports = [uri.rpartition(":")[2] for uri in (cluster.uri, cluster.observatory)]
    client = subprocess.run(
        [python, SCRIPT, *ports, folder],
        env=cluster.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert client.returncode == 0, client.stderr
    seen: dict[str, Any] = json.loads(client.stdout)
    return seen


def test_the_cluster_has_the_polars_of_its_interpreter(seen: dict[str, Any], other_cluster: DevCluster) -> None:
    assert seen["polars"] != pl.__version__
    assert seen["cluster has"] == other_cluster.polars == seen["polars"]


def test_its_client_writes_with_every_sink(seen: dict[str, Any], folder: Path) -> None:
    assert [seen[sink] for sink in ("parquet", "csv", "distributed ipc")] == ["SUCCESS"] * 3
    assert pl.read_parquet(folder / "a.parquet")["a"].to_list() == [1, 2, 3]
    assert (folder / "a.csv").read_text().split() == ["a", "1", "2", "3"]
    assert pl.read_ipc(folder / "parts" / "*.arrow")["a"].to_list() == [1, 2, 3]


def test_its_client_reads_results(seen: dict[str, Any]) -> None:
    assert seen["head"] == [[6]]
    assert seen["scanned"] == [[1], [2], [3]]


def test_its_clients_functions_run_on_the_workers(seen: dict[str, Any]) -> None:
    assert seen["function"] == [[11], [12], [13]]


def test_its_client_gets_errors_as_their_classes(seen: dict[str, Any]) -> None:
    assert seen["column that is missing"].startswith('ColumnNotFoundError: unable to find column "b"')
    assert seen["failing function"].startswith("ZeroDivisionError: integer division or modulo by zero")


def test_its_client_follows_a_query(seen: dict[str, Any], other_cluster: DevCluster) -> None:
    followed = seen["followed"]

    assert (followed["status"], followed["status in details"]) == ("SUCCESS", "Success")
    assert "Parquet SCAN" in followed["plan"]
    calls = {call["call"] for call in other_cluster.recorder.calls() if call.get("query_id") == followed["id"]}
    assert calls == {
        *("SubmitQuery", "GetQueryStatus", "GetQueryResult", "GetQueryPlans", "CancelQuery"),
        "GET query",
    }


def test_the_client_of_this_environment_is_told_which_side_has_which_polars(
    other_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(other_cluster.environment, monkeypatch)
    there = other_cluster.polars

    with pytest.raises(pl.exceptions.ComputeError) as refusal:
        pl.LazyFrame({"a": [1]}).remote(other_cluster.context()).single_node().execute()

    assert str(refusal.value) == _mismatch(client=pl.__version__, cluster=there)


def test_its_client_is_told_the_same_by_the_cluster_of_this_environment(
    polars_dev_cluster: DevCluster, other_python: Path, seen: dict[str, Any], tmp_path: Path
) -> None:
    mismatched = _run_client(other_python, polars_dev_cluster, tmp_path)

    assert mismatched["cluster has"] == pl.__version__
    error = f"ComputeError: {_mismatch(client=seen['polars'], cluster=pl.__version__)}"
    assert {said for name, said in mismatched.items() if name not in ("polars", "cluster has")} == {error}
    assert all(call["refused"] == error for call in polars_dev_cluster.recorder.submissions)


def _mismatch(client: str, cluster: str) -> str:
    return (
        f"the client has Polars {client} and this cluster has Polars {cluster}: plans are not portable between them. "
        f"Install polars=={cluster} beside the client, or start the cluster with --python and an interpreter that has "
        "the client's Polars."
    )
