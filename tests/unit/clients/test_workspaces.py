"""From what people call a workspace to its id: by id, by name, and the default one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_polars.clients.control_plane import ControlPlane
from airflow_provider_polars.clients.workspaces import Workspace, find_workspace
from airflow_provider_polars.exceptions import ControlPlaneUnavailableError, WorkspaceError
from tests.harness.identity import answer
from tests.unit.clients.api_stand_in import ApiStandIn, Call, Reply

ACME, OTHER = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
ETL, REPORTS, ETL_OF_OTHER, NEITHER = (f"00000000-0000-4000-9000-00000000000{number}" for number in range(4))
WORKSPACES = [
    {"id": ETL, "name": "ETL", "organization_id": ACME},
    {"id": REPORTS, "name": "Reports & more", "organization_id": ACME},
    {"id": ETL_OF_OTHER, "name": "etl", "organization_id": OTHER},
]
ORGANIZATIONS = [{"id": ACME, "name": "Acme"}, {"id": OTHER, "name": "Other"}]


@pytest.fixture(autouse=True)
def service(api: ApiStandIn, monkeypatch: pytest.MonkeyPatch) -> ApiStandIn:
    """Return a service with two organizations and three workspaces; the account's default is ETL."""
    monkeypatch.delenv("POLARS_CLOUD_DEFAULT_WORKSPACE_ID", raising=False)
    api.by_call["GET workspace"] = found_in(WORKSPACES, "name", "organization_id")
    api.by_call["GET organization"] = found_in(ORGANIZATIONS, "name")
    for row in WORKSPACES:
        api.replies[f"GET workspace/{row['id']}"] = [answer(200, row)]
    api.replies["GET user/me"] = [answer(200, {"id": "u", "default_workspace_id": ETL})]
    return api


def found_in(rows: list[dict[str, Any]], *by: str) -> Callable[[Call], Reply]:
    """Answer with the rows that contain what the query says, whatever the case of letters."""

    def find(call: Call) -> Reply:
        asked = {name: call.query[name].lower() for name in by if name in call.query}
        rows_found = [row for row in rows if all(text in str(row[name]).lower() for name, text in asked.items())]
        return answer(200, {"pagination": {}, "result": rows_found})

    return find


def refusal(plane: ControlPlane, *arguments: str | None) -> str:
    """Return the message of a search that finds none."""
    with pytest.raises(WorkspaceError) as caught:
        find_workspace(plane, *arguments)
    assert caught.value.permanent
    return str(caught.value)


def test_an_id_is_seen_to_exist_and_leads_to_its_organization(service: ApiStandIn, plane: ControlPlane) -> None:
    assert find_workspace(plane, ETL_OF_OTHER) == Workspace(ETL_OF_OTHER, OTHER)
    assert service.asked == [f"GET workspace/{ETL_OF_OTHER}"]
    assert Workspace(ETL, ACME).path == f"workspace/{ETL}"


@pytest.mark.parametrize("name", ["Reports & more", "reports & MORE"])
def test_a_name_is_found_whatever_the_case_of_its_letters(service: ApiStandIn, plane: ControlPlane, name: str) -> None:
    assert find_workspace(plane, name) == Workspace(REPORTS, ACME)
    assert [call.query["name"] for call in service.calls] == [name]


def test_a_name_that_begins_another_one_is_not_that_one(service: ApiStandIn, plane: ControlPlane) -> None:
    """The service answers with all that contain it."""
    assert "sees no workspace 'reports'; did you mean 'Reports & more'?" in refusal(plane, "reports")


def test_a_workspace_that_was_deleted_does_not_count(service: ApiStandIn, plane: ControlPlane) -> None:
    """Its name is free for another one."""
    deleted = {"id": NEITHER, "name": "Reports & more", "organization_id": ACME, "status": "Deleted"}
    rows = [deleted, *({**row, "status": "Active"} for row in WORKSPACES)]
    service.by_call["GET workspace"] = found_in(rows, "name", "organization_id")
    assert find_workspace(plane, "Reports & more") == Workspace(REPORTS, ACME)
    service.by_call["GET workspace"] = found_in([deleted], "name", "organization_id")
    assert "sees no workspace 'Reports & more'. It sees: none." in refusal(plane, "Reports & more")


# ---- the default one


def test_the_default_is_that_of_the_account(service: ApiStandIn, plane: ControlPlane) -> None:
    assert find_workspace(plane, None) == Workspace(ETL, ACME)
    assert service.asked == ["GET user/me", f"GET workspace/{ETL}"]


