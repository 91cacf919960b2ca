"""``polars-node render | check``: configurations of Polars on-premises, for people and CI."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem import checking, files, rendering, versions
from airflow_provider_polars.onprem.description import ClusterDescription
from airflow_provider_polars.onprem.findings import Finding, secret_paths
from airflow_provider_polars.onprem.node import NodeConfig

FINE, WRONG, UNUSABLE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0 if all is well, 1 for a rule that is broken, 2 for wrong arguments and for files that cannot be read or written.
    """
    given = _parser().parse_args(arguments)
    try:
        return render(given) if given.command == "render" else check(given)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE


def render(given: argparse.Namespace) -> int:
    """Write, or print, the configuration of each node of a described cluster."""
    try:
        data = files.read(given.description)
    except ConfigurationError as error:
        return _fail(str(error), UNUSABLE)
    if given.server is not None:
        data["server"] = given.server
    try:
        cluster = ClusterDescription.from_dict(data, str(given.description))
        nodes = rendering.render(cluster)
    except ConfigurationError as error:
        return _fail(str(error), WRONG)
    texts = {f"{node.name}.toml": files.dumps(node.data) for node in nodes}
    _warn(checking.check(nodes, versions.parse(cluster.server)), cluster.server)
    if given.out is None:
        if hidden := [f"{node.name}: {path}" for node in nodes for path in secret_paths(node.data)]:
            return _fail(f"{', '.join(hidden)}: secrets are not printed; write the files with --out.", WRONG)
        print("\n".join(f"# {name}\n{text}" for name, text in texts.items()), end="", flush=True)
    else:
        before = os.umask(0o077)
        try:
            written = files.write_all(given.out, texts)
        except ConfigurationError as error:
            return _fail(str(error), UNUSABLE)
        finally:
            os.umask(before)
        print("\n".join(map(str, written)), flush=True)
    for node in nodes:
        if needed := rendering.variables(node):
            _say(f"{node.name}: the server needs the variables {', '.join(needed)}")
    return FINE


def check(given: argparse.Namespace) -> int:
    """Check the files of one cluster against the rules, and against each other."""
    nodes: list[NodeConfig] = []
    unreadable = []
    for path in given.files:
        try:
            nodes.append(files.read_node(path))
        except ConfigurationError as error:
            unreadable.append(str(error))
    if len(set(given.files)) < len(given.files):
        unreadable.append("a file is given twice: give the file of each node once.")
    if unreadable:
        return _fail("\n".join(unreadable), UNUSABLE)
    server, described = given.server, None
    if given.description is not None:
        try:
            cluster = ClusterDescription.from_dict(files.read(given.description), str(given.description))
            described = rendering.render(cluster)
        except ConfigurationError as error:
            return _fail(str(error), UNUSABLE)
        server = server or cluster.server
    found = checking.check(nodes, versions.NEWEST if server is None else versions.parse(server), described)
    breaches = [finding for finding in found if finding.severity == "breach"]
    warnings = found[len(breaches) :]
    if given.json:
        print(json.dumps([_as_json(finding) for finding in found], indent=2), flush=True)
    else:
        _warn(warnings, server)
        for finding in breaches:
            print(f"breach: {finding}")
        told = f"{len(nodes)} files" if len(nodes) != 1 else "1 file"
        print(f"{told}: {len(breaches)} breaches, {len(warnings)} warnings", flush=True)
    return WRONG if breaches or (given.strict and warnings) else FINE


def _as_json(finding: Finding) -> dict[str, str]:
    names = ("severity", "node", "key", "value", "rule", "fix")
    return {name: getattr(finding, name) for name in names}


def _warn(findings: Sequence[Finding], server: str | None) -> None:
    for finding in findings:
        if finding.severity == "warning":
            _say(f"warning: {finding}")
    if server is not None and versions.parse(server) > versions.NEWEST:
        newest = versions.shown(versions.NEWEST)
        _say(f"warning: server {server} is newer than {newest}, the newest that is known, whose rules are taken")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _fail(text: str, code: int) -> int:
    for line in text.splitlines():
        _say(f"polars-node: {line}")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polars-node",
        description="Configurations of the nodes of a Polars on-premises cluster",
        epilog="Exit codes: 0 all is well, 1 a rule is broken, 2 wrong arguments or files that cannot be used.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    rendering_parser = commands.add_parser("render", help="one file for each node of a described cluster")
    rendering_parser.add_argument("description", type=Path, help="TOML file that describes the cluster")
    rendering_parser.add_argument("--out", type=Path, help="folder to write to, private to you; default: print")
    check_parser = commands.add_parser("check", help="the files of one cluster, against the rules and each other")
    check_parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="configuration of a node")
    check_parser.add_argument("--description", type=Path, help="of the cluster: each key is to be as rendered from it")
    check_parser.add_argument("--json", action="store_true", help="print all findings as JSON")
    check_parser.add_argument("--strict", action="store_true", help="warnings count as breaches")
    for command in (rendering_parser, check_parser):
        newest = versions.shown(versions.NEWEST)
        command.add_argument("--server", type=_version, help=f"version of the server ({newest})")
    return parser


def _version(text: str) -> str:
    try:
        versions.parse(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
