"""Plans as clients send them: a header, then a MessagePack document of Polars' own classes.

The document is an arena: ``{"root": {"idx": 3, ...}, "dataframes": [...], "dsl_plans": [..., {"value": {"Sink":
{"input": {"idx": 2, ...}, "payload": ...}}}]}``, in which inputs stand before what reads them (seen with Polars 1.39.3
to 2.0.0). So the sink at the root can be cut off, and the place that it names be changed, without decoding the rest.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from . import msgpack

IN_MEMORY = "<in-memory>"
"""Target of ``execute()``, ``show()`` and ``await_and_scan()``: a result whose place the cluster chooses."""

FLIGHT = "<flight>"
"""Target of ``collect()`` and ``explain()``: a result that goes to the client."""

HEADER_BYTES = 79  # "DSL_VERSION", two numbers of two bytes, 64 hexadecimal characters
_ROOT = b"\x83\xa4root\x82\xa3idx"
_SINK = b"\x82\xa5value\x81\xa4Sink\x82\xa5input\x82\xa3idx"
_SEVERAL_SINKS = b"\x82\xa5value\x81\xacSinkMultiple"
_OPTIMIZATIONS = {
    0: "projection_pushdown",
    2: "predicate_pushdown",
    3: "cluster_with_columns",
    5: "simplify_expression",
    7: "slice_pushdown",
    8: "comm_subplan_elim",
    9: "comm_subexpr_elim",
    13: "row_estimate",
    14: "fast_projection",
    15: "check_order_observe",
    16: "sort_collapse",
    17: "pre_partition_hive",
    19: "join_order",
}


@dataclass
class Sink:
    """The sink at the root of a plan."""

    kind: str
    """``File``, ``Partitioned``, ``Callback``, or ``Multiple``, which cannot be looked into."""

    target: str = ""
    format: str = ""
    """``parquet``, ``ipc``, ``csv``, ``ndjson``, or empty."""

    storage_options: dict[str, str] = field(default_factory=dict)
    scan_options: dict[str, Any] = field(default_factory=dict)
    """Of a scan that reads what was written."""


def header() -> bytes:
    """Return the header of the plans that the Polars installed here reads."""
    return bytes(pl.LazyFrame().serialize()[:HEADER_BYTES])


def load(plan: bytes) -> pl.LazyFrame:
    """Return the query of a plan.

    :raises polars.exceptions.ComputeError: for bytes that are no plan of this Polars.
    """
    return pl.LazyFrame.deserialize(io.BytesIO(plan), format="binary")


def optimizations(bits: int | None) -> pl.QueryOptFlags:
    """Return the optimizations of the settings' bit set; Polars' own choice for None."""
    flags = pl.QueryOptFlags()
    if bits is None:
        return flags
    known = {name: bool(bits >> bit & 1) for bit, name in _OPTIMIZATIONS.items() if hasattr(flags._pyoptflags, name)}
    return flags.update(**known)


def sink_of(plan: bytes) -> Sink | None:
    """Return the sink at the root of a plan; None where there is none.

    :raises ValueError: if the plan does not have the shape that the module names.
    """
    at = plan.rfind(_SINK)
    if plan.rfind(_SEVERAL_SINKS) > at:
        return Sink("Multiple")
    if at < 0:
        return None
    root, _ = msgpack.read(plan, at)
    ((kind, details),) = root["value"]["Sink"]["payload"].items()
    if kind not in ("File", "Partitioned"):
        return Sink(kind)
    target = (details.get("target") or details["base_path"])["inner"]
    file_format = details["file_format"]
    ((name, options),) = file_format.items() if isinstance(file_format, dict) else ((file_format, None),)
    cloud = (details.get("unified_sink_args") or {}).get("cloud_options") or {}
    return Sink(kind, str(target), name.lower(), _storage_options(cloud.get("config")), _scan_options(name, options))


def _scan_options(name: str, options: Any) -> dict[str, Any]:
    """Return what a scan must know to read what the sink writes."""
    if name != "Csv":
        return {}
    written = options["serialize_options"]
    return {
        "has_header": options["include_header"],
        "separator": chr(written["separator"]),
        "quote_char": chr(written["quote_char"]),
        "eol_char": written["line_terminator"][-1:] or "\n",
        "decimal_comma": written["decimal_comma"],
    }


def _storage_options(config: Any) -> dict[str, str]:
    """Return the options of the object store as scans take them: ``AccessKeyId`` is ``aws_access_key_id``."""
    if not isinstance(config, dict):
        return {}
    ((cloud, pairs),) = config.items()
    names = [(next(iter(name.values())) if isinstance(name, dict) else name, value) for name, value in pairs]
    return {("aws" if cloud == "Aws" else "") + _snake(name): str(value) for name, value in names}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def without_sink(plan: bytes) -> bytes:
    """Return the plan of what the sink at the root reads.

    :raises ValueError: if the plan does not have the shape that the module names.
    """
    at = plan.rfind(_SINK)
    if at < 0 or not plan.startswith(_ROOT, HEADER_BYTES):
        raise ValueError("the plan has no sink at its root")
    number = _integer(plan, at + len(_SINK))
    root = HEADER_BYTES + len(_ROOT)
    return plan[:root] + number + plan[root + len(_integer(plan, root)) :]


def with_target(plan: bytes, old: str, new: str) -> bytes:
    """Return the plan with another target of the sink at its root.

    :raises ValueError: if the plan does not name the old one.
    """
    at = plan.rfind(msgpack.write_text(old))
    if at < 0:
        raise ValueError(f"the plan does not name {old!r}")
    return plan[:at] + msgpack.write_text(new) + plan[at + len(msgpack.write_text(old)) :]


def _integer(plan: bytes, at: int) -> bytes:
    return plan[at : msgpack.read(plan, at)[1]]
