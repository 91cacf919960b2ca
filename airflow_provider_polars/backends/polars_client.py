"""The installed client of Polars clusters: found under the name it has, and asked what it can do."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import tempfile
import uuid
from collections.abc import Iterable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError, VersionMismatchError, nearest
from airflow_provider_polars.query.options import QueryOptions
from airflow_provider_polars.query.sinks import Sink
from airflow_provider_polars.query.table_sinks import IcebergSink

MODULES = ("polars_nanook", "polars_cloud")
"""Names of the client's module, the newest first: a rename is announced."""

CLIENT_OF_POLARS = {
    "1.39.3": "0.6.0",
    "1.40.1": "0.7.0",
    "1.41.2": "0.8.0",
    "1.42.1": "0.9.0",
    "1.43.2": "0.10.0",
    "1.44.1": "0.11.0",
    "1.44.2": "0.11.3",
    "2.0.0": "0.12.0",
}
"""Each client pins one Polars (requirements of its releases on PyPI)."""

_USER_NAME = "POLARS_CLOUD_USER_NAME"
_UNSTABLE_SETTINGS = frozenset({"sort_partitioned", "pre_aggregation", "planner"})
_OWN_SETTINGS = frozenset({"sink_to_single_file"})


@functools.cache
def client_version() -> str:
    """Return the version of the installed client, without importing it."""
    return importlib.metadata.version(_module_name().replace("_", "-"))


@functools.cache
def polars_version() -> str:
    """Return the version of the installed Polars, without importing it."""
    return importlib.metadata.version("polars")


@functools.cache
def holds_results() -> bool:
    """Whether clusters of this client's time hold the call for a result until the query has ended (0.11 and newer)."""
    return tuple(int(part) for part in client_version().split(".")[:2]) >= (0, 11)


def show_user(name: str | None) -> None:
    """Have the client show ``name`` as the user of its queries; None leaves it as it is.

    To be called before the client is loaded: its threads read the environment, which must not change meanwhile.
    """
    if name and os.environ.get(_USER_NAME) != name:
        os.environ[_USER_NAME] = name


@functools.cache
def load_client() -> PolarsClient:
    """Import the client. A process that forks after this hangs: only a running task may call it.

    :raises ConfigurationError: if none is installed, or Polars is the build with 32 bit indices.
    """
    if not any(name in sys.modules for name in MODULES):
        os.environ["POLARS_CLOUD_CONFIG_DIR"] = _empty_folder()
        os.environ.setdefault("POLARS_CLOUD_ALLOW_LOCAL_SCANS", "true")
    return PolarsClient(importlib.import_module(_module_name()))


