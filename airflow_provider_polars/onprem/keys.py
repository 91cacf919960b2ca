"""Every key of a node's configuration that is known: kind, default, unit, and since which server.

Source: the guide of Polars on-premises, its Helm chart, its operator and its Ray package; none of it was tried on a
server. Defaults are the server's own, where one is written down. A key that is seen in chart, operator or Ray package
alone says so in its note.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from airflow_provider_polars.onprem import kinds
from airflow_provider_polars.onprem.kinds import Kind

FIRST = (0, 2, 0)


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of the configuration.

    :param path: its sections and its name, with dots.
    :param kind: what its value may be.
    :param default: what the server takes without it; None if it has no default, or none that is known.
    :param note: what it means, and its rule.
    :param since: the first server that is known to read it.
    :param secret: its value is shown nowhere.
    """

    path: str
    kind: Kind
    default: Any = None
    note: str = ""
    since: tuple[int, int, int] = FIRST
    secret: bool = False

    @property
    def example(self) -> str:
        """A right value, as it stands in a file."""
        return f'"{self.default}"' if isinstance(self.default, str) else self.kind.example


@dataclasses.dataclass(frozen=True)
class Service:
    """A port that a node listens on.

    :param section: where its ``bind_addr`` stands.
    :param port: its default.
    :param what: its name in messages.
    """

    section: str
    port: int
    what: str

    @property
    def bind(self) -> str:
        """The key of the address that it listens on."""
        return f"{self.section}.bind_addr"

    @property
    def public(self) -> str:
        """The key of the address that others reach it by; workers alone have it."""
        return f"{self.section}.public_addr"


CLIENT = Service("scheduler.client_service", 5051, "client service")
REGISTRATION = Service("scheduler.worker_service", 5050, "registration service for workers")
RECEIVER = Service("observatory.service", 5049, "receiver of the observatory")
REST = Service("observatory.rest_api.service", 3001, "REST API and dashboard of the observatory")
TASK = Service("worker.task_service", 5052, "task service")
SHUFFLE = Service("worker.shuffle_service", 5053, "shuffle service")
SERVICES = {
    "client": CLIENT,
    "registration": REGISTRATION,
    "receiver": RECEIVER,
    "rest": REST,
    "task": TASK,
    "shuffle": SHUFFLE,
}

RESULTS = "scheduler.anonymous_result_location"
SHUFFLED = "worker.shuffle_location"
CHECKPOINTS = "worker.checkpoint_location"
PATHS = ("local", "shared_filesystem")
STORES = {"s3": kinds.S3, "gcs": kinds.GCS, "abs": kinds.ABS}
LOCATIONS = {
    RESULTS: ("local", *STORES),
    SHUFFLED: (*PATHS, *STORES),
    CHECKPOINTS: ("shared_filesystem", *STORES),
}
"""Where a storage location may stand, and the kinds that it may have there, one at a time."""

OPTIONS = {"s3": "aws_", "gcs": "google_", "abs": "azure_"}
"""How the storage options of a store begin; those of Polars' ``scan_parquet`` are passed on, known here or not."""

LICENSE_FILE = "license.on_prem_enterprise.license_path"
LEADER = "static_leader.leader_instance_id"
LEADER_SCHEDULER = "static_leader.scheduler_service.public_addr"
LEADER_OBSERVATORY = "static_leader.observatory_service.public_addr"


def _store(where: str) -> list[Key]:
    """Return the keys of the object stores of a location."""
    store = (0, 4, 0)
    found = [Key(f"{where}.{kind}.url", url, since=FIRST if kind == "s3" else store) for kind, url in STORES.items()]
    option = "an option of Polars' scan_parquet"
    return [
        *found,
        Key(f"{where}.s3.aws_endpoint_url", kinds.WEB, note="of a store that is compatible with S3"),
        Key(f"{where}.s3.aws_region", kinds.TEXT, note=option),
        Key(f"{where}.s3.aws_access_key_id", kinds.TEXT, note=option, secret=True),
        Key(f"{where}.s3.aws_secret_access_key", kinds.TEXT, note=option, secret=True),
        Key(f"{where}.s3.aws_session_token", kinds.TEXT, note=option, secret=True),
        Key(f"{where}.gcs.google_service_account_path", kinds.PATH, note=option, since=store),
        Key(f"{where}.abs.azure_storage_account_name", kinds.TEXT, note=option, since=store),
        Key(f"{where}.abs.azure_storage_account_key", kinds.TEXT, note=option, since=store, secret=True),
    ]


