"""What the commands of ``airflow polars`` do. What they print is for people, and has no secret in it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.cli.simple_table import AirflowConsole
from airflow.utils.cli import action_cli
from rich.markup import escape

from airflow_provider_polars.cli import database, places
from airflow_provider_polars.cli import queries as listing
from airflow_provider_polars.compute_sweep import Sweep, describe
from airflow_provider_polars.exceptions import ConfigurationError, PolarsProviderError
from airflow_provider_polars.hooks import settings

STOP_SECONDS = 600.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a command prints.

    :param columns: what is shown of each row, in this order.
    :param then: called once it is printed; what it raises ends the command with status 1.
    """

    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[str]
    then: Callable[[], None] = lambda: None


def _command(work: Callable[[Any], Answer]) -> Callable[[Any], None]:
    """Print what ``work`` answers as ``--output`` asks for; errors of ours end the command with status 1."""

    @functools.wraps(work)
    def run(args: Any) -> None:
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = (
            "server"  # connections of the database count, as for airflow connections
        )
        try:
            with contextlib.redirect_stdout(sys.stderr):  # logs of hooks would be among the rows
                answer = work(args)
            _print(answer, args.output)
            answer.then()
        except PolarsProviderError as error:
            raise SystemExit(str(error)) from None

    logged: Any = action_cli(check_db=False)  # type: ignore[no-untyped-call]
    return logged(run)  # type: ignore[no-any-return]


@_command
def check_connection(args: Any) -> Answer:
    """Check a connection as its Test button does."""
    hook = places.hook_of(args.conn_id)
    good, message = hook.test_connection()
    if not good:
        raise ConfigurationError(f"The connection {args.conn_id!r} is of no use here: {message}")
    return Answer([{"conn_id": args.conn_id, "status": "good", "message": message}], ("conn_id", "status", "message"))


@_command
def computes(args: Any) -> Answer:
    """List the computes that live."""
    price = settings.vcpu_hour_price()
    with contextlib.closing(places.manager_of(args.conn_id)) as manager:
        rows = [
            describe(found, price) | {"ours": found.handle is not None, "mark": found.status.name}
            for found in manager.found()
        ]
    columns = ("compute_id", "state", "age_minutes", "vcpus", "ours", "mark", "dag_id", "run_id", "task_id")
    return Answer(rows, (*columns, *_cost(price)))


@_command
def queries(args: Any) -> Answer:
    """List queries."""
    if args.limit < 1:
        raise ConfigurationError(f"--limit must be 1 or more, got {args.limit}.")
    return Answer(listing.listed(args.conn_id, args.compute_id, args.limit), listing.COLUMNS)


@_command
def cancel(args: Any) -> Answer:
    """Cancel a query and confirm it by its status."""
    before, now = listing.cancelled(args.query_id, args.conn_id, args.compute_id)
    row = {"query_id": args.query_id, "before": before.value, "now": now.value}
    return Answer([row], tuple(row))


@_command
def sweep(args: Any) -> Answer:
    """Stop what nobody stops any more."""
    if args.max_lifetime is not None and not args.max_lifetime > 0:
        raise ConfigurationError(f"--max-lifetime must be a number of hours above zero, got {args.max_lifetime:g}.")
    work = Sweep(
        is_active=database.is_active,
        timeout=STOP_SECONDS,
        lifetime=args.max_lifetime,
        price=settings.known_vcpu_hour_price(),
        report_only=args.dry_run,
    )
    with contextlib.closing(places.manager_of(args.conn_id)) as manager:
        report = work.run(manager, _log)
    places_of = {"would be stopped" if args.dry_run else "stopped": report.stopped, "kept": report.kept}
    rows = [
        {"what": what, **row} for what, found in (places_of | {"not ours": report.not_ours}).items() for row in found
    ]
    columns = ("what", "compute_id", "state", "age_minutes", "vcpus", "dag_id", "run_id", "why")
    return Answer(rows, (*columns, *_cost(work.price)), report.check)


def _cost(price: float | None) -> tuple[str, ...]:
    return ("cost_at_most",) if price is not None else ()


def _print(answer: Answer, output: str) -> None:
    def shown(value: Any) -> Any:
        if output == "table":
            return escape("" if value is None else str(value))
        return "" if value is None and output == "plain" else value

    rows = [{name: shown(row.get(name)) for name in answer.columns} for row in answer.rows]
    console = AirflowConsole()
    typed: dict[str, Callable[[Any], None]] = {"json": console.print_as_json, "yaml": console.print_as_yaml}
    if output in typed:  # where print_as would make a text of each value
        typed[output](rows)
    else:
        console.print_as(rows, output)