class PolarsClient:
    """What the installed client offers.

    :param module: ``polars_cloud``, whatever its name is now.
    """

    def __init__(self, module: ModuleType) -> None:
        import polars as pl

        self.module = module
        self.name = module.__name__
        self.version = client_version()
        self.polars = pl.__version__
        self._has_labels = hasattr(module.LazyFrameRemote, "collect")
        if pl.get_index_type() == pl.UInt32:
            raise ConfigurationError(
                f"Polars {self.polars} is the build with 32 bit indices (polars[rt32]), whose plans clusters cannot "
                "read. Install polars[rt64] on the workers."
            )

    def part(self, path: str) -> Any:
        """Return a module of the client by its path below the package."""
        return importlib.import_module(f"{self.name}.{path}")

    def context(self, access: ClusterAccess) -> Any:
        """Return a ``ClusterContext``, connected. Probe the address first: this blocks for 60 s where nothing answers.

        :raises VersionMismatchError: if the client is too old for a part of ``access``.
        """
        parameters = inspect.signature(self.module.ClusterContext).parameters
        if "uri" in parameters:
            return self._context_by_uri(access)
        self._refuse_if(bool(access.headers), "a token or headers", "0.9.0")
        self._refuse_if(access.is_tls and access.insecure, "insecure= over TLS", "0.9.0")
        unencrypted = access.is_tls and access.host in ("127.0.0.1", "localhost")  # whatever insecure= says
        self._refuse_if(unencrypted, f"TLS to {access.host}", "0.9.0")
        options: dict[str, Any] = {
            "scheduler_port": access.port,
            "observatory_port": urlsplit(access.observatory).port,
            "insecure": not access.is_tls,
            "tls_cert_domain": access.domain_name or access.host,
            "public_server_crt": access.ca_cert.encode() if access.ca_cert else None,
        }
        if "allow_filesystem_scans" in parameters:
            options["allow_filesystem_scans"] = True
        return self.module.ClusterContext(access.host, **options)

    def _context_by_uri(self, access: ClusterAccess) -> Any:
        ca_cert = access.ca_cert.encode() if access.ca_cert else None
        options: dict[str, Any] = {"extra_headers": dict(access.headers)}
        if access.is_tls:
            options["tls_options"] = self.module.TLSOptions(ca_cert=ca_cert, insecure=access.insecure)
        if access.domain_name:
            options["domain_name"] = access.domain_name
        observatory = self.module.ClientOptions(uri=access.observatory, **options)
        return self.module.ClusterContext(access.uri, observatory=observatory, **options)

    def check_instance(self, given: Iterable[str]) -> None:
        """Refuse parameters of an instance that this client does not know.

        :raises RefusedOptionError: naming the first.
        """
        known = inspect.signature(self.module.ComputeContext.__init__).parameters
        for name in given:
            if name not in known:
                raise RefusedOptionError(
                    f"CloudCompute({name}=) is no parameter of ComputeContext in {self.name} {self.version}. Remove "
                    "it, or upgrade the client on the workers."
                )

    def access_of(self, arguments: dict[str, Any]) -> ClusterAccess:
        """Return the access that the arguments of a ``ClusterContext`` stand for."""
        if "uri" in arguments:
            tls, observatory = arguments.get("tls_options"), arguments.get("observatory")
            return ClusterAccess(
                uri=arguments["uri"],
                observatory=observatory.uri if observatory else "",
                headers=dict(arguments.get("extra_headers") or {}),
                ca_cert=bytes(tls.ca_cert).decode() if tls is not None and tls.ca_cert else None,
                domain_name=arguments.get("domain_name"),
                insecure=bool(tls is not None and tls.insecure),
            )
        certificate = arguments.get("public_server_crt")
        scheme = "http" if arguments.get("insecure") else "https"
        return ClusterAccess(
            uri=f"{scheme}://{arguments['compute_address']}:{arguments.get('scheduler_port', 5051)}",
            ca_cert=certificate.decode() if certificate else None,
            domain_name=arguments.get("tls_cert_domain"),
        )

    def check_options(self, options: QueryOptions, engine: str, settings: dict[str, Any] | None) -> None:
        """Refuse what this client cannot send.

        :param settings: of the distributed query, None for one node.
        :raises RefusedOptionError: naming the option.
        :raises VersionMismatchError: naming the client that could.
        """
        remote = inspect.signature(self.module.LazyFrameRemote.__init__).parameters
        self._refuse_if(bool(options.priority) and "priority" not in remote, "priority=", "0.12.0")
        self._refuse_if(bool(options.labels) and not self._has_labels, "labels= on a cluster of your own", "0.11.0")
        if engine == "gpu" and not self._takes_gpu():
            raise RefusedOptionError(
                f'engine="gpu" is refused by {self.name} {self.version}: clusters have no GPU engine yet. Use '
                'LocalCompute(engine="gpu", python=...) on a worker with a GPU.'
            )
        if settings is None:
            return
        if engine == "in-memory":
            raise RefusedOptionError(
                'engine="in-memory" cannot run distributed. Use engine="streaming" or "auto", or distributed=False.'
            )
        known = self._settings()
        for name in settings:
            if name not in known:
                raise RefusedOptionError(
                    f"distributed= has {name!r}, which {self.name} {self.version} does not know"
                    f"{nearest(name, known)} It knows: {', '.join(sorted(known))}."
                )

    def check_sink(self, sink: Sink) -> None:
        """Refuse a sink, or options of one, that this client cannot send.

        :raises RefusedOptionError: naming the option.
        :raises VersionMismatchError: naming the client that could.
        """
        method = getattr(self.module.ExecuteRemote, f"sink_{sink.kind}", None)
        if method is None:
            self._refuse_if(isinstance(sink, IcebergSink), "IcebergSink on a cluster", "0.9.0")
            raise RefusedOptionError(
                f"{type(sink).__name__} is not known to {self.name} {self.version}; use ParquetSink."
            )
        known = inspect.signature(method).parameters
        given = sink.to_dict()
        for name in sink.write_options:
            if name in given and name not in known:
                raise RefusedOptionError(
                    f"{type(sink).__name__}({name}=) is no option of the clusters that {self.name} {self.version} "
                    "speaks to. Remove it."
                )

    @property
    def has_lineage(self) -> bool:
        """Whether this client can tell a cluster of the run that a query is a part of."""
        return hasattr(self.module.LazyFrameRemote, "with_lineage")

    def labels(self, labels: tuple[str, ...]) -> list[str]:
        """Return the labels that this client sends; older ones would drop them without a word."""
        return list(labels) if self._has_labels else []

    def _settings(self) -> set[str]:
        parameters = inspect.signature(self.module.LazyFrameRemote.distributed).parameters
        known = set(parameters) - {"self", "kwargs"}
        if "kwargs" in parameters:
            planned = hasattr(self.part("query.query").DistributionSettings(), "planner")
            known |= _UNSTABLE_SETTINGS if planned else _UNSTABLE_SETTINGS - {"planner"}
        return known | _OWN_SETTINGS

    def _takes_gpu(self) -> bool:
        """Ask the client for a plan on the GPU; it is made and thrown away."""
        import polars as pl

        utils = self.part("query._utils")
        arguments: dict[str, Any] = {
            "dst": self.part("query.dst").TmpDst(),
            "engine": "gpu",
            "plan_type": "dot",
            "shuffle_compression": "auto",
            "shuffle_format": "auto",
            "distributed_settings": None,
            "n_retries": 0,
            "optimizations": pl.QueryOptFlags(),
        }
        if "allow_local_scans" in inspect.signature(utils.prepare_query).parameters:
            arguments["allow_local_scans"] = True
        try:
            utils.prepare_query(pl.LazyFrame(), **arguments)
        except ValueError:
            return False
        return True

    def _refuse_if(self, wanted: bool, what: str, since: str) -> None:
        if wanted:
            raise VersionMismatchError(
                f"{what} needs {self.name.replace('_', '-')} {since} or newer, this worker has {self.version}. Remove "
                "it, or upgrade the client together with the cluster."
            )