def test_the_default_of_the_environment_wins(
    service: ApiStandIn, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLARS_CLOUD_DEFAULT_WORKSPACE_ID", REPORTS)
    assert find_workspace(plane, None) == Workspace(REPORTS, ACME)
    assert service.asked == [f"GET workspace/{REPORTS}"]


@pytest.mark.parametrize("text", ["", "etl", "none"])
def test_a_default_of_the_environment_that_is_no_id_is_ignored_as_the_client_does(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("POLARS_CLOUD_DEFAULT_WORKSPACE_ID", text)
    assert find_workspace(plane, None) == Workspace(ETL, ACME)


@pytest.mark.parametrize("user", [{"id": "u"}, {"id": "u", "default_workspace_id": None}])
def test_an_account_without_a_default_is_told_what_to_give(
    service: ApiStandIn, plane: ControlPlane, user: dict[str, Any]
) -> None:
    service.replies["GET user/me"] = [answer(200, user)]
    assert refusal(plane, None) == (
        "The service account from Variables A and B has no default workspace. Give workspace= to the compute, or fill "
        "in Workspace in the connection."
    )


# ---- none, or none to use


def test_a_name_that_is_not_known_names_the_nearest_and_all(plane: ControlPlane) -> None:
    assert refusal(plane, "report") == (
        "The service account from Variables A and B sees no workspace 'report'; did you mean 'Reports & more'? It "
        "sees: ETL, Reports & more, etl."
    )


def test_an_account_that_sees_nothing_is_told_so(service: ApiStandIn, plane: ControlPlane) -> None:
    service.by_call["GET workspace"] = found_in([], "name")
    assert refusal(plane, "etl").endswith("sees no workspace 'etl'. It sees: none.")


@pytest.mark.parametrize(
    ("status", "what"), [(404, "is not known to"), (403, "may not be used by"), (400, "may not be used by")]
)
@pytest.mark.parametrize("source", ["given", "environment", "account"])
def test_a_workspace_that_cannot_be_used_is_told_with_where_its_id_stands(
    service: ApiStandIn, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, status: int, what: str, source: str
) -> None:
    service.replies[f"GET workspace/{NEITHER}"] = [answer(status, {"message": "not yours", "errors": {}})]
    service.replies["GET user/me"] = [answer(200, {"default_workspace_id": NEITHER})]
    if source == "environment":
        monkeypatch.setenv("POLARS_CLOUD_DEFAULT_WORKSPACE_ID", NEITHER)
    named = {
        "given": f"Workspace='{NEITHER}'",
        "environment": f"The environment variable POLARS_CLOUD_DEFAULT_WORKSPACE_ID ({NEITHER})",
        "account": f"The default workspace of the service account from Variables A and B ({NEITHER})",
    }[source]
    assert refusal(plane, NEITHER if source == "given" else None) == (
        f"{named} {what} the service account from Variables A and B: Polars Cloud answers {status}, not yours. Name a "
        "workspace of this account, or take an account of that workspace."
    )


def test_a_service_that_does_not_answer_says_nothing_about_the_workspace(
    service: ApiStandIn, plane: ControlPlane
) -> None:
    del service.by_call["GET workspace"]
    service.reply("workspace", answer(503, ""))
    with pytest.raises(ControlPlaneUnavailableError):
        find_workspace(plane, "etl")


# ---- several of one name


def test_a_name_of_several_is_told_with_their_ids(plane: ControlPlane) -> None:
    assert refusal(plane, "etl") == (
        f"There are 2 workspaces 'etl', of different organizations: {ETL}, {ETL_OF_OTHER}. Give organization= too, or "
        "the id as workspace=."
    )


@pytest.mark.parametrize("organization", [OTHER, "Other", "oTHER"])
def test_the_organization_decides(service: ApiStandIn, plane: ControlPlane, organization: str) -> None:
    assert find_workspace(plane, "ETL", organization) == Workspace(ETL_OF_OTHER, OTHER)
    assert service.calls[-1].query["organization_id"] == OTHER


def test_a_name_that_is_not_in_the_organization_is_told_with_those_that_are(plane: ControlPlane) -> None:
    assert refusal(plane, "reports & more", "Other").endswith("sees no workspace 'reports & more'. It sees: etl.")


@pytest.mark.parametrize(("organizations", "number"), [(ORGANIZATIONS, 0), ([{"id": "x", "name": "Nobody"}] * 2, 2)])
def test_an_organization_that_is_not_one_is_told(
    service: ApiStandIn, plane: ControlPlane, organizations: list[dict[str, Any]], number: int
) -> None:
    service.by_call["GET organization"] = found_in(organizations, "name")
    assert refusal(plane, "etl", "nobody") == (
        f"The service account from Variables A and B sees {number} organizations 'nobody'. Correct organization=, or "
        "give its id."
    )
