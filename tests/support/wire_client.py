"""yoq's own client, as it is on the wire: its requests byte for byte, and its way of reading answers.

It sends one request to a connection and reads until the server closes it, waits five seconds at the most, takes 64 KiB,
and looks for the literal text of a key.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

LIMIT = 64 * 1024
PATIENCE = 5.0


@dataclass(frozen=True)
class Reply:
    """An answer as the client has it: the status, the bytes before the body, and the body as text."""

    status: int
    head: str
    body: str

    def text(self, key: str) -> str:
        """The text of the first member of this name, wherever it is."""
        found = re.search(rf'"{key}":"((?:[^"\\]|\\.)*)"', self.body)
        assert found, f"no text {key} in {self.body[:300]}"
        return found[1]

    def number(self, key: str) -> int:
        """The first number of this name."""
        found = re.search(rf'"{key}": *(-?\d+)', self.body)
        assert found, f"no number {key} in {self.body[:300]}"
        return int(found[1])

    def objects(self) -> list[Reply]:
        """The objects of an array, each cut at its first closing brace."""
        return [Reply(self.status, self.head, found) for found in re.findall(r'\{"id":"[^}]*\}', self.body)]


class Client:
    """yoq's client with one token. `url` may change: a server may come back elsewhere."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.slowest = 0.0

    def get(self, path: str) -> Reply:
        """Send a GET as yoq does."""
        return self._send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", b"")

    def send(self, path: str, body: str | bytes = "", method: str = "POST") -> Reply:
        """Send a body as yoq does."""
        raw = body.encode() if isinstance(body, str) else body
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        return self._send(f"{head}Content-Length: {len(raw)}\r\nContent-Type: application/json\r\n", raw)

    def _send(self, head: str, body: bytes) -> Reply:
        where = urlsplit(self.url)
        request = f"{head}Authorization: Bearer {self.token}\r\n\r\n".encode() + body
        began = time.monotonic()
        received = b""
        with socket.create_connection((where.hostname or "", where.port or 0), PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(request)
            while chunk := connection.recv(65_536):
                received += chunk
        self.slowest = max(self.slowest, time.monotonic() - began)
        assert len(received) <= LIMIT, f"the client takes no more than {LIMIT} bytes: {len(received)}"
        top, separator, rest = received.partition(b"\r\n\r\n")
        assert separator, "an answer without an end of its head"
        return Reply(int(top.split(b" ", 2)[1]), top.decode(), rest.decode())
