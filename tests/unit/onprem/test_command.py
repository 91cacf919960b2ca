"""``polars-node``: what it writes and prints, where, and how it ends."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.onprem import files
from airflow_provider_polars.onprem.cli import main
from tests.unit.onprem.clusters import described, put, rendered

Printed = pytest.CaptureFixture[str]


def describe(folder: Path, **fields: Any) -> str:
    file = folder / "cluster.toml"
    file.write_text(files.dumps(described(2, **fields)))
    return str(file)


def written(folder: Path, *changes: tuple[str, Any]) -> list[str]:
    """Write the files of a cluster, the second one changed; return their paths."""
    nodes = rendered(2)
    for path, value in changes:
        put(dict(nodes[1].data), path, value)
    return [
        str(path) for path in files.write_all(folder, {f"{node.name}.toml": files.dumps(node.data) for node in nodes})
    ]


def test_render_writes_one_private_file_for_each_node_and_check_accepts_them(tmp_path: Path, capsys: Printed) -> None:
    assert main(["render", describe(tmp_path), "--out", str(tmp_path / "nodes")]) == 0
    paths = capsys.readouterr().out.split()
    assert [Path(path).name for path in paths] == ["node-1.toml", "node-2.toml"]
    assert {stat.S_IMODE(Path(path).stat().st_mode) for path in paths} == {0o600}
    assert main(["check", "--strict", *paths]) == 0
    assert capsys.readouterr() == ("2 files: 0 breaches, 0 warnings\n", "")


def test_render_prints_without_a_folder(tmp_path: Path, capsys: Printed) -> None:
    assert main(["render", describe(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.index("# node-1.toml\n") < text.index("# node-2.toml\n")
    assert files.loads(text.split("# node-2.toml\n")[1], "x") == rendered(2)[1].data


def test_render_refuses_a_description_with_all_that_is_wrong(tmp_path: Path, capsys: Printed) -> None:
    file = describe(tmp_path, bind="x", results="y")
    assert main(["render", file, "--out", str(tmp_path / "nodes")]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split(" (")[0] for line in told.err.splitlines()] == [
        f"polars-node: {file}: results",
        f"polars-node: {file}: bind",
    ]
    assert not (tmp_path / "nodes").exists()


def test_render_names_the_variables_that_the_server_needs(tmp_path: Path, capsys: Printed) -> None:
    file = describe(tmp_path, license={"workspace_id": "w", "client_id": "c"})
    assert main(["render", file, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == (
        "node-1: the server needs the variables PC_CUBLET__license__on_prem__client_secret\n"
    )


def test_render_prints_no_secret(tmp_path: Path, capsys: Printed) -> None:
    key = {"aws_secret_access_key": "hunter2"}
    file = describe(tmp_path, results={"s3": {"url": "s3://a/b", **key}})
    assert main(["render", file]) == 1
    assert main(["render", file, "--out", str(tmp_path / "nodes")]) == 0
    told = capsys.readouterr()
    assert "hunter2" not in told.out + told.err
    assert "aws_secret_access_key: secrets are not printed; write the files with --out." in told.err
    assert "set the variable PC_CUBLET__scheduler__anonymous_result_location__s3__aws_secret_access_key" in told.err


def test_the_server_of_the_command_wins_over_that_of_the_description(tmp_path: Path, capsys: Printed) -> None:
    file = describe(tmp_path, server="0.8")
    assert main(["render", file, "--server", "0.2"]) == 0
    assert 'license = "/etc/polars/license.json"' in capsys.readouterr().out


def test_a_server_newer_than_all_that_are_known_is_warned_about(tmp_path: Path, capsys: Printed) -> None:
    assert main(["render", describe(tmp_path), "--server", "0.99"]) == 0
    assert "warning: server 0.99 is newer than 0.10.1, the newest that is known" in capsys.readouterr().err


def test_check_prints_breaches_and_tells_warnings_apart(tmp_path: Path, capsys: Printed) -> None:
    first, second = written(tmp_path, ("monitoring.enabled", "yes"), ("worker.zzz", 1))
    assert main(["check", first, second]) == 1
    told = capsys.readouterr()
    assert told.out == (
        f'breach: {second}: monitoring.enabled ("yes"): must be true or false, without quotes. '
        "Write for example monitoring.enabled = true.\n2 files: 1 breaches, 1 warnings\n"
    )
    assert told.err == (
        f"warning: {second}: worker.zzz (1): is no key that is known, and is kept as it is. Correct or remove it.\n"
    )


def test_warnings_fail_if_they_are_to(tmp_path: Path) -> None:
    paths = written(tmp_path, ("worker.zzz", 1))
    assert main(["check", *paths]) == 0
    assert main(["check", "--strict", *paths]) == 1


def test_findings_are_there_as_json(tmp_path: Path, capsys: Printed) -> None:
    paths = written(tmp_path, ("monitoring.enabled", "yes"))
    assert main(["check", "--json", *paths]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "severity": "breach",
            "node": paths[1],
            "key": "monitoring.enabled",
            "value": '"yes"',
            "rule": "must be true or false, without quotes",
            "fix": "Write for example monitoring.enabled = true.",
        }
    ]


def test_files_are_compared_with_the_description(tmp_path: Path, capsys: Printed) -> None:
    first, second = written(tmp_path, ("worker.heartbeat_period", "9s"))
    assert main(["check", first, second]) == 0
    description = describe(tmp_path)
    assert main(["check", "--description", description, first]) == 1
    assert main(["check", "--description", description, first, second]) == 1
    told = capsys.readouterr().out
    assert 'breach: node-2: instance_id ("node-2"): is described, and has no file here.' in told
    assert f'breach: {second}: worker.heartbeat_period ("9s"): is not set by the description.' in told
    assert main(["check", "--description", describe(tmp_path, nodes={"node-1": "10.0.0.11"}), first, second]) == 1
    assert "is none of the nodes of the description" in capsys.readouterr().out
    assert main(["check", "--description", second, first]) == 2


def test_files_that_cannot_be_used_are_told_apart_from_wrong_ones(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "bad.toml").write_text("a = ")
    assert main(["check", str(tmp_path / "none.toml"), str(tmp_path / "bad.toml")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "none.toml cannot be read" in told[0]
    assert "bad.toml is not TOML" in told[1]
    assert main(["render", str(tmp_path / "none.toml")]) == 2
    (tmp_path / "file").touch()
    assert main(["render", describe(tmp_path), "--out", str(tmp_path / "file")]) == 2


def test_a_file_that_is_given_twice_is_refused(tmp_path: Path, capsys: Printed) -> None:
    first, _ = written(tmp_path)
    assert main(["check", first, first]) == 2
    assert "a file is given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["check"], ["check", "--server", "0.1", "x"], ["render", "--server", "a", "x"]]
)
def test_wrong_arguments_end_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_the_command_imports_neither_airflow_nor_polars(tmp_path: Path) -> None:
    paths = written(tmp_path)
    code = """
import sys
from airflow_provider_polars.onprem.cli import main
code = main(sys.argv[1:])
print(*(name for name in ("airflow", "polars", "polars_cloud", "grpc") if name in sys.modules))
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code, "check", *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2 files: 0 breaches, 0 warnings\n\n")
    assert done.stderr == ""
