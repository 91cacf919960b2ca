"""Rules between the keys of one node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from airflow_provider_polars.onprem import keys
from airflow_provider_polars.onprem.addresses import Address
from airflow_provider_polars.onprem.findings import Finding, is_secret, shown
from airflow_provider_polars.onprem.keys import KEYS, Service
from airflow_provider_polars.onprem.node import NodeConfig

Severity = Literal["breach", "warning"]
MAPPED = "Right where NAT or a load balancer maps it"
Rule = Callable[[NodeConfig], Iterator[Finding]]


def found(node: NodeConfig, key: str, rule: str, fix: str, severity: Severity = "breach") -> Finding:
    """Return a finding about a key of a node, with its value."""
    return Finding(node.name, key, shown(key, node.raw(key)), rule, fix, severity)


def findings(node: NodeConfig) -> Iterator[Finding]:
    """Yield what is wrong or odd in one node's configuration, apart from single values."""
    for rule in RULES:
        yield from rule(node)


def _missing(node: NodeConfig, key: str, rule: str, fix: str = "") -> Iterator[Finding]:
    """Yield a breach if a key is not there. A value that is there and wrong has its breach already."""
    if node.raw(key) is None:
        yield found(node, key, rule, fix or f"Write {key} = {KEYS[key].example}.")


def identity(node: NodeConfig) -> Iterator[Finding]:
    """A node says which cluster it is of, who it is, and who leads."""
    yield from _missing(node, "cluster_id", "is required: the same text on all nodes of a cluster, and on no other")
    yield from _missing(
        node, "instance_id", "is required: another text on each node", 'Write instance_id = "node-1", or the host name.'
    )
    yield from _missing(node, keys.LEADER, "is required on every node", "Write the instance_id of the leader.")
    for key, service in ((keys.LEADER_SCHEDULER, keys.REGISTRATION), (keys.LEADER_OBSERVATORY, keys.RECEIVER)):
        example = f'the address of the leader with the port of its {service.what}: "10.0.0.1:{service.port}"'
        why = ""
        if key == keys.LEADER_OBSERVATORY and node.on("monitoring"):
            why = ", and monitoring.enabled sends figures there"
        if node.raw(key) is None:
            yield found(node, key, f"is required on every node{why}", f"Write {example}.")
        elif node.value(key) is not None and node.leader(service) is None:
            yield found(node, key, "must name a host that nodes can reach", f"Write {example}.")


def roles(node: NodeConfig) -> Iterator[Finding]:
    """A node does something; the scheduler and the observatory are on the leader."""
    for section in ("scheduler", "worker", "observatory", "monitoring", "lineage", "scaling"):
        if isinstance(node.raw(section), Mapping):
            key = f"{section}.enabled"
            if node.raw(key) is None:
                rule = "is not set, and what the server does then is unverified: it counts as false here"
                yield found(node, key, rule, "Write true or false.", "warning")
    if not node.runs_scheduler and not node.runs_worker:
        yield found(node, "worker.enabled", "neither scheduler nor worker runs here", "Switch one of them on.")
    leader, instance = node.value(keys.LEADER), node.instance
    if leader and instance and node.runs_scheduler and leader != instance:
        rule = (
            f"must be the leader's instance_id, and the scheduler runs on this node, {shown('instance_id', instance)}"
        )
        yield found(node, keys.LEADER, rule, "Correct it, or switch the scheduler off here: scheduler.enabled = false.")
    if leader and leader == instance and not node.runs_scheduler:
        rule = "must be true on the node that static_leader.leader_instance_id names, which is this one"
        yield found(node, "scheduler.enabled", rule, "Write scheduler.enabled = true, or correct the leader's id.")
    if node.on("observatory") and not node.runs_scheduler:
        rule = "must be true on the node of the scheduler alone"
        yield found(node, "observatory.enabled", rule, "Write observatory.enabled = false here.")


