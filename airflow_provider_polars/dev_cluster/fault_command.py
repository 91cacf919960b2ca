"""``polars-dev-cluster fault add | list | clear``."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from pathlib import Path
from typing import Any

from airflow_provider_polars.dev_cluster import registry
from airflow_provider_polars.dev_cluster.dev_client import DevApiError, DevClient
from airflow_provider_polars.dev_cluster.settings import TOKEN_VARIABLE

ALL = "all"


class _NoServerError(Exception):
    """It is not clear whose faults are meant; the text says why."""


def add_parser(commands: Any, port: Any) -> None:
    """Add the command.

    :param commands: what ``argparse`` adds commands to.
    :param port: converts text to a port.
    """
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--port", type=port, help="of the cluster or control plane; the only one that is up by default")
    where.add_argument("--url", help="what comes before /_dev, in place of --port: the address of an observatory")
    where.add_argument("--token", help=f"bearer token of the cluster, if it asks for one; or {TOKEN_VARIABLE}")
    actions = commands.add_parser("fault", help="let calls go wrong").add_subparsers(dest="action", required=True)

    add = actions.add_parser("add", parents=[where], help="let calls go wrong from now on; prints the id of the fault")
    add.add_argument("call", metavar="CALL", help="SubmitQuery, 'Get*', 'GET query': a call, or a pattern of calls")
    add.add_argument("do", metavar="DO", help="delay, hang, drop, reset, answer or fail")
    add.add_argument("--seconds", type=float, help="of a delay")
    add.add_argument("--status", type=_status, help="of an answer: UNAVAILABLE for gRPC, 503 for HTTP")
    add.add_argument("--message", help="of an answer")
    add.add_argument("--body", type=_body, help="of an answer over HTTP: JSON, or any text")
    add.add_argument("--error", action="append", metavar="TYPE: MESSAGE", help="of a query that is to fail; repeatable")
    add.add_argument("--times", type=_times, default=1, help=f"how many calls it hits (1); {ALL}: until it is cleared")
    add.add_argument("--skip", type=int, default=0, help="how many calls pass first (0)")
    actions.add_parser("list", parents=[where], help="list faults, with their hits; those that are spent too")
    clear = actions.add_parser("clear", parents=[where], help="lift a fault, or all")
    clear.add_argument("id", metavar="ID", type=int, nargs="?")


def run(given: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    action: Any = {"add": _add, "list": _list, "clear": _clear}[given.action]
    try:
        action(_client(given), given)
    except (DevApiError, _NoServerError) as error:
        print(f"polars-dev-cluster: {error}", file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"polars-dev-cluster: {given.url or 'the cluster'} {_trouble(error)}", file=sys.stderr)
        return 1
    return 0


def _trouble(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"does not answer: {getattr(error, 'reason', error)}"
    if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.InvalidURL):
        return "answers, but not in HTTP: give the address of an observatory, and not that of a scheduler"
    return "cannot be asked: it is no address, or the token has characters that no header can have"  # the text has it


def _add(client: DevClient, given: argparse.Namespace) -> None:
    fields = {name: getattr(given, name) for name in ("seconds", "status", "message", "body")}
    errors = given.error or ([] if given.do == "fail" else None)
    fault = {name: value for name, value in {**fields, "errors": errors}.items() if value is not None}
    body = {"call": given.call, "do": given.do, **fault, "times": given.times, "skip": given.skip}
    print(client.post("/_dev/faults", body)["id"])


def _list(client: DevClient, given: argparse.Namespace) -> None:
    for fault in client.get("/_dev/faults"):
        common = {name: fault.pop(name) for name in ("id", "call", "do", "times", "skip", "hits")}
        hits = f"{common['hits']} of {ALL if common['times'] is None else common['times']} hits"
        own = [f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in fault.items()]
        skipped = [f"after {common['skip']} calls"] if common["skip"] else []
        print("  ".join([str(common["id"]), common["call"], common["do"], *own, *skipped, hits]))


def _clear(client: DevClient, given: argparse.Namespace) -> None:
    client.delete("/_dev/faults" if given.id is None else f"/_dev/faults/{given.id}")


def _client(given: argparse.Namespace) -> DevClient:
    """Return a client of the server that is meant.

    :raises _NoServerError: if there is none, or several.
    """
    token = given.token or os.environ.get(TOKEN_VARIABLE)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if given.url is not None:
        if not given.url.startswith(("http://", "https://")):
            raise _NoServerError(f"--url is {given.url!r}, but must begin with http:// or https://")
        return DevClient(given.url.rstrip("/"), headers)
    found = [entry for entry in registry.entries() if given.port in (None, entry.port)]
    if not found:
        raise _NoServerError("no development cluster is up" + (f" on port {given.port}" if given.port else ""))
    if len(found) > 1:
        ports = ", ".join(str(entry.port) for entry in found)
        raise _NoServerError(f"several are up, on the ports {ports}: say --port")
    authority = found[0].authority
    return DevClient(found[0].observatory, headers, Path(authority).read_bytes() if authority else None)


def _status(text: str) -> str | int:
    return int(text) if text.isdecimal() else text.upper()


def _body(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _times(text: str) -> int | None:
    return None if text == ALL else int(text)
