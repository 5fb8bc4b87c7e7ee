"""Connections: what the system tells of this process's own, found among its open files.

A WSGI server does not say which connection a request came on. What is known of each is in Linux's `struct tcp_info`
(`linux/tcp.h`); where there is none, no connection is found.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

FOLDER = "/dev/fd"
"""The process's open files, by descriptor."""

ESTABLISHED, CLOSE_WAIT, LISTEN = 1, 8, 10
"""States of a connection: both sides may send; the client has closed its side; it waits for clients."""

_FIELDS = struct.Struct("=B 43x I 4x I 72x Q 8x I 52x Q")
"""Of tcp_info: state, milliseconds since data was sent and received, bytes received, not yet sent, and sent."""


@dataclass(frozen=True)
class Connection:
    """One connection of this process, as it was a moment ago. Times are in seconds, sizes in bytes."""

    descriptor: int
    port: int
    peer: str
    state: int
    since_sent: float
    since_received: float
    received: int
    unsent: int
    sent: int

    def end(self) -> None:
        """End it, behind what was sent already; whoever waits for its client sees the end of what that sends."""
        with suppress(OSError), _borrow(self.descriptor) as connection:
            if connection.getpeername()[0] == self.peer:
                connection.shutdown(socket.SHUT_RDWR)


def list_connections() -> list[Connection]:
    """Find the connections that clients have made to this process."""
    found = list(_list_sockets())
    ports = {one.port for one in found if one.state == LISTEN}
    return [one for one in found if one.state != LISTEN and one.port in ports]


def limit_silence(seconds: int) -> bool:
    """Have the system end every connection whose client takes none of what is sent to it for so long.

    The limit is put on what this process listens on, whose connections inherit it. Returns whether it listens.
    """
    listening = [one for one in _list_sockets() if one.state == LISTEN]
    for one in listening:
        with suppress(OSError), _borrow(one.descriptor) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)
    return bool(listening)


def _list_sockets() -> Iterator[Connection]:
    if sys.platform != "linux":
        return
    for name in os.listdir(FOLDER):  # noqa: PTH208 - names, not paths
        with suppress(OSError, struct.error):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with _borrow(int(name)) as connection:
                    if connection.family in (socket.AF_INET, socket.AF_INET6):
                        yield _describe(connection)


@contextmanager
def _borrow(descriptor: int) -> Iterator[socket.socket]:
    # Not a copy of the descriptor: closing one of a database's file would drop SQLite's locks on it.
    connection = socket.socket(fileno=descriptor)
    try:
        yield connection
    finally:
        connection.detach()


def _describe(connection: socket.socket) -> Connection:
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
    state, sent_ms, received_ms, received, unsent, sent = _FIELDS.unpack(told)
    return Connection(
        descriptor=connection.fileno(),
        port=connection.getsockname()[1],
        peer="" if state == LISTEN else connection.getpeername()[0],
        state=state,
        since_sent=sent_ms / 1000,
        since_received=received_ms / 1000,
        received=received,
        unsent=unsent,
        sent=sent,
    )
