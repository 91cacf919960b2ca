"""``polars-dev-cluster up | status | down | fault``."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import secrets
import sys
from typing import Any

from airflow_provider_polars.dev_cluster import ending, fault_command, registry
from airflow_provider_polars.dev_cluster.control_plane import command
from airflow_provider_polars.dev_cluster.settings import (
    DEFAULT_OBSERVATORY_PORT,
    DEFAULT_PORT,
    LOOPBACK,
    TOKEN_VARIABLE,
    Settings,
)

NOTICE = "A Polars cluster for development and tests: a stand-in, not for production"
_MADE = "(made)"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for what went wrong, 2 for wrong arguments."""
    given = _parser().parse_args(arguments)
    run: Any = {"up": up, "status": status, "down": down, "fault": fault_command.run}[given.command]
    return int(run(given))


def up(given: argparse.Namespace) -> int:
    """Run a cluster, or a control plane, until SIGINT or SIGTERM."""
    options = vars(given)
    if (complaint := command.misplaced(options)) is not None:
        return _fail(complaint, 2)
    if "control_plane" in options:
        return command.up(options)
    token = options.get("token", os.environ.get(TOKEN_VARIABLE) or None)
    token = secrets.token_urlsafe(24) if token == _MADE else token
    if token is not None and not (token and token.isascii() and token.isprintable()):
        return _fail("a token has at least one character, and only printable ones of ASCII")
    host, tls = options.get("host", LOOPBACK), "tls" in options
    if host not in (LOOPBACK, "localhost", "::1"):
        if "allow_remote" not in options:
            return _fail(f"--host {host} lets others in, who could run code here: add --allow-remote to mean it")
        if token is None or not tls:
            return _fail(
                "--allow-remote needs --token, for whoever reaches the cluster can run code on this machine, and "
                "--tls, for the token and plans could be read on the way"
            )
    settings = Settings(
        host=host,
        python=options.get("python", [sys.executable])[0],
        memory_limit=int(options["memory_limit_gb"] * 1e9) if "memory_limit_gb" in options else None,
        tls=tls,
        token=token,
        deny_anonymous_users="deny_anonymous_users" in options,
        **{name: options[name] for name in ("port", "observatory_port", "workers", "result_ttl") if name in options},
    )
    return asyncio.run(_run(settings, as_json="json" in options, parent=options.get("parent")))


async def _run(settings: Settings, *, as_json: bool, parent: int | None) -> int:
    ended = ending.when_asked(parent)

    try:
        from airflow_provider_polars.dev_cluster.pool import WorkersFailedError
        from airflow_provider_polars.dev_cluster.server import PortInUseError, running
    except ModuleNotFoundError as error:
        return _fail(command.MISSING.format(error.name))

    stopping: asyncio.Future[Any] = asyncio.ensure_future(ended.wait())
    try:
        async with running(settings, give_up=stopping) as cluster:
            if cluster is None:
                return 0
            entry = registry.Entry(
                pid=os.getpid(),
                born=registry.started_at(os.getpid()) or 0,
                uri=cluster.uri,
                observatory=cluster.observatory_uri,
                port=cluster.port,
                workers=settings.workers,
                polars=cluster.scheduler.polars,
                authority=str(cluster.authority) if cluster.authority else None,
            )
            with registry.registered(entry):
                facts = {
                    "scheduler": cluster.uri,
                    "observatory": cluster.observatory_uri,
                    "workers": settings.workers,
                    "polars": cluster.scheduler.polars,
                    "python": cluster.scheduler.python,
                    "authority": str(cluster.authority) if cluster.authority else None,
                    "token": settings.token,
                    "pid": os.getpid(),
                }
                print(json.dumps(facts) if as_json else _table(facts, cluster.port), flush=True)
                await asyncio.wait([stopping, cluster.pool.failed], return_when=asyncio.FIRST_COMPLETED)
                if cluster.pool.failed.done():
                    cluster.pool.failed.result()
        return 0
    except PortInUseError as error:
        return _fail(f"{error}; {registry.occupant(error.port)}")
    except WorkersFailedError as error:
        return _fail(str(error))
    finally:
        stopping.cancel()


