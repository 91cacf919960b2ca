"""The ``[polars]`` section of Airflow's configuration, read where it is used: in a running task."""

from __future__ import annotations

import logging
import os

from airflow.sdk import conf

from airflow_provider_polars.credentials import CLIENT_ID, CLIENT_SECRET
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.marks import check_deployment
from airflow_provider_polars.query.paths import canonical, check_location

SECTION = "polars"
_log = logging.getLogger(__name__)


def results_path() -> str:
    """Return the folder of results without a sink of their own; default ``polars_results`` below ``AIRFLOW_HOME``."""
    path = conf.get(SECTION, "results_path", fallback="")
    if not path:
        home = os.environ.get("AIRFLOW_HOME", os.path.expanduser("~/airflow"))
        path = os.path.join(os.path.abspath(home), "polars_results")
    check_location(path, "[polars] results_path")
    if not canonical(path).strip("/"):
        raise ConfigurationError(f"[polars] results_path is {path!r}, the root of the disk; name a folder for results.")
    return path.rstrip("/")


def results_conn_id() -> str | None:
    """Return the connection of a ``results_path`` that is a URL."""
    return conf.get(SECTION, "results_conn_id", fallback="") or None


def results_retention_days() -> int:
    """Return the age in days at which a result without a sink of its own may be removed.

    :raises ConfigurationError: if it is below 1.
    """
    days = conf.getint(SECTION, "results_retention_days", fallback=30)
    if days < 1:
        raise ConfigurationError(f"[polars] results_retention_days must be at least 1, got {days}.")
    return days


def allowed_prefixes() -> list[str]:
    """Return where the locations of upstream results may lie; empty means anywhere. Results of our own always may."""
    text = conf.get(SECTION, "allowed_prefixes", fallback="")
    prefixes = [prefix.strip() for prefix in text.split(",") if prefix.strip()]
    return [*prefixes, results_path()] if prefixes else []


def client_id_variable() -> str:
    """Return the name of the Variable with the client id for Polars Cloud."""
    return conf.get(SECTION, "client_id_variable", fallback="") or CLIENT_ID


def client_secret_variable() -> str:
    """Return the name of the Variable with the client secret for Polars Cloud."""
    return conf.get(SECTION, "client_secret_variable", fallback="") or CLIENT_SECRET


def deployment_id() -> str:
    """Return the name of this Airflow in the marks of the computes that it starts.

    :raises ConfigurationError: if none is set, or it cannot be part of a mark.
    """
    return check_deployment(conf.get(SECTION, "deployment_id", fallback=""))


def max_vcpus() -> int | None:
    """Return how many vCPUs a compute may have that is started, all nodes together; None for any number.

    :raises ConfigurationError: if it is below 1.
    """
    text = conf.get(SECTION, "max_vcpus", fallback="")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(f"[polars] max_vcpus must be a whole number above zero, or empty, got {text!r}.")
    return int(text)


def unreachable_seconds() -> float:
    """Return for how long a compute may be out of reach before those who wait for its queries give up.

    :raises ConfigurationError: if it is no number above zero.
    """
    text = conf.get(SECTION, "unreachable_seconds", fallback="300")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(
            f"[polars] unreachable_seconds must be a number of seconds above zero, such as 300, got {text!r}."
        )
    return seconds


def vcpu_hour_price() -> float | None:
    """Return what a vCPU costs for an hour, in whatever money; None where nobody says.

    :raises ConfigurationError: if it is no number, or negative.
    """
    text = conf.get(SECTION, "vcpu_hour_price", fallback="")
    if not text:
        return None
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < float("inf"):
        raise ConfigurationError(f"[polars] vcpu_hour_price must be a number such as 0.05, or empty, got {text!r}.")
    return price


def known_vcpu_hour_price() -> float | None:
    """Return :func:`vcpu_hour_price`, None with a warning if it is wrong: no price keeps a compute from its stop."""
    try:
        return vcpu_hour_price()
    except ConfigurationError as error:
        _log.warning("What computes have cost is not told: %s", error)
        return None
