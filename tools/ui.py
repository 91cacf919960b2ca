"""Airflow's user interface with the example DAGs having run: ``python -m tools.ui DATA_FOLDER [DAG_ID ...]``.

Starts Airflow, a development cluster and a development control plane on loopback, with a connection to each, runs the
examples and prints where to sign in. All of it ends on Ctrl-C or SIGTERM, and leaves nothing.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from airflow_provider_polars.credentials import CLIENT_ID, CLIENT_SECRET
from tests.harness.development import Development, development
from tests.harness.rest import AirflowRest
from tests.harness.stack import StackError
from tests.harness.waiting import wait_for

EXAMPLES = Path(__file__).resolve().parent.parent / "dags"
BY_EVENT = {"example_asset_reader"}
IN_A_VAULT = {"example_credentials_vault", "example_credentials_secrets_backend"}
"""They need AWS Secrets Manager, and stay as they are."""

OWN_NAMES = "polars_etl_client_id", "polars_etl_client_secret"
"""Variables of one of the examples."""

MANIFEST = "airflow-production"
REGISTER = f"""
import polars_cloud as pc
pc.authenticate(interactive=False)
pc.ComputeContext(cpus=2, memory=4).register({MANIFEST!r})
"""
PARSE_SECONDS = 120.0
RUN_SECONDS = 600.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """Somebody has asked for the end."""


def end_when_asked() -> None:
    """Raise :class:`Ended` in the main thread at the first signal; later ones do not disturb the end."""

    def end(signum: int, frame: FrameType | None) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        raise Ended(signal.Signals(signum).name)

    for number in ENDING:
        signal.signal(number, end)


def provide(world: Development, data: Path) -> None:
    """Give the examples what they say that they need."""
    (world.stack.home / data.name).symlink_to(data)
    for conn_type, fields in world.connections.items():
        world.rest.set_connection(f"{conn_type}_default", conn_type, **fields)
    account = world.plane.account
    for id_variable, secret_variable in ((CLIENT_ID, CLIENT_SECRET), OWN_NAMES):
        world.rest.set_variable(id_variable, account.id)
        world.rest.set_variable(secret_variable, account.secret)
    subprocess.run([sys.executable, "-c", REGISTER], env=world.plane.environment, check=True)


def all_examples(rest: AirflowRest) -> list[str]:
    """Return the ids of the example DAGs that run by hand, once Airflow knows every file of them."""
    files = {file.name for file in EXAMPLES.glob("*.py")}

    def known() -> list[str] | None:
        dags = rest.get_all("/dags", "dags")
        if missing := files - {dag["relative_fileloc"] for dag in dags} - set(rest.import_errors()):
            waiting_for[:] = sorted(missing)
            return None
        return sorted({dag["dag_id"] for dag in dags} - BY_EVENT - IN_A_VAULT)

    waiting_for: list[str] = []
    return wait_for(known, PARSE_SECONDS, lambda: f"DAGs of {', '.join(waiting_for)}")


def run(rest: AirflowRest, dag_ids: Sequence[str]) -> None:
    """Run DAGs side by side, and print how each has ended."""
    for dag_id in dag_ids:
        rest.wait_for_dag(dag_id)
    runs = {dag_id: rest.trigger(dag_id) for dag_id in dag_ids}
    for dag_id, run_id in runs.items():
        print(f"  {dag_id:<40} {rest.wait_for_run(dag_id, run_id, timeout=RUN_SECONDS)}", flush=True)


def show(data: Path, chosen: Sequence[str]) -> None:
    """Start everything, run the examples, and wait for the end."""
    with development(EXAMPLES, deployment="ui") as world:
        provide(world, data)
        dag_ids = chosen or all_examples(world.rest)
        address = f"{world.stack.base_url} (user admin, password admin)"
        print(f"{len(dag_ids)} examples run at {address}", flush=True)
        run(world.rest, dag_ids)
        print(f"Ready: {address}. Ctrl-C ends all of it.", flush=True)
        signal.pause()


def main(data: Path, chosen: Sequence[str]) -> str | None:
    """Show until asked to end; return what went wrong. Files are kept for a look only if Airflow did not start."""
    end_when_asked()
    folder = tempfile.tempdir = tempfile.mkdtemp(prefix="polars-ui-")
    print("Starting Airflow, a development cluster and a development control plane (half a minute)", flush=True)
    try:
        show(data, chosen)
    except StackError as error:
        return f"ui: {error}"
    except Ended as end:
        print(f"All of it has ended ({end})", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
