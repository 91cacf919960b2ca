"""One control plane: its ports, its services and its instances, from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from airflow_provider_polars.dev_cluster.certificates import make_certificates, write_bundle
from airflow_provider_polars.dev_cluster.control_plane import answers, dev_api, rest, token_service
from airflow_provider_polars.dev_cluster.control_plane.accounts import Directory
from airflow_provider_polars.dev_cluster.control_plane.front import Front
from airflow_provider_polars.dev_cluster.control_plane.in_flight import InFlight
from airflow_provider_polars.dev_cluster.control_plane.instances import Instances
from airflow_provider_polars.dev_cluster.control_plane.manifests import Manifests
from airflow_provider_polars.dev_cluster.control_plane.proxied import ProxiedQueries
from airflow_provider_polars.dev_cluster.control_plane.proxy_service import ProxyService
from airflow_provider_polars.dev_cluster.control_plane.settings import ControlPlaneSettings
from airflow_provider_polars.dev_cluster.control_plane.tokens import Tokens
from airflow_provider_polars.dev_cluster.errors import MessageCheck
from airflow_provider_polars.dev_cluster.fault_interceptor import FaultInterceptor
from airflow_provider_polars.dev_cluster.fault_middleware import FaultMiddleware
from airflow_provider_polars.dev_cluster.faults import Faults
from airflow_provider_polars.dev_cluster.own_host import OwnHostOnly
from airflow_provider_polars.dev_cluster.recorder import Recorder
from airflow_provider_polars.dev_cluster.registry import working_folder
from airflow_provider_polars.dev_cluster.rest_server import serving
from airflow_provider_polars.dev_cluster.scheduler_port import CONNECTION_OPTIONS, address, bind, listen
from airflow_provider_polars.dev_cluster.settings import LOOPBACK
from airflow_provider_polars.protocol.control_plane_pb2_grpc import add_ClientServiceServicer_to_server

ASK_SECONDS = 30.0
LARGEST_MESSAGE = 20 * 2**20
"""Bytes; plans have at most 10 MiB by the rules of the client."""

PROXY_OPTIONS = [*CONNECTION_OPTIONS, ("grpc.max_receive_message_length", LARGEST_MESSAGE)]
ASK_VERSION = "import importlib.metadata as m; print(m.version('polars'))"


class InterpreterError(Exception):
    """An interpreter that cannot run workers."""


class CertificatesError(Exception):
    """A folder without the files of a certificate."""


@dataclass
class ControlPlane:
    """A control plane that runs."""

    settings: ControlPlaneSettings
    directory: Directory
    tokens: Tokens
    instances: Instances
    manifests: Manifests
    queries: ProxiedQueries
    recorder: Recorder
    faults: Faults
    pythons: dict[str, str]
    """Interpreters of workers by the version of their Polars."""

    authority: Path
    """Certificate that clients must trust for the token endpoint."""

    trusted: Path
    """What this system trusts and the authority, for ``SSL_CERT_FILE``."""

    config_folder: Path
    """Empty, for ``POLARS_CLOUD_CONFIG_DIR``."""

    in_flight: InFlight
    fronts: dict[str, Front]
    """The ports of ``api`` and ``token``."""

    dev_port: int = 0

    @property
    def api(self) -> str:
        """Address for ``POLARS_CLOUD_API_ADDR``."""
        return f"http://{address(LOOPBACK, self.fronts['api'].port)}"

    @property
    def domain(self) -> str:
        """Value for ``POLARS_CLOUD_DOMAIN``: what comes before ``@`` becomes the user of the token's URL."""
        return f"development@{address(LOOPBACK, self.fronts['token'].port)}"

    @property
    def dev(self) -> str:
        """Address of ``/_dev``."""
        return f"http://{address(LOOPBACK, self.dev_port)}"

    async def reset(self) -> None:
        """Stop all instances and forget all but the accounts, as for the next test; tokens are good again."""
        self.faults.clear()
        self.tokens.reinstate()
        for front in self.fronts.values():
            await front.open()
        await self.in_flight.ended()  # a start that a fault has held up is the last test's
        await self.instances.end_all()
        self.instances.forget()
        self.manifests.clear()
        self.queries.clear()
        for account in self.directory.accounts.values():
            account.default_workspace = account.workspace.cluster_defaults = None


