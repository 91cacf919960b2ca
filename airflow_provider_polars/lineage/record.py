"""What is known of the lineage of one task: plain data, made while the task runs, told when it has ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from airflow_provider_polars.backends.base import Output, Run, RunState
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.lifecycle import Lifecycle
from airflow_provider_polars.query.datasets import Dataset, datasets, result_datasets
from airflow_provider_polars.query.result import ResultRef, is_result
from airflow_provider_polars.query.sinks import FileSink, Sink


@dataclasses.dataclass(frozen=True)
class QueryTold:
    """One query of a task.

    :param state: as far as the task knows it.
    :param link: where people can look at it, "" for nowhere.
    """

    query_id: str
    output: str
    state: str
    link: str = ""


@dataclasses.dataclass(frozen=True)
class Written:
    """A data set that a task writes.

    :param result: what was written; None where that is not known (yet), or is not all of it.
    :param appended: whether the result counts more than what the task has written.
    """

    dataset: Dataset
    result: ResultRef | None = None
    appended: bool = False


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The lineage of one try of a task.

    :param compute: kind of the compute, "" if it is not known.
    :param compute_id: of an instance of Polars Cloud, "" for any other.
    :param engine: of the queries, "" if it is not known.
    """

    inputs: Sequence[Dataset] = ()
    outputs: Sequence[Written] = ()
    queries: Sequence[QueryTold] = ()
    compute: str = ""
    compute_id: str = ""
    engine: str = ""

    @classmethod
    def of_compute(cls, compute: Compute) -> Lineage:
        """Return the lineage of a task that starts or stops a compute."""
        return cls(compute=compute.kind, compute_id=_id(compute))


def expected(arguments: Any, tables: Mapping[str, Any] | None, sinks: Mapping[str, Sink | None]) -> Lineage:
    """Return what the arguments of a task tell before it runs; nothing is looked up.

    :param arguments: of its function, upstream results among them at any depth.
    :param tables: of its SQL: results, paths or URLs.
    """
    named = [place for place in (tables or {}).values() if isinstance(place, str)]
    inputs = _upstream([arguments, dict(tables or {})])
    inputs += [dataset for place in named for dataset in datasets("files", [place])]
    outputs = [Written(dataset) for sink in sinks.values() if sink is not None for dataset in sink_datasets(sink)]
    return Lineage(tuple(dict.fromkeys(inputs)), outputs)


def found(
    lifecycle: Lifecycle, outputs: Sequence[Output], engine: str | None, results: Mapping[str, ResultRef]
) -> Lineage:
    """Return what is known of the queries that a task has submitted or taken over.

    :param outputs: of the task.
    :param engine: that the task asks for; None for that of the compute.
    :param results: of the queries that have ended well, by output.
    """
    backend, sinks = lifecycle.backend, {output.name: output.sink for output in outputs}
    known = [
        _Known(run, lifecycle.state(run), backend.inputs(run), sinks.get(run.output), results.get(run.output))
        for run in lifecycle.runs
    ]
    return _of_queries(known, backend.compute, engine or str(getattr(backend.compute, "engine", "")))


def waited_for(states: Iterable[tuple[Run, RunState]], results: Mapping[str, ResultRef]) -> Lineage:
    """Return what is known of queries that another task has submitted; its Runs say what they read and where to.

    :param results: of those that have ended well, by the id of the query.
    """
    known = {
        run.query_id: _Known(
            run,
            state,
            run.details.get("inputs", []),
            Sink.from_dict(run.details["sink"]) if run.details.get("sink") else None,
            results.get(run.query_id),
        )
        for run, state in states
    }
    queries = list(known.values())
    return _of_queries(queries, Compute.from_dict(queries[0].run.compute), engine="")


def sink_datasets(sink: Sink) -> list[Dataset]:
    """Return the data set that a sink writes."""
    return datasets("files" if isinstance(sink, FileSink) else sink.kind, [sink.target])


class _Known(NamedTuple):
    run: Run
    state: RunState
    inputs: Sequence[Sequence[str]]
    sink: Sink | None
    result: ResultRef | None


def _of_queries(known: Sequence[_Known], compute: Compute, engine: str) -> Lineage:
    inputs = [(kind, place) for each in known for kind, place in each.inputs]
    return Lineage(
        inputs=tuple(dict.fromkeys(inputs)),
        outputs=[written for each in known for written in _written(each.sink, each.result)],
        queries=[QueryTold(each.run.query_id, each.run.output, each.state.value, each.run.link) for each in known],
        compute=compute.kind,
        compute_id=_id(compute),
        engine=engine,
    )


def _id(compute: Compute) -> str:
    return str(getattr(compute, "compute_id", None) or "")


def _written(sink: Sink | None, result: ResultRef | None) -> list[Written]:
    places = sink_datasets(sink) if sink else result_datasets(result) if result else []
    appended = getattr(sink, "mode", None) == "append"
    return [Written(place, result if len(places) == 1 else None, appended) for place in places]


def _upstream(value: Any) -> list[Dataset]:
    """Return the data sets of the results in ``value``; outputs of mapped tasks, which would be asked for, are not."""
    if is_result(value):
        is_whole = isinstance(value.get("locations"), list) and isinstance(value.get("format"), str)
        return result_datasets(value) if is_whole else []
    if isinstance(value, Mapping):
        return [dataset for item in value.values() for dataset in _upstream(item)]
    if isinstance(value, list | tuple):
        return [dataset for item in value for dataset in _upstream(item)]
    return []
