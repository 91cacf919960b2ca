"""One submission to a cluster: from the function of a query to the ids of what it runs as."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow_provider_polars.backends import remote_sinks
from airflow_provider_polars.backends.base import Handle, Output, Run, Submission
from airflow_provider_polars.backends.client_observer import SENT_BY, observed, replace_handles
from airflow_provider_polars.backends.errors import translate_exception
from airflow_provider_polars.backends.execution import call_in_background
from airflow_provider_polars.backends.plan_secrets import PlanSecrets
from airflow_provider_polars.backends.polars_client import PolarsClient
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.observatory import query_url
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import (
    ConfigurationError,
    QueryCancelledError,
    QueryDefinitionError,
    QueryTimeoutError,
    RefusedOptionError,
)
from airflow_provider_polars.query.datasets import all_inputs
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import Sink
from airflow_provider_polars.query.source import Input, SqlSource, map_inputs

OPTIONS_OF_FRAMES = ("engine", "distributed", "priority", "n_retries")
"""Options of a task that do nothing for queries which its function submits by itself."""

WAIT_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where queries go to.

    :param access: gives how to reach the cluster, or what stands between it and us.
    :param context: gives the context of the client that leads there, within a block.
    :param link: gives the page of a query by its id.
    :param max_plan_bytes: that a plan may have there, whatever the compute allows.
    """

    access: Callable[[], ClusterAccess]
    context: Callable[[PolarsClient], contextlib.AbstractContextManager[Any]]
    link: Callable[[str], str]
    max_plan_bytes: int = sys.maxsize


