"""Addresses and networks: which of the stored peers are in a network, in the SQL of either database."""

from __future__ import annotations

import functools
import ipaddress
import sqlite3
from typing import Any

from sqlalchemy import ColumnElement, Engine, Text, case, cast, event, false, func, literal
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OTHERS = "others"
"""The peer of attempts that were counted together because too many addresses made them."""

COUNTED_BITS = 64
"""Attempts without credentials from IPv6 are counted together, and recorded, for a network of so many bits."""

ADDRESS = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f:]*:[0-9a-f:.]*)(/[0-9]{1,3})?$"
"""What PostgreSQL may be asked to read as an address or a network."""


def normalize_peer(text: str) -> str:
    """Return an address, a network or `others` as they are stored. Raises ValueError for anything else."""
    if text == OTHERS:
        return text
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("neither an address, as 192.0.2.7, nor a network, as 192.0.2.0/24, nor `others`") from None
    if isinstance(network, ipaddress.IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
        network = ipaddress.ip_network((mapped, max(0, network.prefixlen - 96)), strict=False)
    return str(network.network_address) if is_address(network) else str(network)


def read_network(peer: str) -> Network | None:
    """Read a normalized peer as a network, an address as one of a single address; `others` is None."""
    return None if peer == OTHERS else ipaddress.ip_network(peer)


def is_address(network: Network) -> bool:
    """Tell whether it is a single address."""
    return network.prefixlen == network.max_prefixlen


def list_names(peer: str) -> list[str]:
    """List the texts under which an address is stored: itself, and the network for which its attempts are counted."""
    network = read_network(peer)
    if not isinstance(network, ipaddress.IPv6Network):
        return [peer]
    return [peer, str(network.supernet(new_prefix=COUNTED_BITS))]


def find_prefix(network: Network) -> str:
    """Find a text with which every address of a network begins; it may be empty."""
    if isinstance(network, ipaddress.IPv4Network):
        return "".join(f"{octet}." for octet in str(network.network_address).split(".")[: network.prefixlen // 8])
    groups = [int(group, 16) for group in network.network_address.exploded.split(":")[: network.prefixlen // 16]]
    # Zeros may be left out of the text, and then any number of them.
    sure = groups[: groups.index(0)] if 0 in groups else groups
    return "".join(f"{group:x}:" for group in sure)


def match_network(column: ColumnElement[Any], network: Network, dialect: str) -> ColumnElement[bool]:
    """Make the condition that a peer, be it an address or a network, is in a network."""
    if dialect == "sqlite":
        return func.yoq_in_network(column, str(network)) == 1
    within = cast(column, INET).op("<<=", is_comparison=True)(cast(literal(str(network), Text), INET))
    return case((column.op("~", is_comparison=True)(ADDRESS), within), else_=false())


@functools.lru_cache(maxsize=8192)
def _is_within(peer: str | None, network: str) -> bool:
    try:
        found, wanted = ipaddress.ip_network(peer or ""), ipaddress.ip_network(network)
    except ValueError:
        return False
    return found.version == wanted.version and found.subnet_of(wanted)  # type: ignore[arg-type]  # of one version


@event.listens_for(Engine, "connect")
def _teach_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Give SQLite, which has no addresses, the function that match_network() calls. PostgreSQL has them."""
    if isinstance(connection, sqlite3.Connection):
        connection.create_function("yoq_in_network", 2, _is_within, deterministic=True)
