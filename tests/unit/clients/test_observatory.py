"""What an observatory may answer, and what is made of it: nothing of it ever fails a task."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_provider_polars.clients import observatory
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.testing.environment import REFUSED

QUERY = "6f0c4a52-5b8e-4c35-9f3d-0d5f1f9f6f6a"


@contextlib.contextmanager
def web_server(status: int = 200, body: bytes = b"", *, headers: Any = (), pause: float = 0.0) -> Iterator[str]:
    """Run a server that answers every request so, a byte at a time with a pause between; return its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                for byte in body:
                    ended.wait(pause)
                    self.wfile.write(bytes([byte]))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    ended = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def access_to(observatory: str) -> ClusterAccess:
    return ClusterAccess(uri="http://127.0.0.1", observatory=observatory)


def test_an_observatory_that_is_not_there_gives_no_details() -> None:
    for place in (f"http://{REFUSED}", "http://observatory.invalid"):
        assert observatory.query_details(access_to(place), QUERY) is None
        assert f"the observatory at {access_to(place).observatory} does not answer" in (
            observatory.problem(access_to(place), 20.0) or ""
        )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"', b"null", b"\xff"])
def test_an_answer_that_is_no_object_gives_no_details(body: bytes) -> None:
    with web_server(body=body) as place:
        assert observatory.query_details(access_to(place), QUERY) is None


def test_an_answer_is_not_waited_for_beyond_its_time() -> None:
    with web_server(body=b" " * 1000, pause=0.1) as place:
        started = time.monotonic()
        assert observatory.query_details(access_to(place), QUERY, 0.4) is None
        assert time.monotonic() - started < 20


def test_nobody_is_followed_elsewhere() -> None:
    with web_server(body=b"{}") as elsewhere, web_server(302, headers=[("location", elsewhere)]) as place:
        assert observatory.query_details(access_to(place), QUERY) is None
        assert "answers 302 Found" in (observatory.problem(access_to(place), 20.0) or "")


def test_the_address_of_a_query_is_below_the_observatory() -> None:
    assert observatory.query_url(access_to("https://o:8443"), QUERY) == f"https://o:8443/api/v1/query/{QUERY}"
    assert observatory.query_url(access_to("http://o"), "../x?y") == "http://o:3001/api/v1/query/..%2Fx%3Fy"


# ---- figures

DETAILS = {
    "request_time": "2026-03-01T10:00:00.100000000Z",
    "start_time": "2026-03-01T10:00:02.600000001+00:00",
    "end_time": "2026-03-01T11:00:12.6Z",
    "query_plan_timing": {"plan_start_time": "2026-03-01T10:00:00.1Z", "plan_end_time": "2026-03-01T10:00:00.6Z"},
    "total_num_stages": 3,
    "total_rows_read": 10,
    "total_bytes_read": 80,
    "total_bytes_shuffled": 0,
}


def with_details(**changes: Any) -> dict[str, Any]:
    return observatory.summarise({**DETAILS, **changes})


def test_figures_are_short_names_and_seconds() -> None:
    assert with_details() == {
        "stages": 3,
        "rows_read": 10,
        "bytes_read": 80,
        "bytes_shuffled": 0,
        "timings": {"queue": 2.0, "plan": 0.5, "run": 3610.0},
    }
    assert json.loads(json.dumps(with_details())) == with_details()


def test_a_query_that_is_planned_once_it_starts_was_queued_since_it_was_asked_for() -> None:
    planning = {"plan_start_time": "2026-03-01T10:00:02.6Z", "plan_end_time": "2026-03-01T10:00:03.6Z"}
    assert with_details(query_plan_timing=planning)["timings"] == {"queue": 2.5, "plan": 1.0, "run": 3610.0}


@pytest.mark.parametrize(
    ("changes", "timings"),
    [
        ({"start_time": None, "end_time": None}, {"plan": 0.5}),
        ({"end_time": None}, {"queue": 2.0, "plan": 0.5}),
        ({"query_plan_timing": {}}, {"queue": 2.5, "run": 3610.0}),
        ({"query_plan_timing": None}, {"queue": 2.5, "run": 3610.0}),
        ({"end_time": "2026-03-01T10:00:00Z"}, {"queue": 2.0, "plan": 0.5, "run": 0.0}),
        ({"start_time": "2026-03-01T12:00:02.600000+02:00"}, {"queue": 2.0, "plan": 0.5, "run": 3610.0}),
    ],
)
def test_times_that_are_not_known_are_left_out(changes: dict[str, Any], timings: dict[str, float]) -> None:
    assert with_details(**changes)["timings"] == timings


@pytest.mark.parametrize("value", ["yesterday", "2026-13-01T10:00:00Z", "2026-03-01T10:00:00", 7, [], {}])
def test_what_is_no_time_is_not_known(value: Any) -> None:
    assert with_details(start_time=value)["timings"] == {"plan": 0.5}


@pytest.mark.parametrize("value", [None, "3", 3.5, True, []])
def test_what_is_no_whole_number_is_not_known(value: Any) -> None:
    assert "stages" not in with_details(total_num_stages=value)


def test_nothing_known_is_nothing_told() -> None:
    assert observatory.summarise({}) == {}


def test_without_tls_no_certificates_are_loaded_and_nothing_else_that_is_heavy(run_python: Callable[..., str]) -> None:
    with web_server(body=b'{"id": "there"}') as place:
        output = run_python(
            "import ssl, sys\n"
            "ssl.SSLContext.load_verify_locations = ssl.SSLContext.load_default_certs = None\n"
            "from airflow_provider_polars.clients import observatory\n"
            "from airflow_provider_polars.clients.access import ClusterAccess\n"
            f"access = ClusterAccess(uri='http://cluster', observatory='{place}')\n"
            f"print(observatory.query_details(access, '{QUERY}')['id'])\n"
            "print(*(name for name in ('cryptography', 'grpc', 'polars') if name in sys.modules))"
        )
    assert output.split() == ["there"]
