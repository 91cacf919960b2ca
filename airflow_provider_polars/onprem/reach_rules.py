"""Rules about who reaches whom: addresses that nodes tell each other, and ports of one machine.

Which machine a node runs on is not in its file. What is: the IP addresses that it listens on, and the address that it
tells others, as long as that has the port it listens on (with another port, NAT or a load balancer stands between).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from airflow_provider_polars.onprem import keys
from airflow_provider_polars.onprem.addresses import Address
from airflow_provider_polars.onprem.cluster_rules import leader_of
from airflow_provider_polars.onprem.findings import Finding
from airflow_provider_polars.onprem.keys import Service
from airflow_provider_polars.onprem.node import NodeConfig
from airflow_provider_polars.onprem.node_rules import MAPPED, found, overlap

Nodes = Sequence[NodeConfig]
LEADER_KEYS = {keys.REGISTRATION: keys.LEADER_SCHEDULER, keys.RECEIVER: keys.LEADER_OBSERVATORY}
SOURCES = (
    "The vendor's page on network addresses shows the client port here; its example configuration, Helm chart, "
    "operator and Ray package have the registration port"
)


def findings(nodes: Nodes) -> Iterator[Finding]:
    """Yield what is wrong or odd with the ways between nodes."""
    for rule in RULES:
        yield from rule(nodes)


def leader_ports(nodes: Nodes) -> Iterator[Finding]:
    """``static_leader`` has the ports of the registration service and of the receiver."""
    leader = leader_of(nodes)
    for node in nodes:
        for service, key in LEADER_KEYS.items():
            told = node.leader(service)
            listens = service.port if leader is None else leader.bind(service).port
            if told is None or told.port == listens:
                continue
            client = keys.CLIENT.port if leader is None else leader.bind(keys.CLIENT).port
            if service == keys.REGISTRATION and told.port == client:
                rule = f"has the port of the client service, {client}, where workers register, at {listens}. {SOURCES}"
                yield found(
                    node, key, rule, f"Write port {listens}: no server was asked which of them is right.", "warning"
                )
            elif leader is not None and (service == keys.REGISTRATION or leader.on("observatory")):
                rule = f"has another port than the {service.what} of {leader.name} listens on, {listens}"
                yield found(node, key, rule, f"{MAPPED}; else correct it.", "warning")


def leader_hosts(nodes: Nodes) -> Iterator[Finding]:
    """All nodes look for the leader at the same place; the leader may look at itself."""
    for service, key in LEADER_KEYS.items():
        having = [(node, told) for node in nodes if (told := node.leader(service)) is not None]
        asking = [(node, told) for node, told in having if not (node.is_leader and told.is_loopback)]
        for node, told in asking[1:]:
            if told != asking[0][1]:
                rule = f"is another than that of {asking[0][0].name}, {asking[0][1]}"
                yield found(
                    node, key, rule, "Right where networks differ; else write the same on all nodes.", "warning"
                )
    for node in nodes:
        places = [told for service in LEADER_KEYS if (told := node.leader(service)) is not None]
        if len({told.host for told in places}) > 1 and not any(told.is_loopback for told in places):
            rule = f"has another host than {keys.LEADER_SCHEDULER}, {places[0].host}, and both run on the leader"
            yield found(node, keys.LEADER_OBSERVATORY, rule, "Write the leader's host in both.", "warning")


def loopback(nodes: Nodes) -> Iterator[Finding]:
    """A node that others look for is not at a loopback address, unless all of them are on one machine."""
    for node in nodes:
        if node.is_leader:
            continue
        told = [address for service in LEADER_KEYS if (address := node.leader(service)) is not None]
        own = _endpoints(node)
        for service, key in LEADER_KEYS.items():
            address = node.leader(service)
            if address is not None and address.is_loopback and not all(place.is_loopback for _, place in own):
                rule = "is this machine, and the leader is another node"
                yield found(node, key, rule, "Write the address of the leader.")
        for service, address in own:
            if address.is_loopback and told and not all(place.is_loopback for place in told):
                rule = "is this machine for whoever reads it, and the leader and other workers are elsewhere"
                yield found(node, service.public, rule, "Write the address of this node.")
    leader = leader_of(nodes)
    others = [node for node in nodes if node is not leader]
    if leader is None or all(address.is_loopback for node in others for _, address in _endpoints(node)):
        return
    for service, address in _endpoints(leader):
        if address.is_loopback:
            rule = "is this machine for whoever reads it, and other workers are elsewhere"
            yield found(leader, service.public, rule, "Write the address of this node.")
    for service, key in LEADER_KEYS.items():
        bound = leader.bind(service)
        seen = [node.leader(service) for node in others]
        if service in leader.services and bound.is_loopback and any(place and not place.is_loopback for place in seen):
            rule = f"lets this machine alone in, and other nodes look for it at {key}"
            yield found(leader, service.bind, rule, "Write 0.0.0.0, or the address of this node.")


def own_address(nodes: Nodes) -> Iterator[Finding]:
    """A worker tells others its own address, not another node's."""
    for at, node in enumerate(nodes):
        others = [other for other in nodes if other is not node]
        at_leader = node.leader(keys.REGISTRATION)
        for service, address in _endpoints(node):
            taken = next((other for other in nodes[:at] if address in dict(_endpoints(other)).values()), None)
            machine = next((other for other in others if _is_elsewhere(node, address, other)), None)
            if taken is not None:
                rule = f"is the address of {taken.name} too: one of the two would never be used"
                yield found(node, service.public, rule, "Write the address of this node.")
            elif machine is not None:
                rule = f"is the address of {machine.name}: this node would never be used"
                yield found(node, service.public, rule, "Write the address of this node.")
            elif (
                not node.is_leader
                and at_leader is not None
                and address.host == at_leader.host
                and not address.is_loopback
                and address.host not in _listens_on(node)
            ):
                rule = "is the address of the leader, and this is another node"
                fix = "Right where both run on one machine; else write the address of this node."
                yield found(node, service.public, rule, fix, "warning")


