"""Runs queries with nothing but the standard library and Polars.

Imported, it is the engine of the embedded backend. Started by its path, ``python -I .../runner``, it runs in another
interpreter, whose Polars may be another one; see :mod:`.process`. It imports nothing of the package around it.
"""

from __future__ import annotations

from .building import WrongReturnError, described_error, frames, load, sql_function
from .reading import EXTENSIONS, MANIFEST, expand_url, iceberg_table, list_files, scan
from .scanning import scanned, scans
from .writing import UnknownOptionError, check_options, run

__all__ = [
    "EXTENSIONS",
    "MANIFEST",
    "UnknownOptionError",
    "WrongReturnError",
    "check_options",
    "described_error",
    "expand_url",
    "frames",
    "iceberg_table",
    "list_files",
    "load",
    "run",
    "scan",
    "scanned",
    "scans",
    "sql_function",
]
