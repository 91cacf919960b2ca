"""The REST interface of a cluster's observatory: what it tells about one query. It never fails a task."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from airflow_provider_polars.clients.access import ClusterAccess, ssl_context
from airflow_provider_polars.clients.times import parse_time

_FIGURES = {
    "stages": "total_num_stages",
    "rows_read": "total_rows_read",
    "bytes_read": "total_bytes_read",
    "bytes_shuffled": "total_bytes_shuffled",
}
_NO_QUERY = "00000000-0000-0000-0000-000000000000"
_log = logging.getLogger(__name__)


def query_url(access: ClusterAccess, query_id: str) -> str:
    """Return where the observatory shows a query, as JSON."""
    return f"{access.observatory}/api/v1/query/{quote(query_id, safe='')}"


def query_details(access: ClusterAccess, query_id: str, seconds: float = 2.0) -> dict[str, Any] | None:
    """Return what the observatory knows of a query, None if it does not answer or does not know it."""
    return ask_details(access, query_id, seconds)()


def ask_details(access: ClusterAccess, query_id: str, seconds: float = 2.0) -> Callable[[], dict[str, Any] | None]:
    """Begin :func:`query_details`; what is returned waits for the answer."""
    url = query_url(access, query_id)
    try:
        answer = _ask(access, url, seconds)
    except Exception as error:
        _log.debug("No details from %s: %s", url, error)
        return lambda: None

    def wait() -> dict[str, Any] | None:
        try:
            status, body = answer()
            if status != HTTPStatus.OK:
                raise ValueError(_reason(status))
            details = json.loads(body)
        except Exception as error:
            _log.debug("No details from %s: %s", url, error)
            return None
        return details if isinstance(details, dict) else None

    return wait


def problem(access: ClusterAccess, seconds: float) -> str | None:
    """Return why the observatory gives no details, None if it would."""
    try:
        status, _ = _ask(access, query_url(access, _NO_QUERY), seconds)()
    except Exception as error:
        return f"the observatory at {access.observatory} does not answer ({error or type(error).__name__})"
    if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
        return None
    return f"the observatory at {access.observatory} answers {_reason(status)}"


def summarise(details: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a query that are known: ``stages``, ``rows_read``, ``bytes_read``, ``bytes_shuffled``,
    and in ``timings`` the seconds for which it was in the ``queue``, was planned (``plan``) and ``run``.
    """
    figures = {name: details.get(field) for name, field in _FIGURES.items()}
    summary: dict[str, Any] = {name: value for name, value in figures.items() if type(value) is int}
    if timings := _timings(details):
        summary["timings"] = timings
    return summary


def describe(details: dict[str, Any]) -> str:
    """Return how far a query has come, as words: stages, rows and bytes, as far as they are known; "" if none is."""
    stages, finished = details.get("total_num_stages"), details.get("finished_stages")
    parts = []
    if type(stages) is int and isinstance(finished, list):
        parts.append(f"{len(finished)} of {stages} stages done")
    if type(rows := details.get("total_rows_read")) is int:
        parts.append(f"{rows:,} rows read")
    if type(size := details.get("total_bytes_read")) is int:
        parts.append(f"{size / 1e6:,.1f} MB read")
    return ", ".join(parts)


def _timings(details: dict[str, Any]) -> dict[str, float]:
    planning = details.get("query_plan_timing")
    planning = planning if isinstance(planning, dict) else {}
    requested, started, ended = (parse_time(details.get(name)) for name in ("request_time", "start_time", "end_time"))
    plan_started, planned = (parse_time(planning.get(name)) for name in ("plan_start_time", "plan_end_time"))
    queued_from = planned if planned and started and planned <= started else requested
    spans = {"queue": (queued_from, started), "plan": (plan_started, planned), "run": (started, ended)}
    return {
        name: round(max((end - start).total_seconds(), 0.0), 6) for name, (start, end) in spans.items() if start and end
    }


def _reason(status: int) -> str:
    return f"{status} {http.client.responses.get(status, '')}".rstrip()


def _ask(access: ClusterAccess, url: str, seconds: float) -> Callable[[], tuple[int, bytes]]:
    """Send the request; what is returned waits for status and body.

    The standard library, and not httpx: a request can be sent now and its answer fetched later.
    """
    parts = urlsplit(url)
    deadline = time.monotonic() + seconds
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=seconds)
    try:
        connection.connect()
        if parts.scheme == "https":
            name = access.domain_name or parts.hostname
            connection.sock = ssl_context(access).wrap_socket(connection.sock, server_hostname=name)
        connection.request("GET", parts.path, headers=dict(access.headers))
    except BaseException:
        connection.close()
        raise

    def wait() -> tuple[int, bytes]:
        body = bytearray()
        with contextlib.closing(connection), connection.getresponse() as response:
            while part := response.read1():
                body += part
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no whole answer within {seconds:g} s")
            return response.status, bytes(body)

    return wait
