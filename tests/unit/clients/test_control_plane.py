"""Our client of Polars Cloud's REST interface: what it sends, to where, as whom, and how often."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from airflow_provider_polars.clients import control_plane
from airflow_provider_polars.clients.control_plane import ControlPlane, api_address
from airflow_provider_polars.exceptions import ConfigurationError, CredentialsError, CredentialsUnavailableError
from tests.harness.identity import IdentityStandIn, answer
from tests.unit.clients.api_stand_in import ApiStandIn, Call, Reply
from tests.unit.clients.calls import ACCOUNT, ASKS, BOUND, PATH, Ask, each_method, error_of, numbered_tokens


def test_a_call_shows_the_token_and_passes_for_the_client(api: ApiStandIn, plane: ControlPlane) -> None:
    api.reply(PATH, answer(200, {"id": "i"}))
    assert plane.get(PATH) == {"id": "i"}
    (call,) = api.calls
    assert call.headers["authorization"] == plane.token().header
    assert call.headers["x-client-version"] == "0.12.0"
    assert call.headers["x-polars-version"] == "2.0.0"
    assert call.headers["user-agent"] == "polars-cloud/0.12.0"


def test_parameters_arrive_as_they_were_given(api: ApiStandIn, plane: ControlPlane) -> None:
    parameters = {"name": "R&D = 100 % größe", "status": "Starting,Idle"}
    api.reply(PATH, answer(200, []))
    plane.get(PATH, parameters)
    plane.delete(PATH, parameters)
    assert [call.query for call in api.calls] == [parameters, parameters]


def test_a_body_is_json_and_no_body_is_none(api: ApiStandIn, plane: ControlPlane) -> None:
    api.reply(PATH, answer(200, {"id": "i"}))
    assert plane.post(PATH, {"name": "größe", "storage": None}) == {"id": "i"}
    plane.post(PATH)
    with_body, without = api.calls
    assert json.loads(with_body.body) == {"name": "größe", "storage": None}
    assert with_body.headers["content-type"] == "application/json"
    assert without.body == b""


@pytest.mark.parametrize("reply", [answer(204, ""), answer(200, "")])
@each_method
def test_an_answer_without_a_body_is_none(api: ApiStandIn, plane: ControlPlane, ask: Ask, reply: Reply) -> None:
    api.reply(PATH, reply)
    assert ask(plane) is None


def test_the_same_is_told_to_calls_over_grpc(plane: ControlPlane, tokens: IdentityStandIn) -> None:
    token = plane.token()
    assert dict(plane.metadata(token)) == {
        "x-client-version": "0.12.0",
        "x-polars-version": "2.0.0",
        "authorization": f"Bearer {token.text}",
    }


# ---- pages


def test_all_rows_of_all_pages_are_returned(api: ApiStandIn, plane: ControlPlane) -> None:
    api.by_call[f"GET {PATH}"] = _paged(2005)
    assert plane.pages(PATH, status="Idle") == list(range(2005))
    assert [call.query for call in api.calls] == [
        {"page": page, "limit": "1000", "offset": "0", "status": "Idle"} for page in ("1", "2", "3")
    ]


@pytest.mark.parametrize(("rows", "calls"), [(0, 1), (1, 1), (999, 1), (1000, 2), (1001, 2)])
def test_no_page_is_asked_for_in_vain_but_after_a_full_one(
    api: ApiStandIn, plane: ControlPlane, rows: int, calls: int
) -> None:
    api.by_call[f"GET {PATH}"] = _paged(rows)
    assert len(plane.pages(PATH)) == rows
    assert len(api.calls) == calls


def test_a_service_whose_pages_do_not_end_is_left(
    api: ApiStandIn, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that does not know the number of the page."""
    monkeypatch.setattr(control_plane, "PAGE_ROWS", 2)
    api.reply(PATH, answer(200, {"result": ["a", "b"]}))
    assert plane.pages(PATH) == ["a", "b"] * control_plane.MOST_PAGES
    assert [call.query["page"] for call in api.calls] == [str(page + 1) for page in range(control_plane.MOST_PAGES)]


def _paged(rows: int) -> Callable[[Call], Reply]:
    def page(call: Call) -> Reply:
        limit = int(call.query["limit"])
        begin = (int(call.query["page"]) - 1) * limit
        return answer(200, {"pagination": {}, "result": list(range(rows))[begin : begin + limit]})

    return page


# ---- tokens


def test_one_token_serves_all_calls_and_is_told_to_be_masked(
    api: ApiStandIn, tokens: IdentityStandIn, plane: ControlPlane, masked: list[str]
) -> None:
    given = numbered_tokens(tokens)
    api.reply(PATH, answer(200, {}))
    for ask in ASKS:
        ask(plane)
    assert len(given) == 1
    assert api.tokens == given * 3
    assert masked == given


