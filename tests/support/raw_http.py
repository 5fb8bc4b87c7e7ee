"""HTTP by hand: bytes on a socket, for what no client library would send."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

SECONDS = 15


def connect(url: str, seconds: float = SECONDS) -> socket.socket:
    """A connection to the server at `url`; waits for it, and for what comes on it, for so many seconds."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=seconds)


def head(method: str, path: str, token: str | None = None, *headers: str) -> bytes:
    """A request's head, up to and with the empty line."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def exchange(url: str, request: bytes) -> bytes:
    """What the server answers to these bytes until it closes the connection, which it must."""
    received = b""
    with connect(url) as connection:
        try:
            connection.sendall(request)
            while part := connection.recv(65536):
                received += part
        except (ConnectionResetError, BrokenPipeError):
            pass  # it had heard enough; what it said before is what counts
    return received