def licence(node: NodeConfig) -> Iterator[Finding]:
    """The leader has a licence, of one kind."""
    online = node.raw("license.on_prem") is not None and node.on("license.on_prem")
    ways = {
        "license.on_prem": online,
        keys.LICENSE_FILE: node.raw(keys.LICENSE_FILE) is not None,
        "license.license_server.uri": node.raw("license.license_server.uri") is not None,
    }
    given = [way for way, has in ways.items() if has]
    if len(given) > 1:
        rule = f"has {len(given)} licences, {' and '.join(given)}; which of them counts is unverified"
        yield found(node, "license", rule, "Keep one of them.", "warning")
    if not given and node.is_leader:
        yield found(node, "license", "is required on the leader", 'Write license = "/path/of/license.json".')
    if online and node.is_leader:
        for key in ("license.on_prem.workspace_id", "license.on_prem.client_id"):
            if node.raw(key) is None:
                rule = "is needed by an online licence, and is not in this file"
                yield found(node, key, rule, f"Write it, or set the variable {keys.variable(key)}.", "warning")


def worker_addresses(node: NodeConfig) -> Iterator[Finding]:
    """Other nodes can reach a worker; the shuffle service counts where data is shuffled locally."""
    if not node.runs_worker:
        return
    for service in (keys.TASK, keys.SHUFFLE):
        if service not in node.services:
            continue
        told, bound = node.value(service.public), node.bind(service)
        public = node.public(service)
        if node.raw(service.public) is None and bound.is_any:
            rule = f"is required where the {service.what} listens on all interfaces ({bound}), as it does by default"
            yield found(node, service.public, rule, f'Write the node\'s own address: "10.0.0.2:{bound.port}".')
        elif told is not None and public is None:
            rule = "must name a host that other nodes can reach"
            yield found(node, service.public, rule, f'Write the node\'s own address: "10.0.0.2:{bound.port}".')
        elif public is not None and bound.is_loopback and not public.is_loopback:
            rule = f"is told to others, but the {service.what} listens on {bound} alone"
            fix = f"Correct {service.bind}, unless something on this machine forwards to it."
            yield found(node, service.public, rule, fix, "warning")
        elif public is not None and told is not None:
            yield from _mapped(node, service, public, bound)
    told_hosts = [node.public(service) for service in (keys.TASK, keys.SHUFFLE) if service in node.services]
    hosts = {address.host for address in told_hosts if address is not None}
    if len(hosts) > 1:
        rule = f"has another host than {keys.TASK.public}, and both services run on this node"
        yield found(node, keys.SHUFFLE.public, rule, "Write the same host in both.", "warning")


def _mapped(node: NodeConfig, service: Service, public: Address, bound: Address) -> Iterator[Finding]:
    """Yield a warning where a public address is not the one that is listened on, which NAT may explain."""
    other = "host" if not bound.is_any and public.host != bound.host else "port" if public.port != bound.port else None
    if other is not None:
        rule = f"has another {other} than the {service.what} listens on, {bound}"
        yield found(node, service.public, rule, f"{MAPPED}; else correct it.", "warning")


def ports(node: NodeConfig) -> Iterator[Finding]:
    """No two services of a node listen on the same port."""
    listening = [(service, node.bind(service)) for service in node.services]
    for at, (service, bound) in enumerate(listening):
        for other, taken in listening[:at]:
            if bound.port == taken.port and overlap(bound, taken):
                rule = f"must not have port {bound.port}, on which the {other.what} ({other.bind}) listens"
                yield found(node, service.bind, rule, "Give one of the two another port.")


def overlap(one: Address, other: Address) -> bool:
    """Return True if two addresses of one machine include the same interface."""
    return one.is_any or other.is_any or one.host == other.host


