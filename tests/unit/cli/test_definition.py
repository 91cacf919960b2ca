"""The commands of ``airflow polars`` as Airflow's parser knows them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.providers_manager import ProvidersManager

from airflow_provider_polars.cli.definition import get_polars_cli_commands

SAYS = {
    "check-connection": "the Test button of the connection form does",
    "computes": "Where the option vcpu_hour_price is set there is what each has cost at most.",
    "queries": "A cluster has no list: there it is the queries of tasks of this Airflow that the cluster knows.",
    "cancel": "One that has ended already is fine.",
    "sweep": "PolarsSweepComputeOperator does the same on a schedule.",
}


def test_airflow_finds_the_commands_through_the_metadata() -> None:
    assert get_polars_cli_commands in ProvidersManager().cli_command_functions


@pytest.mark.parametrize("name", SAYS)
def test_the_help_of_each_command_says_what_it_is_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        get_parser().parse_args(["polars", name, "--help"])

    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert SAYS[name] in said
    assert "Output format. Allowed values: json, yaml, plain, table" in said


def test_the_group_lists_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        get_parser().parse_args(["polars", "--help"])

    listed = capsys.readouterr().out
    assert [name for name in SAYS if name not in listed] == []


def test_arguments_arrive() -> None:
    args: argparse.Namespace = get_parser().parse_args(
        ["polars", "sweep", "--conn-id", "cloud", "--max-lifetime", "2.5", "--dry-run", "-o", "json"]
    )
    assert (args.conn_id, args.max_lifetime, args.dry_run, args.output) == ("cloud", 2.5, True, "json")


def test_a_start_of_airflow_reads_the_definition_and_nothing_else_of_ours(run_python: Callable[..., str]) -> None:
    """Hooks, clients and what they need are imported by the command that is run."""
    loaded = run_python(
        "import sys\n"
        "from airflow.cli import cli_parser\n"
        "cli_parser.get_parser()\n"
        "print(*sorted(name for name in sys.modules if name.startswith('airflow_provider_polars.')))"
    ).split()
    assert loaded == [
        "airflow_provider_polars.cli",
        "airflow_provider_polars.cli.definition",
        "airflow_provider_polars.get_provider_info",
    ]


def test_the_commands_of_the_guide_can_be_run() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text()
    lines = [line.split()[1:] for line in page.splitlines() if line.startswith("airflow polars ")]
    assert [line[1] for line in lines] == ["check-connection", "computes", "queries", "cancel", "sweep"]
    for line in lines:
        assert get_parser().parse_args(line).func is not None