def _paths(where: str) -> list[Key]:
    return [Key(f"{where}.{kind}.path", kinds.PATH) for kind in PATHS if kind in LOCATIONS[where]]


def _results() -> list[Key]:
    """Return the keys of where results without a sink go."""
    each = LOCATIONS[RESULTS]
    seen = "chart"
    return [
        Key(f"{RESULTS}.local.path", kinds.PATH, note="the same for workers and client; needs allow_local_sinks"),
        *_store(RESULTS),
        *(Key(f"{RESULTS}.{kind}.presign_duration", kinds.DURATION, note=seen, since=(0, 4, 0)) for kind in each),
        Key(f"{RESULTS}.s3.external_endpoint", kinds.WEB, note="inside signed URLs; chart, Ray", since=(0, 4, 0)),
        *(
            Key(f"{RESULTS}.{kind}.allow_deletes", kinds.FLAG, note="for QueryResult.delete(); Ray", since=(0, 8, 0))
            for kind in each
        ),
    ]


def _access(section: str) -> list[Key]:
    """Return the keys of TLS and tokens of a service. What the server does with them is unverified."""
    tls, jwks, since = f"{section}.connection.tls", f"{section}.auth.jwks", (0, 8, 0)
    return [
        Key(f"{tls}.certificate_key_file", kinds.PATH, note="needs the other of TLS; Ray", since=since),
        Key(f"{tls}.private_key_file", kinds.PATH, note="needs the other of TLS; Ray", since=since),
        Key(f"{jwks}.url", kinds.WEB, note="needs issuers and audience; Ray", since=since),
        Key(f"{jwks}.issuers", kinds.TEXTS, note="needs url and audience; Ray. A list is unverified", since=since),
        Key(f"{jwks}.audience", kinds.TEXT, note="needs url and issuers; Ray", since=since),
    ]


def _bind(service: Service) -> Key:
    return Key(service.bind, kinds.ADDRESS, f"0.0.0.0:{service.port}", f"where the {service.what} listens")


def _public(service: Service, note: str) -> Key:
    return Key(service.public, kinds.ADDRESS, note=note)


