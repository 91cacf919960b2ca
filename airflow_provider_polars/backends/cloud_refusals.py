"""From what Polars Cloud refuses to an error of ours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from http import HTTPStatus

from airflow_provider_polars.clients.control_plane import Refusal
from airflow_provider_polars.compute.cloud import CloudCompute
from airflow_provider_polars.exceptions import ControlPlaneRefusedError, PolarsProviderError, QuotaExceededError

_QUOTA = re.compile(r"\b(quota|limit)s?\b", re.IGNORECASE)
"""Words of a refusal that a later try may not meet; which ones the real service uses is not known."""


@contextlib.contextmanager
def refused(done: str, compute: CloudCompute) -> Iterator[None]:
    """Raise an error of ours for a refusal within the block.

    :param done: what was to be done with the compute, as words.
    """
    try:
        yield
    except Refusal as refusal:
        raise _error(refusal, done, compute) from None


def is_quota(refusal: Refusal) -> bool:
    """Return whether a refusal is about a quota."""
    return _QUOTA.search(str(refusal)) is not None


def _error(refusal: Refusal, done: str, compute: CloudCompute) -> PolarsProviderError:
    what = f"{compute!r} cannot be {done}: Polars Cloud answers {refusal.status}, {str(refusal).rstrip('. ')}."
    if is_quota(refusal):
        return QuotaExceededError(f"{what} Wait until other instances have stopped, or ask for less.")
    if refusal.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
        return ControlPlaneRefusedError(f"{what} See what the service account may do in the workspace.")
    return ControlPlaneRefusedError(f"{what} Correct the compute.")
