"""What a control plane keeps of tokens, and shows of secrets."""

from __future__ import annotations

import time

import pytest

from airflow_provider_polars.dev_cluster.control_plane.accounts import Directory
from airflow_provider_polars.dev_cluster.control_plane.tokens import TokenRefusedError, Tokens


def test_nothing_is_kept_of_tokens_that_have_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    tokens = Tokens(300)
    for _ in range(1000):
        tokens.issue("one")
    tokens.withdraw("revoked")
    now[0] += 301

    tokens.issue("one")

    assert (len(tokens._issued), len(tokens._withdrawn)) == (1, 0)


@pytest.mark.parametrize("text", ["", "..", "a.b.c", "ä.ö.ü", "." * 100_000, "\x00.\x00.\x00"])
def test_a_text_that_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenRefusedError, match="was not issued here"):
        Tokens(300).bearer(f"Bearer {text}")


def test_an_account_that_is_given_is_that_of_the_first_workspace() -> None:
    directory = Directory(("known-id", "known-secret"))

    first, second = directory.accounts.values()

    assert (first.id, first.secret, first.workspace.name) == ("known-id", "known-secret", "development")
    assert directory.sign_in("known-id", "known-secret") is first
    assert second.id != first.id


def test_an_account_does_not_show_its_secret() -> None:
    (account, *_) = Directory().accounts.values()

    assert account.secret not in repr(account)
    assert len(account.secret) >= 32
