"""The commands of ``airflow polars`` as Airflow's parser wants them.

It is read whenever ``airflow`` starts: nothing else of ours is imported here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.cli.cli_config import Arg, CLICommand

_COMMANDS = "airflow_provider_polars.cli.commands"


@functools.cache
def _arguments() -> dict[str, Arg]:
    from airflow.cli import cli_config

    make: Any = cli_config.Arg
    conn_id = "Airflow connection; default: the service account for Polars Cloud that tasks without one find"
    return {
        "output": cli_config.ARG_OUTPUT,
        "verbose": cli_config.ARG_VERBOSE,
        "connection": make(("conn_id",), metavar="CONN_ID", help="Airflow connection to check"),
        "conn_id": make(("--conn-id",), metavar="CONN_ID", help=conn_id),
        "query_id": make(("query_id",), metavar="QUERY_ID", help="id of the query, as task logs and links have it"),
        "compute_id": make(("--compute-id",), metavar="ID", help="only what runs on this instance of Polars Cloud"),
        "on_compute": make(
            ("--compute-id",),
            metavar="ID",
            help="instance of Polars Cloud that runs the query, where neither the workspace nor Airflow knows",
        ),
        "most": make(
            ("--limit",), metavar="N", type=int, default=50, help="rows at most, the newest first (default: 50)"
        ),
        "dry_run": make(("--dry-run",), help="say what would be stopped, and stop nothing", action="store_true"),
        "lifetime": make(
            ("--max-lifetime",),
            metavar="HOURS",
            type=float,
            help="hours after which a compute is stopped whatever its run does; default: what it was started with",
        ),
    }


def get_polars_cli_commands() -> list[CLICommand]:
    """Return the commands."""
    from airflow.cli.cli_config import ActionCommand, GroupCommand

    def command(name: str, words: str, more: str, *arguments: str) -> ActionCommand:
        chosen = [_arguments()[argument] for argument in (*arguments, "output", "verbose")]
        return ActionCommand(name=name, help=words, description=f"{words}. {more}", func=_lazy(name), args=chosen)

    return [
        GroupCommand(
            name="polars",
            help="Look at what runs on Polars clusters and Polars Cloud, and stop it",
            subcommands=(
                command(
                    "check-connection",
                    "Check a connection of type polars, polars_cluster or polars_cloud",
                    "It does what the Test button of the connection form does, where this command runs, and ends with "
                    "status 1 if the connection is of no use.",
                    "connection",
                ),
                command(
                    "computes",
                    "List the computes that live and cost in a workspace",
                    "Those that this Airflow has started have the DAG, run and task they were started for. Where "
                    "the option vcpu_hour_price is set there is what each has cost at most.",
                    "conn_id",
                ),
                command(
                    "queries",
                    "List queries of a workspace, or those of this Airflow on a cluster",
                    "A workspace lists its queries itself. A cluster has no list: there it is the queries of tasks "
                    "of this Airflow that the cluster knows.",
                    *("conn_id", "compute_id", "most"),
                ),
                command(
                    "cancel",
                    "Cancel a query, and wait until it has ended",
                    "It ends with status 1 if the query is not known, or runs on. One that has ended already is fine.",
                    *("query_id", "conn_id", "on_compute"),
                ),
                command(
                    "sweep",
                    "Stop the computes of this Airflow that nobody stops any more",
                    "Those are the computes whose run has ended, and those that live for too long. What this Airflow "
                    "has not started is left alone. PolarsSweepComputeOperator does the same on a schedule.",
                    *("conn_id", "lifetime", "dry_run"),
                ),
            ),
        )
    ]


def _lazy(name: str) -> Callable[..., Any]:
    """Return the function of a command, which is imported when it is called."""
    from airflow.cli.cli_config import lazy_load_command

    return lazy_load_command(f"{_COMMANDS}.{name.replace('-', '_')}")