class ClusterSubmission:
    """A submission under way. It observes the client: queries of the task's outputs are known before they are
    submitted, and any other is one that the function submits by itself.

    :param target: where queries go to.
    :param scaling: ``auto``, ``distributed`` or ``single-node``, for queries that do not say.
    :param keep: called with each Run the moment it exists.
    :param has_ended: waits for a Run for some seconds at most and says whether it has ended, or raises; for functions
        that wait themselves.
    :param interrupted: set once the task is killed.
    :ivar returned: what the function gave, if it submitted by itself, its handles as :class:`Handle`.
    :ivar elsewhere: access to other clusters that the function named, by address.
    :ivar handed_over: whether the client has had a plan to submit.
    """

    def __init__(
        self,
        compute: RemoteCompute,
        target: Target,
        submission: Submission,
        *,
        scaling: str,
        keep: Callable[[Run], None],
        has_ended: Callable[[Run, float], bool],
        interrupted: threading.Event,
    ) -> None:
        self.compute = compute
        self.target = target
        self.submission = submission
        self.returned: Any = None
        self.handed_over = False
        self.elsewhere: dict[str, ClusterAccess] = {}
        self._secrets = PlanSecrets(compute, target.access)
        self._keep = keep
        self._has_ended = has_ended
        self._interrupted = interrupted
        self._engine = submission.options.engine or str(compute.engine)
        self._asked = bool(submission.options.distributed)
        self._settings = self._scaled(scaling)
        own = submission.labels if compute.airflow_labels else ()
        self._labels = tuple(dict.fromkeys((*own, *(submission.options.labels or ()))))
        self._output: Output | None = None
        self._by_itself: dict[str, Run] = {}
        self._lock = threading.Lock()
        self._plans = threading.local()
        self._thread = threading.get_ident()

    @property
    def access(self) -> ClusterAccess:
        """How to reach the cluster of the compute."""
        return self.target.access()

    def check(self, client: PolarsClient) -> None:
        """Refuse what the installed client cannot do, before anything is connected or called."""
        client.check_options(self.submission.options, self._engine, self._settings)
        if self.submission.parent_run and not client.has_lineage:
            _log.info("%s %s is too old to tell a cluster of the run of the task", client.name, client.version)
        for output in self.submission.outputs:
            if output.sink is not None:
                client.check_sink(output.sink)
                self._as_single_file(output)
                self._storage(output.sink, output.storage_options)

    def run(self, client: PolarsClient, connected: Callable[[], None]) -> None:
        """Call the function, and submit what it returns unless it has submitted all by itself.

        :param connected: called once the client has connected; raises what speaks against sending anything there.
        """
        from airflow_provider_polars import runner

        query = self.submission.query
        with self._translated(), self.target.context(client) as context:
            connected()
            limit = min(int(self.compute.max_plan_mb * 1e6), self.target.max_plan_bytes)
            labels = client.labels(self._labels)
            with observed(client, context, self, query=repr(query.source), labels=labels, max_plan_bytes=limit):
                function = query.source.load()
                args, kwargs = map_inputs((query.args, dict(query.kwargs)), self._input_as_frame)
                value = function(*args, **kwargs)
                if self._by_itself and not self._is_of_outputs(value):
                    self._refuse_unused()
                    self.returned = self._with_handles(value)
                    return
                names = [output.name for output in self.submission.outputs]
                frames = runner.frames(value, names, self.submission.single)
                for output in self.submission.outputs:
                    self._submit(client, context, frames[output.name], output)

    def before(self) -> None:
        self._refuse_if_killed()

    def connecting(self, access: ClusterAccess) -> None:
        self._secrets.check_other(access)

    def planned(self, plan: bytes) -> None:
        from airflow_provider_polars import runner

        if self.submission.finds_inputs:
            self._plans.inputs = []
            with contextlib.suppress(Exception):  # no error of lineage keeps a query from being submitted
                self._plans.inputs = all_inputs(self.submission.query, runner.scans(plan))

    def submitted(self, query_id: str, access: ClusterAccess | None) -> None:
        details: dict[str, Any] = {"query": repr(self.submission.query.source), **vars(self._plans)}
        link = self.target.link
        if self.submission.options.head_rows:
            details["head_rows"] = self.submission.options.head_rows
        if access is None or (access.uri, access.headers) == (self.access.uri, self.access.headers):
            access = self.access
        else:
            self.elsewhere[access.uri] = access
            link = functools.partial(query_url, access)
            details["cluster"] = {name: value for name, value in vars(access).items() if value and name != "headers"}
        output = self._output if threading.get_ident() == self._thread else None
        if output is not None and output.sink is not None:
            details["sink"] = output.sink.to_dict()
        with self._lock:
            run = Run(
                query_id=query_id,
                output=output.name if output else f"query_{len(self._by_itself) + 1}",
                compute=self.compute.to_dict(),
                submitted_at=time.time(),
                details=details,
                adoptable=output is not None,
                link=link(query_id),
            )
            if output is None:
                self._by_itself[query_id] = run
            self._keep(run)

    def check_waiting(self, query_id: str) -> None:
        self._refuse_if_killed(query_id)
        if (deadline := self._deadline(query_id)) is not None and time.time() >= deadline:
            raise QueryTimeoutError(
                f"query {query_id} did not end within timeout={self.submission.options.timeout:g} seconds and was "
                "cancelled. Raise timeout=, or make the query smaller."
            )

    def wait(self, query_id: str) -> None:
        run, deadline = self._by_itself.get(query_id), self._deadline(query_id)
        while run is not None:
            left = WAIT_SECONDS if deadline is None else min(WAIT_SECONDS, deadline - time.time())
            if self._has_ended(run, max(left, 0)):
                break
            self.check_waiting(query_id)
        self._refuse_if_killed(query_id)

    def _deadline(self, query_id: str) -> float | None:
        run, timeout = self._by_itself.get(query_id), self.submission.options.timeout
        return run.submitted_at + timeout if run and timeout else None

    def _submit(self, client: PolarsClient, context: Any, frame: Any, output: Output) -> None:
        options, self._output = self.submission.options, output
        given = {"engine": self._engine, "n_retries": options.n_retries, "priority": options.priority}
        remote = remote_sinks.scaled(
            frame,
            context,
            self._settings,
            client.labels(self._labels),
            remote_sinks.lineage(self.submission.parent_run, output.name) if client.has_lineage else {},
            **{name: value for name, value in given.items() if value is not None},
        )
        storage = self._storage(output.sink, output.storage_options) if output.sink else {}
        remote_sinks.write(remote, output.sink, storage, self._as_single_file(output), self._secrets)
        self._output = None

    def _scaled(self, scaling: str) -> dict[str, Any] | None:
        """Return the settings of the distributed query, None for one node."""
        asked = self.submission.options.distributed
        if asked is None:
            alone = scaling == "auto" and os.environ.get("POLARS_CLOUD_SINGLE_NODE") == "1"
            return None if scaling == "single-node" or alone else {}
        return dict(asked) if isinstance(asked, Mapping) else {} if asked else None

    def _as_single_file(self, output: Output) -> bool | None:
        return remote_sinks.single_file(output.sink, self._settings, asked=self._asked)

    def _input_as_frame(self, given: Input) -> Any:
        """Return what the function gets for an upstream result; nothing is read here unless it wants rows."""
        from airflow_provider_polars import runner

        if given.form == "ref":
            return ResultRef(given.ref)
        if given.form == "eager":
            return call_in_background(runner.scan(given.scan, given.storage_options).collect, self._interrupted)
        scan = dict(given.scan)
        if scan["format"] in runner.EXTENSIONS:
            scan["locations"] = [
                file for place in scan["locations"] for file in _files(place, scan["format"], given.storage_options)
            ]
        if scan["format"] == "iceberg":
            remote_sinks.iceberg_table(scan["options"], self._secrets)
        return runner.scan(scan, self._secrets.storage_options(given.storage_options, given.ref.get("conn_id")))

    def _storage(self, sink: Sink, resolved: Mapping[str, str]) -> dict[str, str]:
        return self._secrets.storage_options({**sink.storage_options, **resolved}, sink.aws_conn_id)

    def _refuse_if_killed(self, query_id: str = "") -> None:
        if self._interrupted.is_set():
            rest = f"query {query_id} was cancelled" if query_id else "nothing more is submitted"
            raise QueryCancelledError(f"The task was killed; {rest}.")

    def _refuse_unused(self) -> None:
        """Refuse what counts for a LazyFrame that the function returns, which it has not done."""
        options = self.submission.options
        unused = [f"{name}=" for name in OPTIONS_OF_FRAMES if getattr(options, name) is not None]
        targets = [output.sink.target for output in self.submission.outputs if output.sink is not None]
        if targets:
            unused.insert(0, "sink=")
        if unused:
            nothing = f" Nothing was written to {', '.join(targets)}." if targets else ""
            raise ConfigurationError(
                f"The query {self.submission.query.source!r} submits by itself, and {', '.join(unused)} of the task "
                f"would count for a LazyFrame alone that it returns.{nothing} Give these to its own submissions, or "
                "return the LazyFrame."
            )

    def _is_of_outputs(self, value: Any) -> bool:
        """Whether the function has returned what its outputs are to be written from."""
        if self.submission.single:
            return _is_rows(value)
        return isinstance(value, dict) and any(_is_rows(item) for item in value.values())

    def _with_handles(self, value: Any) -> Any:
        """Return what the function gave, or all its queries if it gave nothing."""
        if value is None:
            handles = [Handle(run.output) for run in self._by_itself.values()]
            return handles[0] if len(handles) == 1 else handles

        for item in _items(value):
            if _is_rows(item):
                raise QueryDefinitionError(
                    f"The query {self.submission.query.source!r} returns a {type(item).__name__} inside of a "
                    f"{type(value).__name__}, and rows do not go from task to task. Return handles of its queries, or "
                    "one LazyFrame."
                )

        def handle(query_id: str) -> Handle:
            if query_id not in self._by_itself:
                raise QueryDefinitionError(
                    f"The query {self.submission.query.source!r} returns a handle of {query_id}, which it has not "
                    "submitted."
                )
            return Handle(self._by_itself[query_id].output)

        return replace_handles(value, handle)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise errors of ours for those of Polars, its client and the cluster; those of the function's own pass."""
        source = self.submission.query.source
        try:
            yield
        except BaseException as error:
            sent_by = getattr(error, SENT_BY, None)
            words: dict[str, Any] = {
                "query": repr(source),
                "engine": self._engine,
                "tables": self.submission.query.kwargs if isinstance(source, SqlSource) else (),
                "cluster": sent_by or self.access.uri,
                "target": self._output.sink.target if self._output and self._output.sink else "",
            }
            if self._output is not None and type(error) in (ValueError, TypeError, OverflowError):
                given = {name: value for name, value in vars(self.submission.options).items() if value is not None}
                raise RefusedOptionError(
                    f"The query {source!r} is refused before it runs: {error}. Check its options: {given or 'none'}."
                ) from error
            submitting = self._output is not None or sent_by is not None
            if (ours := translate_exception(error, submitting=submitting, **words)) is None:
                raise
            if ours is error:
                raise
            raise ours from error


def _is_rows(value: Any) -> bool:
    import polars as pl

    return isinstance(value, pl.LazyFrame | pl.DataFrame | pl.Series)


def _items(value: Any) -> Iterator[Any]:
    """Yield what is in a value at any depth of lists, tuples and dicts."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _items(item)
    else:
        yield value


def _files(location: str, kind: str, storage_options: Mapping[str, str]) -> list[str]:
    """Return what to scan for a location: a folder of an object store as a pattern, unless it can be listed here."""
    from airflow_provider_polars import runner

    if "://" not in location or not location.endswith("/"):
        return [location]
    if storage_options:
        return runner.expand_url(location, kind, storage_options)
    return [f"{location}**/*.{runner.EXTENSIONS[kind]}"]
