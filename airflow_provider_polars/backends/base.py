"""The protocol that every backend implements, and the handles that it deals in."""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.query.options import QueryOptions
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import Sink
from airflow_provider_polars.query.source import Query

C = TypeVar("C", bound=Compute)


class RunState(str, enum.Enum):
    """State of a submitted query. ``LOST`` means that nobody can tell any more."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_terminal(self) -> bool:
        """Whether it will not change any more."""
        return self not in (RunState.QUEUED, RunState.RUNNING)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One submitted query: a small JSON handle that any process can pick up.

    :param query_id: the id the compute knows it by.
    :param output: name of the output it writes; ``return_value`` for a single one.
    :param compute: what it runs on, as :meth:`Compute.to_dict` writes it.
    :param submitted_at: epoch seconds.
    :param details: what the backend needs to find it again; JSON, no secrets.
    :param adoptable: whether a later try may take it over; False for a query that the task's function submitted by
        itself, since the function has to run again.
    :param link: where people can look at it, "" for nowhere.
    """

    query_id: str
    output: str
    compute: dict[str, Any]
    submitted_at: float
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    adoptable: bool = True
    link: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the handle as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Run:
        """Return the handle that :meth:`to_dict` wrote."""
        return cls(**data)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What is known of a Run now.

    :param error: why it failed, for ``FAILED``, ``CANCELLED`` and ``LOST``.
    :param progress: a short text for people, where the compute tells.
    """

    state: RunState
    error: Exception | None = None
    progress: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """One result to write: a sink, and what the hook resolved for it.

    :param name: key of the output; ``return_value`` for a single one.
    :param sink: None where the compute itself keeps results that nobody named a place for.
    :param mark: identifies run, task, map index and output over all tries: hex text.
    :param storage_options: credentials for the sink; never shown, never stored.
    """

    name: str
    sink: Sink | None
    mark: str
    storage_options: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParentRun:
    """The run of the task that submits, as OpenLineage knows it.

    :param namespace: of its job.
    :param job: its name.
    :param run_id: a UUID.
    """

    namespace: str
    job: str
    run_id: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submission:
    """All that one task submits: a query, its outputs, its options.

    :param single: the query returns one bare LazyFrame rather than a dict of them.
    :param labels: that name the DAG, task and run, for a compute that labels its queries by itself.
    :param finds_inputs: whether :meth:`Backend.inputs` is to tell what the queries read.
    :param parent_run: for a compute that emits lineage of its queries by itself; None to tell it of none.
    """

    query: Query
    outputs: tuple[Output, ...]
    options: QueryOptions
    single: bool = True
    labels: tuple[str, ...] = ()
    finds_inputs: bool = False
    parent_run: ParentRun | None = None


@dataclasses.dataclass(frozen=True)
class Handle:
    """Stands for the query that writes ``output``."""

    output: str


class Backend(abc.ABC, Generic[C]):
    """Runs queries on one kind of compute, which runs already.

    Every method raises only errors of :mod:`airflow_provider_polars.exceptions`, but for what the query's
    own function raises while :meth:`submit` calls it.

    :cvar after_failure: what became of the outputs without error when others of the same task failed, as words.
    :cvar outlives_task: whether a query may run on when the process that has submitted it is lost.
    :ivar ends_at: when the compute is to end whatever runs, in epoch seconds; None for never.
    """

    after_failure: ClassVar[str] = "what has succeeded stays in its place"
    outlives_task: ClassVar[bool] = False
    ends_at: float | None = None

    def __init__(self, compute: C) -> None:
        self.compute = compute

    @abc.abstractmethod
    def submit(self, submission: Submission, keep: Callable[[Run], None]) -> None:
        """Build the query and submit it; call ``keep`` with each Run the moment it exists.

        :raises QueryDefinitionError: if the query cannot be built.
        :raises RefusedOptionError: if the Polars of the compute does not know an option.
        :raises SinkWriteError: if a target cannot be written.
        """

    def interrupt(self) -> None:
        """Make a :meth:`submit` that is under way end soon, where that can be. For signal handlers."""

    @abc.abstractmethod
    def poll(self, run: Run) -> RunStatus:
        """Return the state of a Run now; ``LOST`` if it cannot be found."""

    def unkept(self, submission: Submission, since: float) -> list[Run]:
        """Return queries that a lost try may have submitted and not kept; none where nobody can tell.

        :param since: before which it had not submitted, in epoch seconds.
        """
        return []

    def is_ours(self, run: Run, result: ResultRef) -> bool:
        """Return whether a query that :meth:`unkept` has found was the right one, now that it has succeeded."""
        return True

    @property
    def handed_over(self) -> bool:
        """Whether a plan has left for the compute: a query may run then, whatever error :meth:`submit` raises."""
        return False

    @property
    def place(self) -> str:
        """Which compute this is of all that may be asked about a Run, without secrets; "" where Runs do not outlive
        their process.
        """
        return ""

    def where(self, run: Run | None = None) -> str:
        """Return what a Run, or any, runs on as people call it, with what is known of it by now; nothing is asked."""
        return repr(self.compute)

    def progress(self, run: Run) -> str:
        """Return how far a Run has come, as words; "" where nobody tells. It may take two seconds."""
        return ""

    @abc.abstractmethod
    def watch(self, runs: Sequence[Run], seconds: float) -> None:
        """Return when all of ``runs`` are terminal, or after ``seconds``, whichever is first. Signals interrupt it."""

    @abc.abstractmethod
    def cancel(self, runs: Sequence[Run]) -> None:
        """Ask for the end of all of ``runs``; harmless for one that has ended. Takes 3 seconds at most and
        raises nothing.
        """

    @abc.abstractmethod
    def result(self, run: Run) -> ResultRef:
        """Put the result of a succeeded Run into place and return its reference.

        :raises SinkWriteError: if it cannot be put into place.
        """

    def inputs(self, run: Run) -> list[list[str]]:
        """Return the data sets that a Run reads, see :mod:`..query.datasets`, if the submission was to find them."""
        return list(run.details.get("inputs", []))

    def returned(self) -> Any:
        """Return what a function gave that submits by itself, its handles as :class:`Handle`; None for any other."""
        return None

    def close(self) -> None:
        """Release what this process holds for the Runs it submitted."""