ALL = (
    Key("cluster_id", kinds.TEXT, note="required; the same on all nodes, and on no other cluster"),
    Key("instance_id", kinds.TEXT, note="required; another on each node"),
    Key("memory_limit", kinds.BYTES, note="needs a delegated cgroup, or the server does not start"),
    Key("cpu_reserved", kinds.TEXT, note="a hint, not enforced; chart, operator, Ray", since=(0, 8, 0)),
    Key("cluster_mode", kinds.choice("kubernetes"), note="other values are unverified"),
    Key(LICENSE_FILE, kinds.PATH, note="offline licence; short form: license = path", since=FIRST),
    Key("license.on_prem.enabled", kinds.FLAG, True, "online licence", since=(0, 4, 0)),
    Key("license.on_prem.workspace_id", kinds.TEXT, note="on the leader", since=(0, 4, 0)),
    Key("license.on_prem.client_id", kinds.TEXT, note="on the leader", since=(0, 4, 0)),
    Key("license.on_prem.client_secret", kinds.TEXT, note="on the leader, by variable", since=(0, 4, 0), secret=True),
    Key("license.on_prem.cert_dir", kinds.PATH, note="where certificates are kept", since=(0, 4, 0)),
    Key("license.license_server.uri", kinds.TEXT, note="offline licence server; Ray", since=(0, 8, 0)),
    Key("scheduler.enabled", kinds.FLAG, note="true on the leader and nowhere else"),
    Key("scheduler.allow_local_sinks", kinds.FLAG, note="true for results in a local path"),
    Key("scheduler.allow_local_scans", kinds.FLAG, since=(0, 4, 0)),
    Key("scheduler.deny_anonymous_users", kinds.FLAG, False, "true: queries need a user name", since=(0, 2, 4)),
    Key("scheduler.n_workers", kinds.COUNT, note="queries wait until so many are there"),
    Key("scheduler.default_partitions_per_worker", kinds.COUNT, 1, since=(0, 6, 3)),
    Key("scheduler.max_workers_per_query", kinds.COUNT, note="Ray", since=(0, 8, 0)),
    Key("scheduler.default_workers_per_query", kinds.COUNT, note="required with scaling; Ray", since=(0, 8, 0)),
    *_results(),
    _bind(CLIENT),
    *_access(CLIENT.section),
    _bind(REGISTRATION),
    Key("scheduler.checkpoint.enabled", kinds.FLAG, False, "needs a checkpoint_location of workers", (0, 6, 3)),
    Key("scheduler.checkpoint.period", kinds.DURATION, note="operator: 20m", since=(0, 6, 3)),
    Key("worker.enabled", kinds.FLAG, note="true on each node that computes"),
    Key("worker.heartbeat_period", kinds.DURATION, note="chart, operator and Ray: 5 s"),
    *_paths(SHUFFLED),
    *_store(SHUFFLED),
    *(dataclasses.replace(key, since=(0, 6, 3)) for key in [*_paths(CHECKPOINTS), *_store(CHECKPOINTS)]),
    _bind(TASK),
    _public(TASK, "required where it listens on 0.0.0.0"),
    _bind(SHUFFLE),
    _public(SHUFFLE, "required where it listens on 0.0.0.0, with a local shuffle"),
    Key("worker.env_vars", kinds.VARIABLES, note="without secrets", since=(0, 4, 0)),
    Key("worker.extras.hdfs.enabled", kinds.FLAG, note="experimental", since=(0, 7, 0)),
    Key("worker.extras.pyiceberg.enabled", kinds.FLAG, note="experimental", since=(0, 7, 0)),
    Key("observatory.enabled", kinds.FLAG, note="on the node of the scheduler alone"),
    Key("observatory.cluster_mode", kinds.choice("kubernetes"), note="chart, operator"),
    Key("observatory.max_metrics_bytes_total", kinds.BYTES, note="required; 50 bytes per second and worker"),
    Key("observatory.database_path", kinds.PATH, note="keeps the history of queries; of one cluster at a time"),
    Key("observatory.database_export", kinds.PATH, note="Ray", since=(0, 8, 0)),
    _bind(RECEIVER),
    Key("observatory.rest_api.enabled", kinds.FLAG, True),
    _bind(REST),
    *_access(REST.section),
    Key("monitoring.enabled", kinds.FLAG, note="sends to the observatory of the leader"),
    Key("monitoring.host_metrics.enabled", kinds.FLAG),
    Key("monitoring.host_metrics.disk_usage_metrics", kinds.FLAG, since=(0, 6, 3)),
    Key("monitoring.host_metrics.disk_io_metrics", kinds.FLAG, since=(0, 6, 3)),
    Key(LEADER, kinds.TEXT, note="required; the instance_id of the leader"),
    Key(LEADER_SCHEDULER, kinds.ADDRESS, note="required; the registration service, port 5050 by default"),
    Key(LEADER_OBSERVATORY, kinds.ADDRESS, note="required; the receiver, port 5049 by default"),
    Key("lineage.enabled", kinds.FLAG, note="needs a transport", since=(0, 3, 1)),
    Key("lineage.transport.http.endpoint", kinds.WEB, since=(0, 3, 1)),
    Key("lineage.transport.stdio.output_stream", kinds.choice("stdout", "stderr"), note="Ray", since=(0, 3, 1)),
    Key("scaling.enabled", kinds.FLAG, note="Ray", since=(0, 8, 0)),
    Key("scaling.rest.uri", kinds.WEB, note="required with scaling; Ray", since=(0, 8, 0)),
)

KEYS = {key.path: key for key in ALL}
SECTIONS = {path[:at] for path in KEYS for at, letter in enumerate(path) if letter == "."}
FORMER = {
    "cublet_id": "instance_id",
    "scheduler.allow_shared_disk": "scheduler.allow_local_sinks",
    "scheduler.anonymous_result_dst": RESULTS,
    "worker.worker_ip": TASK.public,
    "worker.flight_port": SHUFFLE.bind,
    "worker.service_port": TASK.bind,
    "worker.shuffle_data_path": f"{SHUFFLED}.local.path",
    "worker.heartbeat_interval_secs": "worker.heartbeat_period",
    "static_leader.leader_key": LEADER,
    "static_leader.public_leader_addr": LEADER_SCHEDULER,
    "observatory.host_metrics": "monitoring.host_metrics",
}
"""Keys of servers before 0.1.1, and one that the vendor's guide spells wrong, with what to write today."""


def variable(path: str) -> str:
    """Return the environment variable that sets a key: ``PC_CUBLET__scheduler__n_workers``."""
    return "PC_CUBLET__" + path.replace(".", "__")
