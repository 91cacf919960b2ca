"""Anything at all, sent to every port of a control plane: each request ends soon, none is a failure of the server.

What is no order starts nothing, and the control plane goes on. The inputs are the same in each run.
"""

from __future__ import annotations

import functools
import json
import re
import ssl
import uuid
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import quote

import grpc
import httpx
import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars.dev_cluster.control_plane import orders, rest
from airflow_provider_polars.protocol import compute_plane_pb2 as compute_wire
from airflow_provider_polars.protocol import control_plane_pb2 as wire
from tests.wire.command import Shell, Up
from tests.wire.control_plane.instances import ended
from tests.wire.control_plane.raw import TOKEN_PATH, Caller
from tests.wire.fuzzing import PREFACE, Budget, exchange, frame, messages, repeatable

pytestmark = pytest.mark.own_cluster

UP = ("--control-plane", "--api-port", "0", "--token-port", "0", "--dev-port", "0", "--json", "--max-vcpus", "1")
BUDGET_SECONDS = 10.0
"""Of each of the six tests."""

SECONDS = 60.0
MOST_GROWTH = 100_000_000
SERVICE = "/polars_cloud.control_plane.client.v1.ClientService/"
NOISE = re.compile(r"^WARNING: +Invalid HTTP request received\.\n", re.MULTILINE)
TEXT = st.text(max_size=20)
NUMBERS = st.integers(-3, 12) | st.integers() | st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 10**400])
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
ROUTES = {
    "GET": [
        *("user/me", "organization", "organization/{id}", "workspace", "W", "W/cluster-defaults", "W/aws", "W/compute"),
        *(
            "W/compute/{id}",
            "W/compute/{id}/node",
            "W/compute/{id}/public_info",
            "W/compute/{id}/token",
            "W/manifest/find",
            "W/query",
        ),
        "W/query/{id}",
    ],
    "POST": ["W/compute/{id}/stop", "W/query/{id}/cancel", "W/compute/start", "W/manifest", "W/manifest/start"],
    "PUT": ["W/cluster-defaults"],
    "PATCH": ["user"],
    "DELETE": ["W/manifest"],
}
BODIES: dict[tuple[str, str], type[msgspec.Struct]] = {
    ("POST", "W/compute/start"): orders.Order,
    ("POST", "W/manifest"): orders.ManifestOrder,
    ("POST", "W/manifest/start"): orders.ManifestStart,
    ("PUT", "W/cluster-defaults"): orders.ClusterDefaults,
    ("PATCH", "user"): rest.DefaultWorkspace,
}


class Target:
    """A control plane, called with anything."""

    def __init__(self, up: Up) -> None:
        self.up, self.plane = up, up.plane
        self.caller = Caller(self.plane)
        self.port = port_of(self.plane.api)
        self.token_port = port_of(self.plane.environment["POLARS_CLOUD_DOMAIN"])
        self.ids = st.sampled_from([self.caller.account.workspace.id, str(uuid.UUID(int=0))]) | TEXT

    def ask(self, method: str, path: str, body: bytes = b"", query: str = "") -> int:
        """Send a request with a token and return the status; fail if the server does."""
        answer = self.caller.ask(method, f"{path}?{query}" if query else path, content=body)
        assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text}"
        if answer.content:
            json.loads(answer.content)
        return answer.status_code


def port_of(place: str) -> int:
    return int(place.rpartition(":")[2])


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Shell(tmp_path_factory.mktemp("fuzz")).up(*UP) as up:
        yield up


@pytest.fixture
def target(up: Up) -> Iterator[Target]:
    """Return the control plane of all tests; it still works, and is not much larger, when the test is over."""
    target = Target(up)
    target.plane.reset()
    before = up.process.memory_info().rss

    yield target

    target.plane.reset()
    instance = target.caller.start()
    assert target.ask("POST", f"W/compute/{instance}/stop") == 204
    assert ended(target.plane, instance)["state"] == "Stopped"
    assert up.process.memory_info().rss - before < MOST_GROWTH
    assert NOISE.sub("", up.log) == ""


def like(kind: Any) -> st.SearchStrategy[Any]:
    """Return JSON values that are a type's, or nearly so."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        fields = msgspec.structs.fields(kind)
        needed = {field.name: like(hints[field.name]) for field in fields if field.required}
        others = {field.name: like(hints[field.name]) for field in fields if not field.required}
        right = st.fixed_dictionaries(needed, optional=others)
        return right | st.fixed_dictionaries({}, optional=needed | others | {"more": JUNK})
    if get_origin(kind) is Literal:
        return st.sampled_from([*get_args(kind), get_args(kind)[0].lower()])
    if get_origin(kind) is list:
        return st.lists(like(get_args(kind)[0]), max_size=3)
    if get_origin(kind) is dict:
        return st.dictionaries(TEXT, like(get_args(kind)[1]), max_size=3)
    if members := [member for member in get_args(kind) if member is not NoneType]:
        return st.none() | functools.reduce(lambda one, other: one | other, map(like, members))
    return {int: NUMBERS, str: TEXT | st.just(pl.__version__)}[kind]


@st.composite
def changed(draw: st.DrawFn, right: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a right body with up to two other values in it."""
    hints = get_type_hints(kind)
    names = draw(st.lists(st.sampled_from(sorted(hints)), max_size=2, unique=True))
    return right | {name: draw(like(hints[name])) for name in names}


