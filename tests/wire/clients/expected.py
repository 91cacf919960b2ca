"""What each client must be able to do: everything but what stands here."""

from __future__ import annotations

from dataclasses import dataclass

from tests.wire.clients.capabilities import FAILS, NO, YES

CLIENTS = ("0.6.3", "0.9.0", "0.11.3", "0.12.0")
SINCE = {
    "default workspace by `POLARS_CLOUD_DEFAULT_WORKSPACE_ID`": "0.12.0",
    "`Workspace.set_default`": "0.11.2",
    "`sink_iceberg`": "0.9.0",
    "`sink_batches`": "0.10.0",
    "`collect`, `collect_batches`": "0.11.0",
    "`priority`": "0.12.0",
    "`distributed(min_workers=…, max_workers=…)`": "0.9.0",
    "`explain`": "0.12.0",
    "`delete` a result": "0.10.0",
    "headers of your own": "0.9.0",
}
"""The first client that has it; older ones do not."""


@dataclass(frozen=True)
class Failure:
    """A capability that fails although the client has it.

    :ivar before: a client with which it does not fail, as no newer one.
    :ivar says: part of what it says.
    """

    before: str
    says: str
    reason: str


_TRUST = Failure(
    "0.11.0",
    "UnknownIssuer",
    "The client trusts none but public authorities for the address where it signs in, whatever `SSL_CERT_FILE` says, "
    "so no stand-in can be there. Give it a token in `POLARS_CLOUD_ACCESS_TOKEN`.",
)
_CLEAR = Failure(
    "0.9.0",
    "transport error",
    "The client goes to port 5051 of the instance's address, where several instances of one machine cannot be, and "
    "speaks to loopback without TLS, which an instance refuses. The probe sets the port. Use proxy mode.",
)
_LABELS = Failure("0.11.0", "the client sends none", "The client takes labels, and does not send them to a cluster.")
FAILURES = {
    "sign in with a service account": _TRUST,
    "query in direct mode": _CLEAR,
    "cancel in direct mode": _CLEAR,
    "a query that fails in direct mode raises its class": _CLEAR,
    "labels": _LABELS,
}
"""What fails with older clients, and why."""


def expected(version: str, capability: str) -> str:
    """Return the outcome that a capability must have: ``yes``, ``no`` or ``fails``."""
    if capability in SINCE and _numbers(version) < _numbers(SINCE[capability]):
        return NO
    if capability in FAILURES and _numbers(version) < _numbers(FAILURES[capability].before):
        return FAILS
    return YES


def is_as_expected(version: str, capability: str, outcome: str) -> bool:
    """Return whether an outcome is the expected one; a failure must say why as the expected one does."""
    wanted = expected(version, capability)
    return outcome.partition(":")[0] == wanted and (wanted != FAILS or FAILURES[capability].says in outcome)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
