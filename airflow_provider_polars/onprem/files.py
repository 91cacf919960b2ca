"""Node configurations as TOML files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem.node import NodeConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRIVATE = 0o600
LARGEST = 2**20
"""Bytes of a file that is read; a configuration has a few thousand."""


def loads(text: str, name: str) -> dict[str, Any]:
    """Return the content of TOML text.

    :param name: what messages call it.
    :raises ConfigurationError: for text that is no TOML. The message has the line, and nothing of the text.
    """
    try:
        found: dict[str, Any] = tomllib.loads(text)
        return found
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{name} is not read: it is nested too deeply") from None


def dumps(data: Mapping[str, Any]) -> str:
    """Return TOML text that :func:`loads` reads as the same values."""
    return tomli_w.dumps(data)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a TOML file.

    :raises ConfigurationError: for a file that cannot be read, is not UTF-8, or is no TOML.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > LARGEST:
        raise ConfigurationError(f"{path} is no configuration: it is larger than {LARGEST} bytes.")
    try:
        return loads(content.decode(), str(path))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: byte {error.start} is not UTF-8.") from error


def read_node(path: str | os.PathLike[str]) -> NodeConfig:
    """Return the configuration of a node.

    :raises ConfigurationError: as :func:`read`.
    """
    return NodeConfig(read(path), str(path))


def write_all(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write files that their owner alone can read; return their paths.

    The folder is made if it is missing. Each file replaces its predecessor whole: nobody reads half of one.

    :param texts: name of each file, and its text.
    :raises ConfigurationError: if a file cannot be written.
    """
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in texts.items():
            path, part = folder / name, folder / f".{name}.part"
            part.unlink(missing_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "w", encoding="utf-8") as file:
                file.write(text)
            part.replace(path)
            written.append(path)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
    return written
