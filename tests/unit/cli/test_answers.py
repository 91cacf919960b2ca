"""What commands print: in every output that Airflow has, without their logs, and with a status."""

from __future__ import annotations

import json
import logging
from argparse import Namespace

import pytest

from airflow_provider_polars.cli.commands import Answer, _command
from airflow_provider_polars.exceptions import ComputeStopError, ConfigurationError

ROWS = [{"what": "[polars] x", "age": 1.5, "secret": "not among the columns"}, {"what": "stopped", "age": None}]


@_command
def told(args: Namespace) -> Answer:
    """Answer as the arguments say."""
    logging.getLogger("airflow.task").warning("a log of a hook")
    print("what a library prints")
    if args.error:
        raise ConfigurationError("it cannot be: correct it")
    return Answer(ROWS if args.rows else [], ("what", "age"), args.then)


def arguments(
    output: str = "json", *, rows: bool = True, error: bool = False, then: object = lambda: None
) -> Namespace:
    """Return what the parser would."""
    return Namespace(subcommand="polars", output=output, rows=rows, error=error, then=then)


@pytest.mark.parametrize(
    ("output", "printed"),
    [
        ("json", json.dumps([{"what": "[polars] x", "age": 1.5}, {"what": "stopped", "age": None}])),
        ("yaml", "- age: 1.5 what: '[polars] x' - age: null what: stopped"),
        ("plain", "what age [polars] x 1.5 stopped"),
        ("table", "what | age ===========+==== [polars] x | 1.5 stopped |"),
    ],
)
def test_rows_are_printed_alone_as_the_output_says(
    output: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told(arguments(output))
    assert " ".join(capsys.readouterr().out.split()) == printed


def test_no_rows_are_an_empty_list_in_json_and_words_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    told(arguments("json", rows=False))
    assert json.loads(capsys.readouterr().out) == []
    told(arguments("table", rows=False))
    assert capsys.readouterr().out == "No data found\n"


def test_an_error_of_ours_ends_the_command_with_its_message_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        told(arguments(error=True))
    assert ended.value.code == "it cannot be: correct it"  # Python prints it to stderr, and exits with 1
    assert capsys.readouterr().out == ""


def test_what_was_done_is_printed_before_the_error_of_what_was_not(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ComputeStopError("1 computes could not be stopped")

    with pytest.raises(SystemExit, match="1 computes could not be stopped"):
        told(arguments(then=fail))
    assert len(json.loads(capsys.readouterr().out)) == 2
