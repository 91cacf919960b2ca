"""``airflow polars check-connection``: what a person is told of a connection, and the status that scripts look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.commands.conftest import TOKEN, Commands

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane, DevCluster


def test_a_cluster_that_answers_is_good_and_its_versions_are_told(
    on_cluster: Commands, polars_dev_cluster: DevCluster
) -> None:
    (row,) = on_cluster.rows("check-connection", "cluster", "--verbose")

    assert (row["conn_id"], row["status"]) == ("cluster", "good")
    assert row["message"].startswith(f"{polars_dev_cluster.uri} answers: cluster ")
    assert f"Polars {polars_dev_cluster.polars}." in row["message"]
    assert TOKEN not in on_cluster.output


def test_a_service_account_that_is_accepted_is_good(on_cloud: Commands, polars_control_plane: ControlPlane) -> None:
    (row,) = on_cloud.rows("check-connection", "cloud", "--verbose")

    assert row["message"].startswith("Polars Cloud accepts the service account from the connection")
    assert polars_control_plane.account.secret not in on_cloud.output


def test_a_service_account_that_is_refused_ends_with_status_1_and_the_reason(
    on_cloud: Commands, polars_control_plane: ControlPlane
) -> None:
    on_cloud.connections["cloud"]["password"] = TOKEN

    message = on_cloud.refused("check-connection", "cloud")

    assert message.startswith("The connection 'cloud' is of no use here: ")
    assert "Polars Cloud" in message
    assert TOKEN not in on_cloud.output


@pytest.mark.parametrize(
    ("conn_type", "message"),
    [
        (None, "CONN_ID='other' names no connection. Create it, or correct the id."),
        (
            "postgres",
            "The connection 'other' is of type 'postgres'. Name one of type polars, polars_cluster, polars_cloud, "
            "http, https.",
        ),
        (
            "polars_cluster",
            "The connection 'other' is of no use here: There is no address of a cluster. Give it to the compute, "
            "ClusterCompute(uri='http://host:5051'), or as the host of a connection of type polars_cluster that "
            "conn_id= names.",
        ),
    ],
)
def test_a_connection_that_cannot_be_used_ends_with_status_1(
    commands: Commands, conn_type: str | None, message: str
) -> None:
    if conn_type is not None:
        commands.connections["other"] = {"conn_type": conn_type}
    assert commands.refused("check-connection", "other") == message