def storage(node: NodeConfig) -> Iterator[Finding]:
    """A location is one place; what is switched on has the one that it needs."""
    for where, allowed in keys.LOCATIONS.items():
        table = node.raw(where)
        given = [kind for kind in allowed if isinstance(table, Mapping) and kind in table]
        if isinstance(table, Mapping) and len(given) != 1:
            rule = f"must have exactly one of {', '.join(allowed)}, has {' and '.join(given) or 'none'}"
            yield found(node, where, rule, "Keep one, or leave the section out where nothing is kept.")
        for kind in given:
            key = f"{where}.{kind}.{'path' if kind in keys.PATHS else 'url'}"
            yield from _missing(node, key, f"is required in a location of kind {kind}")
    results = node.location(keys.RESULTS)
    if results is not None and results.kind == "local" and node.value("scheduler.allow_local_sinks") is not True:
        rule = f"must be true where results are written to a local path, {shown(keys.RESULTS, results.place)}"
        yield found(node, "scheduler.allow_local_sinks", rule, "Write scheduler.allow_local_sinks = true.")
    if node.runs_worker and node.raw(keys.SHUFFLED) is None:
        rule = "is required on a worker: where data goes that queries exchange"
        yield found(node, keys.SHUFFLED, rule, f'Write {keys.SHUFFLED}.local.path = "/var/lib/polars/shuffle".')


def switched_on(node: NodeConfig) -> Iterator[Finding]:
    """What is switched on has all that it needs."""
    if node.on("observatory"):
        key = "observatory.max_metrics_bytes_total"
        yield from _missing(node, key, "is required with the observatory, and has no default")
    if node.on("scaling"):
        for key in ("scaling.rest.uri", "scheduler.default_workers_per_query"):
            if node.runs_scheduler:
                yield from _missing(node, key, "is required where scaling is enabled")
    if node.on("lineage"):
        table = node.raw("lineage.transport")
        given = [kind for kind in ("http", "stdio") if isinstance(table, Mapping) and kind in table]
        if len(given) != 1:
            rule = f"must have exactly one of http, stdio, has {' and '.join(given) or 'none'}"
            yield found(node, "lineage.transport", rule, 'Write lineage.transport.http.endpoint = "http://host:5000".')
        for kind, key in (("http", "endpoint"), ("stdio", "output_stream")):
            if kind in given:
                yield from _missing(node, f"lineage.transport.{kind}.{key}", f"is required with {kind}")
    most, usual = (node.value(f"scheduler.{name}_workers_per_query") for name in ("max", "default"))
    if most is not None and usual is not None and usual > most:
        key = "scheduler.default_workers_per_query"
        yield found(node, key, f"must not exceed scheduler.max_workers_per_query, {most}", "Make it smaller.")


def access(node: NodeConfig) -> Iterator[Finding]:
    """TLS has both files; tokens have all three keys, and TLS around them."""
    for service in (keys.CLIENT, keys.REST):
        tls, jwks = f"{service.section}.connection.tls", f"{service.section}.auth.jwks"
        for table, names in (
            (tls, ("certificate_key_file", "private_key_file")),
            (jwks, ("url", "issuers", "audience")),
        ):
            if isinstance(node.raw(table), Mapping):
                for name in names:
                    others = " and ".join(other for other in names if other != name)
                    yield from _missing(node, f"{table}.{name}", f"is required beside {others}")
        if node.raw(jwks) is not None and node.raw(tls) is None:
            rule = f"has callers send tokens to the {service.what}, which travel in clear without TLS"
            yield found(node, jwks, rule, f"Add [{tls}], unless something in front of it speaks TLS.", "warning")


def checkpoints(node: NodeConfig) -> Iterator[Finding]:
    """Checkpoints are switched on where something is said of them."""
    key = "scheduler.checkpoint.enabled"
    if isinstance(node.raw("scheduler.checkpoint"), Mapping) and node.raw(key) is None:
        rule = "is not set beside the other keys of checkpoints, and what the server does then is unverified"
        yield found(node, key, rule, "Write true or false.", "warning")


def variables(node: NodeConfig) -> Iterator[Finding]:
    """Variables of workers hold no secret."""
    for name in node.value("worker.env_vars") or ():
        if is_secret(key := f"worker.env_vars.{name}"):
            fix = "Keep secrets out of this file: set the variable where the server is started."
            yield found(node, key, "has the name of a secret", fix, "warning")


RULES: tuple[Rule, ...] = (
    identity,
    roles,
    licence,
    worker_addresses,
    ports,
    storage,
    switched_on,
    access,
    checkpoints,
    variables,
)