def check_versions(client: PolarsClient, cluster_polars: str, where: str) -> None:
    """Refuse a cluster whose Polars is not the client's: it could not read its plans.

    :param where: what runs that Polars, as words.
    :raises VersionMismatchError: saying which side has what, and what to install.
    """
    if cluster_polars in ("", client.polars):
        return
    fitting = CLIENT_OF_POLARS.get(cluster_polars)
    wanted = f"polars-cloud=={fitting}" if fitting else f"the polars-cloud that pins polars=={cluster_polars}"
    raise VersionMismatchError(
        f"The {where} runs Polars {cluster_polars}, this worker has Polars {client.polars} ({client.name} "
        f"{client.version}). Plans are read by the same version only. Install {wanted} on the workers, or a cluster "
        f"with Polars {client.polars}."
    )


def _module_name() -> str:
    for name in MODULES:
        if name in sys.modules or importlib.util.find_spec(name) is not None:
            return name
    raise ConfigurationError(
        "The client of Polars clusters is not installed here; install polars-cloud on the workers."
    )


def _empty_folder() -> str:
    """Return a folder for the client's configuration that does not exist.

    The client would use tokens that it finds in one, and writes them to disk in clear.
    """
    return os.path.join(tempfile.gettempdir(), f"polars-client-{uuid.uuid4().hex}")