def shared_machines(nodes: Nodes) -> Iterator[Finding]:
    """Nodes on one machine listen on different ports, and keep local data apart."""
    for at, node in enumerate(nodes):
        for other in nodes[:at]:
            if not _hosts(node) or _hosts(node) != _hosts(other):
                continue
            told = dict(_endpoints(node)).items() & dict(_endpoints(other)).items()
            for service in node.services:
                for theirs in other.services:
                    one, two = node.bind(service), other.bind(theirs)
                    if one.port == two.port and overlap(one, two) and service not in dict(told):
                        taken = f"the {theirs.what} of {other.name} has it on the same machine"
                        rule = f"must not have port {one.port}: {taken}"
                        yield found(node, service.bind, rule, "Give one of the two another port.")
            here, there = node.location(keys.SHUFFLED), other.location(keys.SHUFFLED)
            if here is not None and here == there and here.kind == "local":
                rule = f"is the path of {other.name} too, on the same machine"
                yield found(node, keys.SHUFFLED, rule, "Give each node a folder of its own.", "warning")


def _endpoints(node: NodeConfig) -> list[tuple[Service, Address]]:
    """Return what a worker tells others: the services, and where they are to be found."""
    told = [(service, node.public(service)) for service in (keys.TASK, keys.SHUFFLE) if service in node.services]
    return [(service, address) for service, address in told if address is not None]


def _listens_on(node: NodeConfig) -> set[str]:
    """Return the addresses of the machine that the services of a node name."""
    bound = [node.bind(service) for service in node.services]
    return {address.host for address in bound if address.host and not address.is_any and not address.is_loopback}


def _hosts(node: NodeConfig) -> set[str]:
    """Return the addresses of the machine that a node runs on, as far as its file tells."""
    told = [address for service, address in _endpoints(node) if address.port == node.bind(service).port]
    hosts = _listens_on(node) or {address.host for address in told if address.host}
    if not hosts and node.is_leader:
        place = node.leader(keys.REGISTRATION)
        hosts = {place.host} if place and place.host and place.port == node.bind(keys.REGISTRATION).port else set()
    return hosts


def _is_elsewhere(node: NodeConfig, address: Address, other: NodeConfig) -> bool:
    """Return True if ``address`` is of the machine of another node, and this one listens on other addresses."""
    own = _listens_on(node)
    return bool(own) and address.host not in own and address.host in _hosts(other)


RULES: tuple[Callable[[Nodes], Iterator[Finding]], ...] = (
    leader_ports,
    leader_hosts,
    loopback,
    own_address,
    shared_machines,
)
