"""A load over HTTP: clients that send their next request when the last one is answered, each on its own connection.

One thread and raw sockets, so that it takes little of a machine that the server is on, too.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """How a server answered: requests a second, and the time that 99 of 100 took at most, in milliseconds."""

    rate: float
    p99: float


@dataclass
class _Client:
    sock: socket.socket
    sent: float = 0.0
    answer: bytes = b""
    wanted: int | None = None
    """The bytes of the answer in all, once its head is there."""


def make_request(method: str, path: str, token: str = "", body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire. It names no User-Agent, as yoq's clients name none."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{head}\r\n".encode() + body


def send(port: int, requests: Iterator[bytes], clients: int) -> Load:
    """Send all the requests. Exits if one is answered otherwise than with 200."""
    times: list[float] = []
    started = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = _Client(sock)
            if _send_next(client, requests):
                selector.register(sock, selectors.EVENT_READ, client)
        while selector.get_map():
            for key, _ in selector.select():
                client = key.data
                if not _read(client):
                    continue
                times.append(time.perf_counter() - client.sent)
                if not _send_next(client, requests):
                    selector.unregister(client.sock)
                    client.sock.close()
    spent = time.perf_counter() - started
    return Load(len(times) / spent, statistics.quantiles(times, n=100)[98] * 1000)


def _send_next(client: _Client, requests: Iterator[bytes]) -> bool:
    request = next(requests, None)
    if request is None:
        return False
    client.answer, client.wanted, client.sent = b"", None, time.perf_counter()
    client.sock.sendall(request)
    return True


def _read(client: _Client) -> bool:
    """Read what is there; returns whether it is all."""
    piece = client.sock.recv(256 * 1024)
    if not piece:
        raise SystemExit("the server closed a connection in the middle of an answer")
    client.answer += piece
    if client.wanted is None:
        head, end, _ = client.answer.partition(b"\r\n\r\n")
        if not end:
            return False
        if head.split(b" ", 2)[1] != b"200":
            raise SystemExit(f"the server answered {client.answer.decode(errors='replace')[:400]}")
        client.wanted = len(head) + len(end) + _read_length(head)
    return len(client.answer) >= client.wanted


def _read_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise SystemExit("the server does not say how long its answer is")


def take_turns(rounds: int, sides: Mapping[str, Callable[[], Load]]) -> dict[str, list[Load]]:
    """Load each side in turn, every other round in the opposite order. The first round only warms up."""
    found: dict[str, list[Load]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            load = sides[name]()
            if number:
                found[name].append(load)
    for name, loads in found.items():
        rate, p99 = (statistics.median(getattr(load, what) for load in loads) for what in ("rate", "p99"))
        print(f"  {name:<44} {rate:6.0f} a second, p99 {p99:6.1f} ms")
    return found


def divide_rates(ours: list[Load], theirs: list[Load]) -> list[float]:
    """Our rate as a multiple of theirs, round by round."""
    return [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)]


def divide_p99s(ours: list[Load], theirs: list[Load]) -> list[float]:
    """Our p99 as a multiple of theirs, round by round."""
    return [mine.p99 / other.p99 for mine, other in zip(ours, theirs, strict=True)]
