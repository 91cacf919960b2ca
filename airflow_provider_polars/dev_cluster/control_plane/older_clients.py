"""Where clients before 0.12 look for an instance in direct mode.

They do not know ``scheduler`` and ``observatory`` of its ``public_info``: they go to ``public_address``, at the ports
5051 and 3001. That is read in the code of 0.6.3, 0.9.0 and 0.11.3.
"""

from __future__ import annotations

from airflow_provider_polars.dev_cluster.client_service import version_numbers
from airflow_provider_polars.dev_cluster.scheduler_port import address

ADDRESSES_SINCE = (0, 12)
URIS_SINCE = (0, 9)


def public_address(host: str, port: int, client_version: str) -> str:
    """Return the public address of an instance for a client.

    Clients 0.9 to 0.11 make ``https://{public_address}:5051`` of it, and ignore a path: so theirs ends with one, and
    the scheduler is found at its own port. (The observatory is not: only private methods of these clients ask it.)
    Older ones take a host alone and speak without TLS to loopback: they have no way to an instance.
    """
    hidden = URIS_SINCE <= version_numbers(client_version) < ADDRESSES_SINCE
    return f"{address(host, port)}/" if hidden else host
