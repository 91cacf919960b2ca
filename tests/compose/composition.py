"""``docker-compose.yaml`` and its Dockerfile as data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yaml"
DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"

_VARIABLE = re.compile(r"\$\{(?P<name>\w+):-(?P<default>[^}]*)\}")


def composition(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file as Compose reads it, with ``variables`` in place of those of a shell."""
    given = variables or {}
    text = _VARIABLE.sub(lambda found: given.get(found["name"]) or found["default"], COMPOSE_FILE.read_text())
    assert "${" not in text, "only ${NAME:-default} is known here"
    loaded: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return loaded


def services(profile: str | None = None, variables: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Return the services that a profile has beyond the others, or those that need no profile."""
    found = composition(variables)["services"]
    return {name: service for name, service in found.items() if service.get("profiles", [None])[0] == profile}


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage of the Dockerfile, by its name; FROM comes first."""
    found: dict[str, list[tuple[str, str]]] = {}
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        instruction, _, arguments = line.partition(" ")
        if instruction == "FROM":
            found[arguments.rpartition(" AS ")[2]] = []
        if found and instruction:
            list(found.values())[-1].append((instruction, arguments))
    return found


def entrypoint(target: str) -> list[str]:
    """Return the entrypoint of a stage, or of the one that it begins with."""
    (_, base), *instructions = stages()[target]
    given = [arguments for instruction, arguments in instructions if instruction == "ENTRYPOINT"]
    return json.loads(given[-1]) if given else entrypoint(base.partition(" ")[0])
