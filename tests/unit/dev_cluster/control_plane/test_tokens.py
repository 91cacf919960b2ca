"""Access tokens of a control plane."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars.dev_cluster.control_plane.tokens import TokenRefusedError, Tokens


def encoded(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def claims_of(token: str) -> dict[str, Any]:
    """Return what the client reads, as it does: by the standard alphabet."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True))
    return claims


def test_a_token_stands_for_its_account_until_it_expires() -> None:
    before = int(time.time())
    token = Tokens(300).issue("somebody")

    claims = claims_of(token)
    assert claims["sub"] == "somebody"
    assert before + 300 <= claims["exp"] <= time.time() + 300

    good, over = Tokens(300), Tokens(-1)
    assert good.bearer(f"Bearer {good.issue('somebody')}") == "somebody"
    with pytest.raises(TokenRefusedError, match="the token is expired"):
        over.bearer(f"Bearer {over.issue('somebody')}")


@given(account_id=st.uuids(), seconds=st.floats(1, 10**7))
def test_a_payload_has_only_letters_that_the_client_decodes(account_id: Any, seconds: float) -> None:
    token = Tokens(seconds).issue(str(account_id))

    assert not set(token.split(".")[1]) & set("-_")
    assert claims_of(token)["sub"] == str(account_id)


def test_two_tokens_are_never_the_same() -> None:
    tokens = Tokens(300)

    assert len({tokens.issue("somebody") for _ in range(50)}) == 50


@pytest.mark.parametrize("reason", ["expired", "revoked"])
def test_tokens_of_an_account_are_withdrawn_with_a_reason_and_reinstated(reason: str) -> None:
    tokens = Tokens(300)
    first, second, other = (f"Bearer {tokens.issue(account)}" for account in ("a", "a", "b"))

    assert tokens.withdraw(reason, "a") == 2
    assert tokens.withdraw(reason, "a") == 0

    for header in (first, second):
        with pytest.raises(TokenRefusedError, match=f"the token is {reason}"):
            tokens.bearer(header)
    assert tokens.bearer(other) == "b"
    assert tokens.bearer(f"Bearer {tokens.issue('a')}") == "a"
    tokens.reinstate()
    assert tokens.bearer(first) == "a"


def test_all_tokens_are_withdrawn_when_no_account_is_named() -> None:
    tokens = Tokens(300)
    headers = [f"Bearer {tokens.issue(account)}" for account in ("a", "b")]

    assert tokens.withdraw("revoked") == 2

    assert [tokens.admits(header, {"a", "b"}) for header in headers] == [False, False]


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(TokenRefusedError, match="not issued here"):
        Tokens(300).bearer(f"Bearer {Tokens(300).issue('somebody')}")


def test_a_token_that_was_changed_is_refused() -> None:
    tokens = Tokens(300)
    head, payload, signature = tokens.issue("somebody").split(".")
    for forged in (
        f"{head}.{encoded({**claims_of(f'{head}.{payload}.'), 'sub': 'somebody else'})}.{signature}",
        f"{encoded({'alg': 'none'})}.{payload}.",
        f"{head}.{payload}.{signature[:-2]}",
        f"{head}.{payload}",
        "",
        "…",
    ):
        with pytest.raises(TokenRefusedError, match="not issued here"):
            tokens.bearer(f"Bearer {forged}")


@pytest.mark.parametrize("header", [None, "", "Basic c29tZTpib2R5", "bearer"])
def test_a_header_without_a_bearer_is_refused(header: str | None) -> None:
    with pytest.raises(TokenRefusedError, match="no bearer token was sent"):
        Tokens(300).bearer(header)


def test_a_token_admits_its_account_alone() -> None:
    tokens = Tokens(300)
    header = f"Bearer {tokens.issue('a')}"

    assert tokens.admits(header, {"a", "b"})
    assert not tokens.admits(header, {"b"})
    assert not tokens.admits(None, {"a"})
