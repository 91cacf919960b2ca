"""``polars-dev-cluster up --control-plane``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.dev_cluster import ending, registry
from airflow_provider_polars.dev_cluster.control_plane.settings import (
    ACCOUNT_VARIABLE,
    DEFAULT_API_PORT,
    DEFAULT_DEV_PORT,
    DEFAULT_TOKEN_PORT,
    ControlPlaneSettings,
)

if TYPE_CHECKING:
    from airflow_provider_polars.dev_cluster.control_plane.server import ControlPlane

NOTICE = "A Polars Cloud control plane for development and tests: a stand-in, not for production"
MISSING = "{} is missing: install the extra dev-cluster of airflow-provider-polars"
OPTIONS = {
    "api_port": "api_port",
    "token_port": "token_port",
    "dev_port": "dev_port",
    "certificates": "certificates",
    "starting_seconds": "starting_seconds",
    "stopping_seconds": "stopping_seconds",
    "minute_seconds": "minute",
    "token_seconds": "token_seconds",
    "max_vcpus": "max_vcpus",
}
"""Options of control planes alone, and what the settings call them."""

SHARED = {"command", "control_plane", "json", "parent", "python", "workers"}
OTHERWISE_STRONGER = ("POLARS_CLOUD_ACCESS_TOKEN", "POLARS_CLOUD_DEFAULT_ORGANIZATION_ID")
"""Variables of a shell that would lead the client past the account."""


def add_options(parser: argparse.ArgumentParser, port: Any, positive: Any) -> None:
    """Add the options of control planes to those of ``up``.

    :param port: converts text to a port.
    :param positive: makes what converts text to a number above 0 of a kind.
    """
    group = parser.add_argument_group("control plane")
    group.add_argument("--control-plane", action="store_true", help="run a control plane, whose instances are clusters")
    for name, default, text in (
        ("--api-port", DEFAULT_API_PORT, "of REST and gRPC"),
        ("--token-port", DEFAULT_TOKEN_PORT, "of the token endpoint (TLS)"),
        ("--dev-port", DEFAULT_DEV_PORT, "of /_dev"),
    ):
        group.add_argument(name, type=port, help=f"{text} ({default}); 0: any")
    group.add_argument(
        "--certificates", type=Path, help="folder with ca.pem, server.pem and server.key; made if not given"
    )
    group.add_argument("--starting-seconds", type=_seconds, help="an instance is Starting at least so long (0)")
    group.add_argument("--stopping-seconds", type=_seconds, help="an instance is Stopping at least so long (0)")
    group.add_argument("--minute-seconds", type=positive(float), help="of an idle timeout's minute (60)")
    group.add_argument("--token-seconds", type=positive(float), help="for which a token is good (300)")
    group.add_argument("--max-vcpus", type=positive(int), help="quota of a workspace; none by default")


def misplaced(given: Mapping[str, Any]) -> str | None:
    """Say which options do not fit together, None if all do.

    :param given: options of ``up`` by name, those that were given alone.
    """
    if "control_plane" in given:
        wrong = given.keys() - OPTIONS.keys() - SHARED
        reason = "not for --control-plane: its instances have ports, TLS and tokens of their own"
    else:
        wrong = given.keys() & OPTIONS.keys()
        reason = "for --control-plane alone"
        if len(given.get("python", ())) > 1:
            return "several interpreters after --python are for --control-plane alone: a cluster has one"
    if not wrong:
        return None
    names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(wrong))
    return f"{names} {'is' if len(wrong) == 1 else 'are'} {reason}"


def up(given: Mapping[str, Any]) -> int:
    """Run a control plane until SIGINT or SIGTERM; return the exit code."""
    options: dict[str, Any] = {field: given[name] for name, field in OPTIONS.items() if name in given}
    if "workers" in given:
        options["workers"] = given["workers"]
    if "python" in given:
        options["pythons"] = tuple(given["python"])
    if account := os.environ.get(ACCOUNT_VARIABLE):
        account_id, _, secret = account.partition(":")
        if not (account_id and secret and account.isascii() and account.isprintable()):
            return _fail(f"{ACCOUNT_VARIABLE} is not an id, a colon and a secret, in printable ASCII")
        options["account"] = account_id, secret
    return asyncio.run(_run(ControlPlaneSettings(**options), as_json="json" in given, parent=given.get("parent")))


async def _run(settings: ControlPlaneSettings, *, as_json: bool, parent: int | None) -> int:
    ended = ending.when_asked(parent)
    try:
        from airflow_provider_polars.dev_cluster.control_plane.server import (
            CertificatesError,
            InterpreterError,
            running,
        )
        from airflow_provider_polars.dev_cluster.scheduler_port import PortInUseError
    except ModuleNotFoundError as error:
        return _fail(MISSING.format(error.name))

    stopping = asyncio.ensure_future(ended.wait())
    try:
        async with contextlib.AsyncExitStack() as stack:
            starting = asyncio.ensure_future(stack.enter_async_context(running(settings)))
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait([starting])
                return 0
            plane = starting.result()
            stack.enter_context(registry.registered(_entry(plane)))
            facts = _facts(plane)
            print(json.dumps(facts) if as_json else _exports(facts, plane.fronts["api"].port), flush=True)
            await stopping
        return 0
    except PortInUseError as error:
        return _fail(f"{error}; {registry.occupant(error.port)}")
    except (CertificatesError, InterpreterError) as error:
        return _fail(str(error))
    finally:
        stopping.cancel()


def _entry(plane: ControlPlane) -> registry.Entry:
    return registry.Entry(
        pid=os.getpid(),
        born=registry.started_at(os.getpid()) or 0,
        uri=plane.api,
        observatory=plane.dev,
        port=plane.fronts["api"].port,
        workers=plane.settings.workers,
        polars=", ".join(sorted(plane.pythons)),
        token_port=plane.fronts["token"].port,
    )


def _facts(plane: ControlPlane) -> dict[str, Any]:
    accounts = list(plane.directory.accounts.values())
    return {
        "api": plane.api,
        "domain": plane.domain,
        "dev": plane.dev,
        "authority": str(plane.authority),
        "polars": sorted(plane.pythons),
        "accounts": [
            {
                "id": account.id,
                "secret": account.secret,
                "access_token": plane.tokens.issue(account.id),
                "workspace": {"id": account.workspace.id, "name": account.workspace.name},
            }
            for account in accounts
        ],
        "environment": {
            "POLARS_CLOUD_API_ADDR": plane.api,
            "POLARS_CLOUD_DOMAIN": plane.domain,
            "SSL_CERT_FILE": str(plane.trusted),
            "POLARS_CLOUD_CONFIG_DIR": str(plane.config_folder),
            "POLARS_CLOUD_CLIENT_ID": accounts[0].id,
            "POLARS_CLOUD_CLIENT_SECRET": accounts[0].secret,
            "POLARS_CLOUD_DEFAULT_WORKSPACE_ID": accounts[0].workspace.id,
        },
        "pid": os.getpid(),
    }


def _exports(facts: dict[str, Any], port: int) -> str:
    """Return what a shell can run: all but the variables stands in comments."""
    first, second = (account["workspace"] for account in facts["accounts"])
    rows = {
        "instances": f"with Polars {', '.join(facts['polars'])}",
        "workspace": f"{first['name']}   {first['id']}",
        "another": f"{second['name']}   {second['id']}   (--json has its account)",
        "/_dev": facts["dev"],
        "stop": f"Ctrl-C, or: polars-dev-cluster down --port {port}",
    }
    return "\n".join(
        [
            *(f"# {line}" for line in (NOTICE, *(f"  {name:<10} {value}" for name, value in rows.items()))),
            f"unset {' '.join(OTHERWISE_STRONGER)}",
            *(f"export {name}={shlex.quote(value)}" for name, value in facts["environment"].items()),
            *(f'export {name}="127.0.0.1${{{name}:+,${name}}}"' for name in ("NO_PROXY", "no_proxy")),
        ]
    )


def _seconds(text: str) -> float:
    if not 0 <= (value := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds, 0 or more")
    return value


def _fail(text: str) -> int:
    print(f"polars-dev-cluster: {text}", file=sys.stderr)
    return 1
