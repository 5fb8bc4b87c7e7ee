"""How many connections there is room for, and which are ended when there are few left."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from yoq_web.http import capacity
from yoq_web.http.capacity import MOST, Shedder, count_connections
from yoq_web.http.connections import limit_silence, list_connections

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system tells nothing of connections")


class Door:
    """A listening socket, with the clients that have connected to it and the server's ends of their connections."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def open(self) -> tuple[socket.socket, socket.socket]:
        """One more connection: the client's end and the server's."""
        client = self._stack.enter_context(socket.create_connection(self._listener.getsockname(), timeout=15))
        return client, self._stack.enter_context(self._listener.accept()[0])


@pytest.fixture
def door() -> Iterator[Door]:
    """A server to connect to."""
    with ExitStack() as stack:
        yield Door(stack)


def fill(connection: socket.socket) -> None:
    """Send until the other side, which does not read, takes no more."""
    connection.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            connection.send(b"x" * 65536)


def test_what_there_is_room_for() -> None:
    """The database's files and some others come first; more than a bound is never of use."""
    assert count_connections(512, 240) == 208
    assert count_connections(1_000_000, 240) == MOST
    assert count_connections(resource.RLIM_INFINITY, 240) == MOST


def test_connections_that_say_nothing_go_when_few_are_left(door: Door) -> None:
    """Of a server that is nearly full those connections are ended on which nothing ever came, and no others."""
    pairs = [door.open() for _ in range(4)]
    speaking, _ = pairs[0]
    speaking.sendall(b"GET")
    time.sleep(capacity.SILENT_SECONDS + 0.1)
    Shedder(limit=8).shed()
    assert len(list_connections()) == 4
    for client, _ in pairs:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    Shedder(limit=5).shed()
    with pytest.raises(BlockingIOError):
        speaking.recv(1)
    for client, _ in pairs[1:]:
        client.settimeout(15)
        assert client.recv(1) == b""


def test_answers_that_nobody_reads_go_when_few_are_left(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that is nearly full a connection is ended whose client has left something unread for too long."""
    client, server = door.open()
    fill(server)
    shedder = Shedder(limit=1)
    shedder.shed()
    client.recv(1)
    monkeypatch.setattr(capacity, "UNREAD_SECONDS", 0)
    shedder.shed()
    received = 1
    while part := client.recv(1 << 20):
        received += len(part)
    assert received > 65536  # what was sent before arrives, and then the end


def test_a_client_that_takes_nothing_is_ended_by_the_system(door: Door) -> None:
    """A connection whose client reads none of what is sent to it breaks, however much room there is."""
    assert limit_silence(1)
    _, server = door.open()
    fill(server)
    deadline = time.monotonic() + 30
    while (broken := server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert broken != 0