def is_order(body: Any) -> bool:
    """Return whether an instance can be what a body asks for, where the quota is one vCPU."""
    specs, machine = body.get("specs"), body.get("instance_type")
    return (
        (specs is None) != (machine is None)
        and (specs is None or (specs["cpus"] == 1 and specs["ram_gb"] >= 1))
        and body.get("cluster_size", 1) == 1
        and (body.get("idle_timeout_mins") is None or body["idle_timeout_mins"] >= 10)
        and body["polars_version"] == pl.__version__
    )


def test_bodies_of_nearly_the_right_shape_are_carried_out_or_refused(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)
    right = {"specs": {"cpus": 1, "ram_gb": 1}, "mode": "Direct", "polars_version": pl.__version__}
    right |= {"python_version": {"major": 3, "minor": 12, "patch": 1}, "name": "a name"}
    right |= {"default_workspace_id": target.caller.account.workspace.id}
    bodies = {route: changed(right, kind) | changed(right, kind) | like(kind) | JUNK for route, kind in BODIES.items()}

    @repeatable
    @given(st.data(), st.sampled_from(sorted(bodies)), st.integers(0, 5))
    def send(data: st.DataObject, route: tuple[str, str], cut_off: int) -> None:
        body = data.draw(bodies[route])
        with budget:
            before = len(target.plane.instances)
            sent = json.dumps(body).encode()
            status = target.ask(*route, sent[:-1] if cut_off == 5 else sent)
            if "start" in route[1] and status == 200:
                assert len(target.plane.instances) - before in (0, 1)  # a manifest that lives is not started again
                assert route[1] == "W/manifest/start" or is_order(body)
            else:
                assert len(target.plane.instances) == before
            budget.outcomes[status] += 1

    budget.spend(send)
    print(budget.outcomes)
    assert set(budget.outcomes) >= {200, 400, 422}, budget.outcomes


def test_paths_queries_and_bodies_of_any_kind_are_answered(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)
    routes = [(method, path) for method, paths in ROUTES.items() for path in paths]
    counts = NUMBERS.map(str) | TEXT
    names = st.sampled_from(["page", "limit", "offset", "name", "status", "organization_id", "order"])
    queries = st.lists(st.tuples(names, counts), max_size=3).map(
        lambda pairs: "&".join(f"{name}={quote(value)}" for name, value in pairs)
    )

    @repeatable
    @given(st.sampled_from(routes), target.ids, queries, st.binary(max_size=60) | JUNK.map(json.dumps).map(str.encode))
    def send(route: tuple[str, str], given_id: str, query: str, body: bytes) -> None:
        with budget:
            method, path = route
            status = target.ask(method, path.replace("{id}", quote(given_id, safe="")), body, query)
            budget.outcomes[status] += 1

    budget.spend(send)
    print(budget.outcomes)
    assert set(budget.outcomes) >= {200, 400, 404, 422}, budget.outcomes
    assert target.plane.started == []


