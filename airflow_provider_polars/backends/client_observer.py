"""Sees every query that the client submits in this process, whoever asks it to."""

from __future__ import annotations

import contextlib
import contextvars
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from airflow_provider_polars.backends.client_waiting import Replacement, Waiting, waits
from airflow_provider_polars.backends.plans import unsendable
from airflow_provider_polars.backends.polars_client import PolarsClient
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.probe import probe
from airflow_provider_polars.exceptions import PlanError, QueryDefinitionError
from airflow_provider_polars.labels import MAX_LABELS

SENT_BY = "polars_cluster"
"""Attribute of exceptions that the client raises for what a cluster has sent: its address, "" for the compute's own."""

_used_uri: contextvars.ContextVar[str] = contextvars.ContextVar("used_uri", default="")
"""Address of the cluster that this thread calls, "" for that of the compute."""


class Observer(Waiting, Protocol):
    """Is told of submissions.

    :ivar handed_over: set once the client has a plan to submit.
    """

    handed_over: bool

    def before(self) -> None:
        """Raise what speaks against any further submission."""

    def connecting(self, access: ClusterAccess) -> None:
        """Raise what speaks against a context of another cluster."""

    def planned(self, plan: bytes) -> None:
        """Take notice of the plan of what this thread is about to submit."""

    def submitted(self, query_id: str, access: ClusterAccess | None) -> None:
        """Take notice of a query, the moment its id exists; ``access`` is None for the cluster of the compute."""


@contextlib.contextmanager
def observed(
    client: PolarsClient,
    context: Any,
    observer: Observer,
    *,
    query: str,
    labels: Sequence[str] = (),
    max_plan_bytes: int,
) -> Iterator[None]:
    """Tell ``observer`` of every query that is submitted within the block, and make ``context`` the default there.

    Plans are measured before they are sent, no credential provider is put into them by default, and a handle waits by
    way of the observer. A query that is planned only (``explain``) is none.

    :param query: name of the task's query, for messages.
    :param labels: of every query, before those that it is given.
    :raises PlanError: within the block, for a plan that is too large or cannot be serialised.
    :raises QueryDefinitionError: within the block, for a context that would start instances, or was made outside.
    """
    import polars as pl

    contexts = _Contexts(context)
    with contextlib.ExitStack() as stack:
        for target, name, value in (
            *_submissions(client, observer, contexts, query, max_plan_bytes),
            *_connections(client, observer, contexts, query, labels),
            *_instances(client, contexts, query, labels),
            *waits(client, observer, contexts.use),
            (client.part("context.cache"), "cached_context", context),
            *_sinks(),
        ):
            stack.callback(setattr, target, name, getattr(target, name))
            setattr(target, name, value)
        stack.callback(pl.Config.set_default_credential_provider, _default_credential_provider())
        pl.Config.set_default_credential_provider(None)
        yield


class _Contexts:
    """The contexts that may be submitted on, and where they lead.

    :param default: that of the compute.
    """

    def __init__(self, default: Any) -> None:
        self._known: dict[int, tuple[Any, ClusterAccess | None]] = {id(default): (default, None)}
        _used_uri.set("")

    def add(self, context: Any, access: ClusterAccess) -> None:
        """Know a further context."""
        self._known[id(context)] = (context, access)

    def __contains__(self, context: Any) -> bool:
        return id(context) in self._known

    def compute_ids(self) -> list[Any]:
        """Return the ids of the instances among them."""
        return [context._compute_id for context, access in self._known.values() if access is None]

    def access(self, context: Any) -> ClusterAccess | None:
        """Return where a context leads, None for the cluster of the compute."""
        return self._known.get(id(context), (context, None))[1]

    def use(self, context: Any) -> None:
        """Note that this thread calls a cluster now."""
        access = self.access(context)
        _used_uri.set(access.uri if access else "")


def _submissions(
    client: PolarsClient, observer: Observer, contexts: _Contexts, query: str, max_plan_bytes: int
) -> list[Replacement]:
    queries, direct, proxy = client.part("query.query"), client.module.DirectQuery, client.module.ProxyQuery
    prepare, thread = queries.prepare_query, threading.local()

    def prepare_query(*args: Any, **options: Any) -> Any:
        observer.before()
        thread.planned_only = options.get("execute_until", "execute") != "execute"
        try:
            prepared = prepare(*args, **options)
        except ValueError as error:
            if "invalid cloud plan" in str(error):
                raise unsendable(args[0] if args else options["lf"], error, query) from error
            raise
        if len(prepared[0]) > max_plan_bytes:
            raise PlanError(
                f"The plan of the query {query} is {len(prepared[0]) / 1e6:.1f} MB, more than max_plan_mb="
                f"{max_plan_bytes / 1e6:g} of its compute. Rows of frames in memory are part of the plan: write "
                "them to a file or an object store and scan them there."
            )
        if not thread.planned_only:
            observer.planned(prepared[0])
            observer.handed_over = True
        return prepared

    def direct_query(query_id: Any, scheduler: Any, on: Any) -> Any:
        handle = direct(query_id, scheduler, on)
        if not thread.planned_only:
            observer.submitted(str(query_id), contexts.access(on))
        return handle

    def proxy_query(query_id: Any, *args: Any, **options: Any) -> Any:
        observer.submitted(str(query_id), None)
        return proxy(query_id, *args, **options)

    return [
        (queries, "prepare_query", prepare_query),
        (queries, "DirectQuery", direct_query),
        (queries, "ProxyQuery", proxy_query),
    ]