@contextlib.asynccontextmanager
async def running(settings: ControlPlaneSettings) -> AsyncIterator[ControlPlane]:
    """Run a control plane until the block ends; none of its instances is left then.

    :raises PortInUseError: if a port is taken.
    :raises InterpreterError: if an interpreter has no Polars, or the same as another one.
    :raises CertificatesError: if the folder for certificates lacks one.
    """
    async with contextlib.AsyncExitStack() as stack:
        pythons = await _pythons(settings.pythons)
        folder = stack.enter_context(working_folder())
        config_folder = folder / "config"
        config_folder.mkdir(mode=0o700)
        authority, certificate, key = _certificates(settings, folder)
        trusted = write_bundle(authority, folder)
        api, token, dev = (
            stack.enter_context(hold(LOOPBACK, port))
            for hold, port in ((bind, settings.api_port), (bind, settings.token_port), (listen, settings.dev_port))
        )
        inner_rest, inner_token = (stack.enter_context(listen(LOOPBACK, 0)) for _ in range(2))

        directory, tokens = Directory(settings.account), Tokens(settings.token_seconds)
        recorder, faults, queries = Recorder(), Faults(), ProxiedQueries()

        def admits(header: str | None, workspace_id: str) -> bool:
            accounts = directory.accounts.values()
            return tokens.admits(header, {account.id for account in accounts if account.workspace.id == workspace_id})

        instances = Instances(settings, pythons, admits)
        stack.push_async_callback(instances.end_all)
        in_flight = InFlight()
        stack.push_async_callback(in_flight.ended)
        stack.callback(faults.clear)
        manifests = Manifests(instances)
        rest_app = rest.application(directory, tokens, instances, manifests, queries, recorder)
        token_app = token_service.application(directory, tokens, recorder)

        proxy = grpc.aio.server(
            options=PROXY_OPTIONS, interceptors=[FaultInterceptor(faults, recorder), MessageCheck()]
        )
        add_ClientServiceServicer_to_server(ProxyService(directory, tokens, instances, queries, recorder), proxy)
        proxy_port = proxy.add_insecure_port(f"{LOOPBACK}:0")
        await proxy.start()
        stack.push_async_callback(proxy.stop, None)

        fronts = {
            "api": Front(api, _port(inner_rest), proxy_port),
            "token": Front(token, _port(inner_token)),
        }
        plane = ControlPlane(
            settings,
            directory,
            tokens,
            instances,
            manifests,
            queries,
            recorder,
            faults,
            pythons,
            authority,
            trusted,
            config_folder,
            in_flight,
            fronts,
            _port(dev),
        )
        for app, sock, files in (
            (FaultMiddleware(rest_app, faults, recorder, rest.scope_name, answers.problem), inner_rest, None),
            (
                FaultMiddleware(token_app, faults, recorder, lambda scope: token_service.CALL),
                inner_token,
                (certificate, key),
            ),
            (OwnHostOnly(dev_api.application(plane)), dev, None),
        ):
            await stack.enter_async_context(serving(app if sock is dev else in_flight.counted(app), sock, files))
        for front in fronts.values():
            await front.open()
            stack.push_async_callback(front.shut)
        yield plane


def _certificates(settings: ControlPlaneSettings, folder: Path) -> tuple[Path, Path, Path]:
    if settings.certificates is None:
        return make_certificates(folder, LOOPBACK)
    given = settings.certificates
    files = given / "ca.pem", given / "server.pem", given / "server.key"
    for file in files:
        if not os.access(file, os.R_OK):
            raise CertificatesError(f"{file} cannot be read: --certificates names a folder with it")
    return files


async def _pythons(interpreters: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for interpreter in interpreters:
        version = await _version(interpreter)
        if version in found:
            raise InterpreterError(f"{found[version]} and {interpreter} both have Polars {version}: give one of them")
        found[version] = interpreter
    return found


async def _version(python: str) -> str:
    """Return the version of the Polars of an interpreter."""
    if python == sys.executable:
        return importlib.metadata.version("polars")
    try:
        asked = await asyncio.create_subprocess_exec(
            python, "-c", ASK_VERSION, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        raise InterpreterError(f"cannot start {python}: {error.strerror}") from error
    try:
        version, _ = await asyncio.wait_for(asked.communicate(), ASK_SECONDS)
    except asyncio.TimeoutError:
        raise InterpreterError(f"{python} has not said its version of Polars in {ASK_SECONDS:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            asked.kill()
        await asked.wait()
    if asked.returncode != 0:
        raise InterpreterError(f"{python} has no Polars")
    return version.decode().strip()


def _port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])