def test_requests_that_are_not_http_or_hardly_so_do_no_harm(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)
    token = target.caller.token.encode()
    methods = st.sampled_from([b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PRI", b"CONNECT"])
    paths = st.sampled_from([b"/", b"/api/v1/user/me", b"//x", b"*", b"http://x/api/v1/user"]) | st.binary(max_size=30)
    names = st.sampled_from([b"host", b"content-length", b"transfer-encoding", b"authorization", b"expect", b"upgrade"])
    values = st.sampled_from([b"[", b"x/y?z", b"-1", b"99999999999999999999", b"chunked", b"100-continue", b"h2c"])
    headers = st.lists(st.tuples(names | st.binary(max_size=8), values | st.binary(max_size=30)), max_size=4)

    def request(method: bytes, path: bytes, host: bytes, pairs: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        fixed = [(b"host", host), (b"authorization", b"Bearer " + token), (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % pair for pair in [*fixed, *pairs])
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, path, lines, body)

    frames = st.builds(
        frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=40)
    )
    hosts = st.sampled_from([b"127.0.0.1", b"[", b"x/y?z", b"x@y:z", b""])
    http1 = st.builds(request, methods, paths, hosts, st.just([]) | headers, st.just(b"") | st.binary(max_size=40))
    http2 = st.lists(frames, max_size=6).map(b"".join).map(PREFACE.__add__)
    ports = st.sampled_from([target.port] * 4 + [target.token_port, port_of(target.plane.dev)])

    @repeatable
    @given(ports, http1 | http2 | st.binary(max_size=100))
    def send(port: int, sent: bytes) -> None:
        with budget:
            received = exchange(port, sent, SECONDS)
            assert not received.startswith(b"HTTP/1.1 5"), received
            budget.outcomes[received[9:12] if received.startswith(b"HTTP") else bool(received)] += 1

    budget.spend(send)
    print(budget.outcomes)
    assert set(budget.outcomes) >= {b"400", b"404", True, False}, budget.outcomes


def test_forms_of_any_kind_get_no_token_without_the_secret(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)
    account = target.caller.account
    right = {"grant_type": "password", "username": f"{account.id}@sa.cloud.pola.rs", "password": account.secret}
    fields = {name: st.sampled_from([value, value[:-1], value * 2, ""]) | TEXT for name, value in right.items()}
    forms = st.fixed_dictionaries({}, optional=fields | {"client_id": TEXT}) | st.just(right)
    trust = ssl.create_default_context(cafile=str(target.plane.authority))
    url = f"https://127.0.0.1:{target.token_port}"

    with httpx.Client(verify=trust, trust_env=False, timeout=SECONDS) as client:

        @repeatable
        @given(
            forms, st.binary(max_size=50), st.sampled_from([TOKEN_PATH] * 5 + ["/", TOKEN_PATH + "/"]), st.booleans()
        )
        def send(form: dict[str, str], junk: bytes, path: str, as_form: bool) -> None:
            with budget:
                content: dict[str, Any] = {"data": form} if as_form else {"content": junk}
                answer = client.post(url + path, **content)
                assert answer.status_code < 500
                assert (answer.status_code == 200) == (as_form and path == TOKEN_PATH and form.items() >= right.items())
                budget.outcomes[answer.status_code] += 1

        budget.spend(send)
    print(budget.outcomes)
    assert set(budget.outcomes) >= {200, 400, 401, 404}, budget.outcomes


def test_anything_at_all_sent_to_proxy_mode_is_answered(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)
    instance_id = target.caller.start(mode="Proxy")
    kinds: dict[str, Any] = {"SubmitQuery": wire.SubmitQueryRequest, "GetQueryResult": compute_wire.QueryRequest}
    clean = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNAUTHENTICATED"}
    authorized = st.sampled_from([f"Bearer {target.caller.token}"] * 5 + ["Bearer x.y.z", "", "Bearer " + "." * 5000])

    with grpc.insecure_channel(f"127.0.0.1:{target.port}") as channel:

        @repeatable
        @given(st.data(), st.sampled_from(sorted(kinds)), authorized, st.binary(max_size=200), st.booleans())
        def send(data: st.DataObject, method: str, header: str, junk: bytes, as_bytes: bool) -> None:
            message = data.draw(messages(kinds[method].DESCRIPTOR))
            if method == "SubmitQuery" and data.draw(st.booleans()):
                message.compute_id.compute_id = instance_id
            with budget:
                sent = junk if as_bytes else message.SerializeToString()
                call: Any = channel.unary_unary(SERVICE + method)
                answered = call.future(sent, metadata=[("authorization", header)], timeout=SECONDS)
                outcome = answered.code().name
                assert outcome in clean, f"{method}: {outcome} {answered.details()}"
                budget.outcomes[outcome] += 1

        budget.spend(send)
    print(budget.outcomes)
    assert set(budget.outcomes) >= {"INVALID_ARGUMENT", "NOT_FOUND", "UNAUTHENTICATED"}, budget.outcomes


def test_dev_takes_anything_too(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)
    paths = [
        "/_dev/status",
        "/_dev/instances",
        "/_dev/records",
        "/_dev/faults",
        "/_dev/failing-starts",
        "/_dev/nothing",
    ]
    paths += ["/_dev/instances/x/die", "/instances/x/_dev/status", "/instances/x/_dev/restart"]
    since = NUMBERS.map(str) | TEXT

    with httpx.Client(base_url=target.plane.dev, trust_env=False, timeout=SECONDS) as client:

        @repeatable
        @given(st.sampled_from(["GET", "POST", "DELETE"]), st.sampled_from(paths), since, JUNK.map(json.dumps) | TEXT)
        def send(method: str, path: str, given_since: str, body: str) -> None:
            with budget:
                answer = client.request(method, path, params={"since": given_since}, content=body.encode())
                assert answer.status_code < 500, f"{method} {path}: {answer.text}"
                budget.outcomes[answer.status_code] += 1

        budget.spend(send)
    print(budget.outcomes)
    assert set(budget.outcomes) >= {200, 400, 404, 405}, budget.outcomes