def _connections(
    client: PolarsClient, observer: Observer, contexts: _Contexts, query: str, labels: Sequence[str]
) -> list[Replacement]:
    clusters = client.module.ClusterContext
    connect, connection = clusters.__init__, clusters._get_direct_client
    queries, results = client.part("query.query"), client.part("query.query_result")
    decode = queries.decode_error

    def decode_error(encoded: str) -> Exception:
        error = decode(encoded)
        error = error if isinstance(error, Exception) else RuntimeError(encoded)
        setattr(error, SENT_BY, _used_uri.get())
        return error

    def cluster_context(self: Any, *args: Any, **options: Any) -> None:
        access = client.access_of(inspect.signature(connect).bind(self, *args, **options).arguments)
        observer.connecting(access)
        probe(access)
        connect(self, *args, **options)
        contexts.add(self, access)

    def direct_client(self: Any) -> Any:
        if self not in contexts:
            raise _stray(query)
        contexts.use(self)
        return _Labelling(connection(self), labels)

    return [
        (clusters, "__init__", cluster_context),
        (clusters, "_get_direct_client", direct_client),
        (queries, "decode_error", decode_error),
        (results, "decode_error", decode_error),
    ]


def _instances(client: PolarsClient, contexts: _Contexts, query: str, labels: Sequence[str]) -> Iterator[Replacement]:
    """Yield what lets through queries on the instance of the compute, if it is one, and starts no other."""
    instances, constants = client.module.ComputeContext, client.part("constants")
    connection = instances._get_direct_client

    def refuse(self: Any, *args: Any, **options: Any) -> None:
        raise QueryDefinitionError(
            f"The query {query} makes or starts a ComputeContext, an instance that nobody would stop. Use the default "
            "context, .remote(), which is the task's compute; polars_compute() starts instances, and stops them."
        )

    def direct_client(self: Any) -> Any:
        if self not in contexts:
            raise _stray(query)
        contexts.use(self)
        found = connection(self)
        return found if found is None else _Labelling(found, labels)

    yield from ((instances, name, refuse) for name in ("__init__", "start"))
    yield instances, "_get_direct_client", direct_client
    yield constants, "API_CLIENT", _Proxying(constants.API_CLIENT, client, contexts, query, labels)


def _sinks() -> Iterator[Replacement]:
    """Yield where Polars refuses a sink that is a directory of this machine: a cluster writes more files into it."""
    from polars._utils.various import normalize_filepath

    def sink_path(path: Any, **options: Any) -> Any:
        return str(path) if str(path).endswith("/") else normalize_filepath(path, **options)

    for name in ("sink_plan", "engine", "frame"):
        if importlib.util.find_spec(f"polars.lazyframe.{name}") is not None:
            module = importlib.import_module(f"polars.lazyframe.{name}")
            if hasattr(module, "_to_sink_target"):
                yield module, "normalize_filepath", sink_path


def _stray(query: str) -> QueryDefinitionError:
    return QueryDefinitionError(
        f"The query {query} submits on a context that was made outside of its function. Make the ClusterContext "
        "inside, or use the default one: .remote()."
    )


class _Labelling:
    """A connection of the client that labels what it submits, and is the connection for all else."""

    def __init__(self, connection: Any, labels: Sequence[str]) -> None:
        self._connection = connection
        self._labels = labels

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def do_query(self, **request: Any) -> Any:
        """Submit a query."""
        if self._labels:
            request["labels"] = _labelled(request.get("labels"), self._labels)
        return self._connection.do_query(**request)


class _Proxying:
    """The client's connection to Polars Cloud: it labels what it submits, and submits to the compute alone."""

    def __init__(self, api: Any, client: PolarsClient, contexts: _Contexts, query: str, labels: Sequence[str]) -> None:
        self._api = api
        self._client = client
        self._contexts = contexts
        self._query = query
        self._labels = labels

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def submit_query(self, compute_id: Any, plan: Any, settings: Any, labels: Any, *lineage: Any) -> Any:
        """Submit a query in proxy mode."""
        if compute_id not in self._contexts.compute_ids():
            raise _stray(self._query)
        try:
            labels = _labelled(labels, self._labels) if self._labels else labels
            return self._api.submit_query(compute_id, plan, settings, labels, *lineage)
        except Exception as error:
            if type(error).__name__ != "EncodedPolarsError":
                raise
            raise self._client.part("query.query").decode_error(str(error)) from None


def _labelled(given: Sequence[str] | None, labels: Sequence[str]) -> list[str]:
    """Return the labels of a query: those of the task, as far as there is room, and then its own."""
    own = list(given or ())
    further = [label for label in labels if label not in own]
    return [*further[: MAX_LABELS - len(own)], *own]


def _default_credential_provider() -> Any:
    """Return what Polars has no public way to ask for."""
    module = sys.modules.get("polars.io.cloud.credential_provider._builder")
    return getattr(module, "DEFAULT_CREDENTIAL_PROVIDER", "auto")


def handle_id(value: Any) -> str | None:
    """Return the id of the query that a handle or a result of the client is of, None for anything else."""
    for path in ("_query_id", "finished_task_info.id"):
        found = value
        for name in path.split("."):
            found = getattr(found, name, None)
        if found is not None and type(value).__module__.split(".")[0].startswith("polars_"):
            return str(found)
    return None


Replace = Callable[[str], Any]


def replace_handles(value: Any, replace: Replace) -> Any:
    """Return ``value`` with ``replace(id)`` for each handle in it, at any depth of lists, tuples and dicts."""
    if (query_id := handle_id(value)) is not None:
        return replace(query_id)
    if isinstance(value, dict):
        return {key: replace_handles(item, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_handles(item, replace) for item in value]
    return value