def test_threads_that_begin_together_fetch_one_token(
    api: ApiStandIn, tokens: IdentityStandIn, plane: ControlPlane
) -> None:
    given = numbered_tokens(tokens)
    api.reply(PATH, answer(200, {}))
    begin = threading.Barrier(4)

    def ask() -> None:
        begin.wait(BOUND)
        plane.get(PATH)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert api.tokens == given * 4
    assert len(given) == 1


@pytest.mark.parametrize(("seconds", "fetched"), [(5.0, 2), (9.0, 2), (60.0, 1)])
def test_a_token_near_its_end_is_renewed_before_it_is_used(
    api: ApiStandIn, tokens: IdentityStandIn, plane: ControlPlane, masked: list[str], seconds: float, fetched: int
) -> None:
    given = numbered_tokens(tokens, seconds)
    api.reply(PATH, answer(200, {}))
    plane.get(PATH)
    plane.get(PATH)
    assert api.tokens == [given[0], given[-1]]
    assert len(given) == fetched
    assert masked == given


@each_method
def test_a_token_that_is_refused_is_renewed_once(
    api: ApiStandIn, tokens: IdentityStandIn, plane: ControlPlane, masked: list[str], ask: Ask
) -> None:
    given = numbered_tokens(tokens)
    api.reply(PATH, answer(401, {"message": "token expired"}), answer(200, {}))
    ask(plane)
    ask(plane)
    assert api.tokens == [given[0], given[1], given[1]]
    assert masked == given


@each_method
def test_a_new_token_that_is_refused_too_ends_the_task(
    api: ApiStandIn, tokens: IdentityStandIn, plane: ControlPlane, masked: list[str], ask: Ask
) -> None:
    given = numbered_tokens(tokens)
    api.reply(PATH, answer(401, {"message": "no such account"}))
    error = error_of(plane, ask, masked)
    assert isinstance(error, CredentialsError)
    assert error.permanent
    assert str(error) == (
        "Polars Cloud refuses a token that it has just given to the service account from Variables A and B: no such "
        "account. See whether the account still exists."
    )
    assert api.tokens == given
    assert len(given) == 2


def test_an_account_that_is_refused_asks_nothing(api: ApiStandIn, tokens: IdentityStandIn, plane: ControlPlane) -> None:
    tokens.instead = answer(401, {"error": "invalid_grant"})
    with pytest.raises(CredentialsError, match="refuses the service account from Variables A and B"):
        plane.get(PATH)
    tokens.instead = answer(503, "")
    with pytest.raises(CredentialsUnavailableError):
        plane.get(PATH)
    assert api.calls == []


def test_another_client_has_connections_of_its_own_and_the_same_token(
    api: ApiStandIn, tokens: IdentityStandIn, plane: ControlPlane
) -> None:
    api.reply(PATH, answer(200, {}))
    plane.get(PATH)
    other = plane.another()
    plane.close()
    other.get(PATH)
    other.close()
    assert len(set(api.tokens)) == len(tokens.asked) == 1
    assert [call.headers["x-client-version"] for call in api.calls] == ["0.12.0", "0.12.0"]


def test_closing_what_was_never_used_is_fine(plane: ControlPlane) -> None:
    plane.close()


# ---- the address


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "https://api.prd.cloud.pola.rs"),
        ({"POLARS_CLOUD_DOMAIN": ""}, "https://api.prd.cloud.pola.rs"),
        ({"POLARS_CLOUD_DOMAIN": "polars.example"}, "https://api.polars.example"),
        ({"POLARS_CLOUD_API_DOMAIN_PREFIX": "rest"}, "https://rest.prd.cloud.pola.rs"),
        (
            {"POLARS_CLOUD_DOMAIN": "polars.example", "POLARS_CLOUD_API_DOMAIN_PREFIX": "rest"},
            "https://rest.polars.example",
        ),
        (
            {"POLARS_CLOUD_API_ADDR": "http://127.0.0.1:5061/", "POLARS_CLOUD_DOMAIN": "x"},
            "http://127.0.0.1:5061",
        ),
        ({"POLARS_CLOUD_API_ADDR": "https://polars.example"}, "https://polars.example"),
    ],
)
def test_the_address_is_that_of_the_client(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str
) -> None:
    for name in ("POLARS_CLOUD_API_ADDR", "POLARS_CLOUD_DOMAIN", "POLARS_CLOUD_API_DOMAIN_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert api_address() == address


@pytest.mark.parametrize("address", ["", "127.0.0.1:5061", "grpc://127.0.0.1", "http://a b", " http://a"])
def test_an_address_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("POLARS_CLOUD_API_ADDR", address)
    with pytest.raises(ConfigurationError) as caught:
        ControlPlane(ACCOUNT, client_version="0.12.0", polars_version="2.0.0", mask=lambda text: None)
    assert str(caught.value) == (
        f"The environment variable POLARS_CLOUD_API_ADDR is {address!r}, which is no address such as "
        "https://api.prd.cloud.pola.rs."
    )
