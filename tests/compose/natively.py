"""The services of ``docker-compose.yaml`` as processes of this machine, where there is no container engine.

Each runs its very command, behind its very entrypoint, with its very environment, secrets and health check. What
stands for a container is this much: names of services become 127.0.0.1, ports become free ones, and the folders of
containers lie below one folder, with the secrets of each service in one of its own.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.compose import database
from tests.compose.composition import REPOSITORY, entrypoint
from tests.harness.environment import free_ports
from tests.harness.postgres import postgres_binaries
from tests.harness.processes import ManagedProcess
from tests.harness.waiting import wait_for

START_SECONDS = 240.0
CHECK_SECONDS = 1.0
"""Between two health checks while services start."""

STOP_GRACE = "10s"
"""That Compose gives a service by default, before it kills it."""

SECRETS = "/run/secrets/"
FOLDERS = ("/opt/airflow", "/opt/compose", "/run/polars-cloud", "/var/lib/postgresql")
"""Of containers, but for that of secrets."""


class NativeServices:
    """Context manager for the processes of some services.

    :param services: by name, as the file has them.
    :param secrets: the folder with the files of the secrets.
    :param folder: an empty one, which the user of PostgreSQL may enter.
    """

    def __init__(self, services: dict[str, dict[str, Any]], secrets: Path, folder: Path) -> None:
        self.services = services
        self.folder = folder
        self.ready: list[str] = []
        """Services whose health check has passed, or that have ended well if they have none; in that order."""
        exposed = {port for service in services.values() for port in service.get("expose", ())}
        self.ports = dict(zip(sorted(exposed), map(str, free_ports(len(exposed))), strict=True))
        """Free ports by those of containers."""
        self._processes: dict[str, ManagedProcess] = {}
        self._lay_out_folders()
        for name, service in services.items():
            (folder / "secrets" / name).mkdir(parents=True)
            for secret in service.get("secrets", ()):
                (folder / "secrets" / name / secret).write_text(self.here((secrets / secret).read_text(), name))

    def here(self, text: str, service: str) -> str:
        """Return what a text of a service means on this machine."""
        names = "|".join(map(re.escape, self.services))
        text = re.sub(rf"(?<=[/@])(?:{names})(?=:\d)", "127.0.0.1", text).replace("0.0.0.0", "127.0.0.1")
        text = re.sub(r"(?<![\w.-])\d{4}(?![\w.-])", lambda port: self.ports.get(port[0], port[0]), text)
        text = text.replace(SECRETS, f"{self.folder}/secrets/{service}/")
        return re.sub("|".join(FOLDERS), lambda found: f"{self.folder}/disk{found[0]}", text)

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of a service: like a container it has none of the shell's."""
        programs = [Path(sys.executable).parent, postgres_binaries(), "/usr/bin", "/bin"]
        own = {
            variable: self.here(value, name) for variable, value in self.services[name].get("environment", {}).items()
        }
        return {
            "PATH": ":".join(map(str, filter(None, programs))),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
        } | own

    def health(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the health check of a service once."""
        kind, *command = [self.here(part, name) for part in self.services[name]["healthcheck"]["test"]]
        assert kind == "CMD"
        return subprocess.run(
            command,
            env=self.environment(name),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def log(self, name: str) -> Path:
        """Return the file that a service has for a log."""
        return self.folder / f"{name}.log"

    def __enter__(self) -> NativeServices:
        """Start each service as soon as those that it depends on are ready; wait until all are."""
        try:
            wait_for(self._proceed, START_SECONDS, self.told, interval=CHECK_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop all."""
        self.stop()

    def stop(self) -> dict[str, int | None]:
        """Stop all, none before those that depend on it; return the exit codes."""
        codes = {}
        while self._processes:
            needed = {other for name in self._processes for other in self.services[name].get("depends_on", ())}
            wave = {name: process for name, process in self._processes.items() if name not in needed}
            for name, process in wave.items():
                process.signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)  # as its image says
            for name, process in wave.items():
                process.finish(float(self.services[name].get("stop_grace_period", STOP_GRACE).removesuffix("s")))
                codes[name] = process.returncode
                del self._processes[name]
        return codes

    def told(self) -> str:
        """Return what there is to know when a wait was in vain."""
        tails = [f"--- {name}\n{process.log_tail()}" for name, process in self._processes.items()]
        return "\n".join([f"ready: {self.ready} of {list(self.services)}", *tails])

    def _proceed(self) -> bool | None:
        for name, service in self.services.items():
            if name not in self._processes and set(service.get("depends_on", ())) <= set(self.ready):
                self._start(name)
            elif name in self._processes and name not in self.ready and self._is_ready(name):
                self.ready.append(name)
        return len(self.ready) == len(self.services) or None

    def _start(self, name: str) -> None:
        service = self.services[name]
        command = [self.here(part, name) for part in service["command"]]
        env = self.environment(name)
        if "build" in service:
            command = [*(self.here(part, name) for part in entrypoint(service["build"]["target"])), *command]
        else:
            command = database.prepare(command, env)
        self._processes[name] = ManagedProcess(command, log_file=self.log(name), env=env)

    def _is_ready(self, name: str) -> bool:
        process, ends_by_itself = self._processes[name], self.services[name]["restart"] == "no"
        if process.returncode is None:
            return not ends_by_itself and self.health(name).returncode == 0
        if not ends_by_itself or process.returncode != 0:
            raise RuntimeError(f"{name} has ended with {process.returncode}\n{process.log_tail()}")
        return True

    def _lay_out_folders(self) -> None:
        """Make what the images and new volumes have."""
        root = self.folder / "disk"
        for folder in (
            "opt/airflow/logs",
            "opt/airflow/lake/kept",
            "opt/airflow/lake/kept-cloud",
            "run/polars-cloud",
            "var/lib/postgresql/data",
        ):
            (root / folder).mkdir(parents=True)
        (self.folder / "tmp").mkdir()
        (root / "opt/airflow/dags").symlink_to(REPOSITORY / "dags")
        (root / "opt/compose").symlink_to(REPOSITORY / "docker")
        self.folder.chmod(0o755)


def remove(folder: Path) -> None:
    """Remove what the services have left."""
    shutil.rmtree(folder, ignore_errors=True)
