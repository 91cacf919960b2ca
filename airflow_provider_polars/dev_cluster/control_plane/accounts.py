"""Who is known to a control plane: an organisation, its workspaces, and a service account for each."""

from __future__ import annotations

import datetime as dt
import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

WORKSPACES = ("development", "second")


def timestamp(seconds: float | None = None) -> str:
    """Return a time as REST answers have it; the present one by default."""
    now = dt.datetime.now(dt.timezone.utc)
    return (now if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc)).isoformat()


@dataclass(eq=False)
class Organisation:
    """An organisation."""

    name: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: str = field(default_factory=timestamp)


@dataclass(eq=False)
class Workspace:
    """A workspace."""

    name: str
    organisation: Organisation
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: str = field(default_factory=timestamp)
    idle_timeout_mins: int = 60
    cluster_defaults: dict[str, Any] | None = None
    """As the client sets and gets them."""


@dataclass(eq=False)
class ServiceAccount:
    """A service account: it belongs to one workspace and sees no other."""

    name: str
    workspace: Workspace
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    default_workspace: str | None = None


class Directory:
    """All that is known, by id: two workspaces with one service account each, made anew at every start.

    :param account: id and secret of the first account, if they are not to be made.
    """

    def __init__(self, account: tuple[str, str] | None = None) -> None:
        self.organisation = Organisation("development")
        workspaces = [Workspace(name, self.organisation) for name in WORKSPACES]
        self.workspaces = {workspace.id: workspace for workspace in workspaces}
        accounts = [ServiceAccount(f"{workspace.name} account", workspace) for workspace in workspaces]
        if account is not None:
            accounts[0].id, accounts[0].secret = account
        self.accounts = {known.id: known for known in accounts}

    def sign_in(self, account_id: str, secret: str) -> ServiceAccount | None:
        """Return the account whose secret that is, None if there is none."""
        account = self.accounts.get(account_id)
        right = account is not None and hmac.compare_digest(account.secret.encode(), secret.encode())
        return account if right else None