def _table(facts: dict[str, Any], port: int) -> str:
    workers = f"{facts['workers']}, each one query at a time (Polars {facts['polars']}, Python {facts['python']})"
    rows = {
        "scheduler": facts["scheduler"],
        "observatory": facts["observatory"],
        "workers": workers,
        "token": facts["token"] and f'{facts["token"]}   (extra_headers={{"authorization": "Bearer …"}})',
        "authority": facts["authority"] and f"{facts['authority']}   (TLSOptions(ca_cert=…))",
        "stop": f"Ctrl-C, or: polars-dev-cluster down --port {port}",
    }
    return "\n".join([NOTICE, *(f"  {name:<12} {value}" for name, value in rows.items() if value)])


def status(given: argparse.Namespace) -> int:
    """Print the clusters of this user that run; 1 if there are none."""
    found = [entry for entry in registry.entries() if given.port in (None, entry.port)]
    for entry in found:
        print(entry)
    if not found:
        print("no development cluster is up" + (f" on port {given.port}" if given.port else ""))
    return 0 if found else 1


def down(given: argparse.Namespace) -> int:
    """Stop the cluster on a port, or the only one; 1 if there is none."""
    found = [entry for entry in registry.entries() if given.port in (None, entry.port)]
    if len(found) > 1:
        return _fail(f"several are up, on the ports {', '.join(str(entry.port) for entry in found)}: say --port")
    if not found:
        return status(given)
    if not found[0].stop():
        return _fail(f"pid {found[0].pid} does not end: kill -9 {found[0].pid}; its workers end with it")
    print(f"stopped {found[0].uri}")
    return 0


def _fail(text: str, code: int = 1) -> int:
    print(f"polars-dev-cluster: {text}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="polars-dev-cluster", description=NOTICE)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "up", help="run a cluster, or a control plane, until Ctrl-C or SIGTERM", argument_default=argparse.SUPPRESS
    )
    run.add_argument(
        "--workers", type=_positive(int), help="queries at the same time (2); of each node of an instance (1)"
    )
    run.add_argument("--port", type=_port, help=f"of the scheduler ({DEFAULT_PORT}); 0: any")
    run.add_argument("--observatory-port", type=_port, help=f"({DEFAULT_OBSERVATORY_PORT}); 0: any")
    run.add_argument("--host", help=f"address to listen on ({LOOPBACK})")
    run.add_argument("--allow-remote", action="store_true", help="needed for a host other than loopback")
    run.add_argument("--tls", action="store_true", help="with a certificate of an authority made for this run")
    run.add_argument(
        "--token",
        nargs="?",
        const=_MADE,
        help=f"bearer token that all calls need; made if no value is given; {TOKEN_VARIABLE} keeps it out of ps",
    )
    run.add_argument("--deny-anonymous-users", action="store_true", help="refuse queries without a user name")
    run.add_argument(
        "--python",
        nargs="+",
        help="interpreter of the workers, with Polars and grpcio; of a control plane one for each Polars",
    )
    run.add_argument("--memory-limit-gb", type=_positive(float), help="per worker; a query above it fails")
    run.add_argument("--result-ttl", type=_positive(float), help="seconds to keep ended queries (3600)")
    run.add_argument("--json", action="store_true", help="print one line of JSON instead of a table, once it is ready")
    run.add_argument("--parent", type=int, help=argparse.SUPPRESS)  # see ending.when_asked
    command.add_options(run, _port, _positive)
    for name, text in (("status", "list the clusters of this user"), ("down", "stop a cluster")):
        commands.add_parser(name, help=text).add_argument("--port", type=_port, default=None)
    fault_command.add_parser(commands, _port)
    return parser


def _positive(kind: Any) -> Any:
    def convert(text: str) -> Any:
        if not 0 < (value := kind(text)) < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
        return value

    convert.__name__ = kind.__name__
    return convert


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 65535")
    return int(text)
