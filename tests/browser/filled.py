"""What people fill into the form of each connection type: right, wrong, and what the Test button says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tests.harness.development import Development


@dataclasses.dataclass(frozen=True)
class Filled:
    """A form that is filled in.

    :param standard: values of the standard fields, by name.
    :param extra: values of the fields of the type, by name.
    :param wrong: the one value, of a field of either, that is wrong at first.
    :param refusal: what the Test button then says, in part.
    :param approval: what it says when all is right, in part.
    :param secrets: what nobody may be shown.
    """

    standard: dict[str, Any]
    extra: dict[str, Any]
    wrong: tuple[str, Any]
    refusal: str
    approval: str
    secrets: tuple[str, ...] = ()


def _polars(world: Development) -> Filled:
    return Filled(
        standard={"port": 1},
        extra={"default_compute": {"kind": "local", "threads": 1}},
        wrong=("default_compute", {"kind": "locale"}),
        refusal="has no usable default_compute",
        approval="default compute: LocalCompute(threads=1).",
    )


def _polars_cluster(world: Development) -> Filled:
    scheduler = urlsplit(world.cluster.uri)
    return Filled(
        standard={"host": scheduler.hostname, "port": scheduler.port, "login": "ada", "password": world.cluster.token},
        extra={
            "tls": True,
            "ca_cert": (world.cluster.authority or b"").decode().strip(),
            "domain_name": "localhost",
            "observatory": world.cluster.observatory,
            "scaling": "single-node",
            "headers": {"x-team": "sales"},
        },
        wrong=("domain_name", "another-cluster.invalid"),
        refusal="not for another-cluster.invalid",
        approval=f"{world.cluster.uri} answers: cluster ",
        secrets=(str(world.cluster.token),),
    )


def _polars_cloud(world: Development) -> Filled:
    account = world.plane.account
    return Filled(
        standard={"login": account.id, "password": account.secret, "port": 443},
        extra={
            "workspace": account.workspace.name,
            "connection_mode": "direct",
            "default_compute": {"kind": "cloud", "cpus": 2, "memory": 4},
        },
        wrong=("password", "secret-of-another-account"),
        refusal="refuses",
        approval="Polars Cloud accepts the service account from",
        secrets=(account.secret, "secret-of-another-account"),
    )


FILLED: dict[str, Callable[[Development], Filled]] = {
    "polars": _polars,
    "polars_cluster": _polars_cluster,
    "polars_cloud": _polars_cloud,
}
