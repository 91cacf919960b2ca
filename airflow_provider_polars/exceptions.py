"""Every error that this package raises on purpose.

The dotted paths are public and stable: they may be named in an Airflow ``ExceptionRetryPolicy``.

``permanent`` says whether trying again can help. A permanent error ends the task at once, whatever its
``retries``; a transient one is left to Airflow's retries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class PolarsProviderError(Exception):
    """Base of all errors of this package."""

    permanent: ClassVar[bool] = False


class ConfigurationError(PolarsProviderError):
    """An argument, a connection or a setting is wrong."""

    permanent = True


class UnknownArgumentError(ConfigurationError, TypeError):
    """A keyword that does not exist; the message names the nearest one that does."""


class UnknownKindError(ConfigurationError):
    """A kind of compute or sink that is not known."""


class RefusedOptionError(ConfigurationError):
    """An option that the compute, or the Polars installed there, cannot honour."""


class UnsupportedSinkError(ConfigurationError):
    """A sink that this kind of compute cannot write."""


class TemplateRenderError(ConfigurationError):
    """A template in an argument does not render in this run."""


class CredentialsError(ConfigurationError):
    """Credentials are missing, incomplete or empty, or were refused."""


class CredentialsUnavailableError(PolarsProviderError):
    """Where credentials are kept, or checked, cannot be reached now."""


class ClusterUnreachableError(PolarsProviderError):
    """Nothing answers at the address of a cluster, or not in time.

    :param retry_after: seconds for which it has asked to be left alone, None if it has not.
    """

    def __init__(self, *args: object, retry_after: float | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class ClusterAccessError(ConfigurationError):
    """A cluster refuses the caller: token, user name, certificate, or a port that speaks something else."""


class WorkspaceError(ConfigurationError):
    """A workspace is not known, not to be told from others of its name, or not open to the service account."""


class ControlPlaneUnavailableError(PolarsProviderError):
    """The service that starts and stops computes does not answer, or answers that it is not well.

    :param retry_after: seconds for which it has asked to be left alone, None if it has not.
    """

    def __init__(self, *args: object, retry_after: float | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class ControlPlaneRefusedError(ConfigurationError):
    """The service that starts and stops computes refuses a request; the message carries its words."""


class QuotaExceededError(PolarsProviderError):
    """Starting a compute would exceed a quota of the service, for now."""


class ComputeNameTakenError(ConfigurationError):
    """The name that marks a compute as ours belongs to something that somebody else has made."""


class ComputeStartError(PolarsProviderError):
    """A compute failed while it started, or was not ready in time; what there was of it is stopped."""


class ComputeLostError(PolarsProviderError):
    """A compute that queries need is not there any more: it failed, was stopped, or was idle for too long."""


class ComputeStopError(PolarsProviderError):
    """A compute was told to stop, which is not confirmed: it may run, and cost, on."""


class VersionMismatchError(ConfigurationError):
    """Client and cluster carry different versions of Polars, or the client is too old for what was asked."""


class QueryDefinitionError(PolarsProviderError):
    """The query cannot be built: wrong return value, bad SQL, a plan that Polars refuses."""

    permanent = True


class SchemaError(QueryDefinitionError):
    """The query names a column or uses a data type that its input does not have."""


class PlanError(QueryDefinitionError):
    """The plan of a query cannot be sent to a cluster: it is too large, or Polars cannot serialise a part of it."""


class InvalidResultError(PolarsProviderError):
    """A result reference that is malformed, or whose location is outside ``[polars] allowed_prefixes``."""

    permanent = True


class ResultNotFoundError(PolarsProviderError):
    """The files of an upstream result are not there."""


class QueryFailedError(PolarsProviderError):
    """A query was submitted and failed; the message carries the reason the compute gave."""


class QueryTimeoutError(PolarsProviderError):
    """A query did not end before its deadline. Its task has cancelled it; a sensor has not."""


class QueryCancelledError(PolarsProviderError):
    """A query was cancelled, by its task being killed or by someone else."""


class SinkWriteError(PolarsProviderError):
    """The result cannot be written: permission, missing directory, disk full."""


class MemoryLimitError(PolarsProviderError):
    """The query needed more memory than its compute allows."""

    permanent = True


class GpuUnavailableError(PolarsProviderError):
    """``engine="gpu"`` where no GPU engine can run."""

    permanent = True


class RunnerError(PolarsProviderError):
    """The process that ran the query ended without an answer, or could not be started."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: ``"; did you mean 'x'?"`` for the known word closest to ``word``, else ``"."``."""
    import difflib

    close = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else "."
