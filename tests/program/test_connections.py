"""The served program on the wire: framing, limits, garbage, slow clients, and one log line a request."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests

from tests.conftest import ADMIN
from tests.support.raw_http import connect, exchange, head
from tests.support.served import Served, serve
from yoq_web.http.concurrency import REQUESTS
from yoq_web.http.endpoints import MAX_BODY

pytestmark = pytest.mark.program

SECRET = b'{"name":"db","value":"hunter2"}'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One program for the tests of this file."""
    with serve(tmp_path_factory.mktemp("wire"), YOQ_API_TOKEN=ADMIN) as running:
        yield running


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks, with its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def test_an_answer_has_a_length_and_a_close_is_honoured(program: Served) -> None:
    """Every answer says its length, none is chunked, and the connection closes when the client asked for that."""
    for method, path in [("GET", "/health"), ("GET", "/v1/secrets"), ("GET", "/nowhere"), ("GET", "/docs")]:
        start, _, body = exchange(program.url, head(method, path, ADMIN, "Connection: close")).partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in start.split(b"\r\n")[1:])
        assert int(fields[b"content-length"]) == len(body)
        assert b"transfer-encoding" not in fields


def test_a_body_may_come_in_chunks(program: Served) -> None:
    """A body in chunks is as good as one with a length; one without either is empty."""
    request = head("POST", "/v1/secrets", ADMIN, "Transfer-Encoding: chunked", "Connection: close")
    assert b"200 OK" in exchange(program.url, request + chunked(SECRET[:7], SECRET[7:]))
    bare = head("POST", "/v1/secrets", ADMIN, "Connection: close")
    assert b'"error":"missing request body"' in exchange(program.url, bare)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_over_the_limit_is_refused(program: Served, framing: str) -> None:
    """A body over the limit is a 413 however it is framed, even if what fits would be good."""
    body = SECRET + b" " * (MAX_BODY + 1 - len(SECRET))
    if framing == "length":
        sent = head("POST", "/v1/secrets", ADMIN, f"Content-Length: {len(body)}", "Connection: close") + body
    else:
        sent = head("POST", "/v1/secrets", ADMIN, "Transfer-Encoding: chunked", "Connection: close") + chunked(body)
    answer = exchange(program.url, sent)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"error":"request body too large"' in answer


def test_a_body_is_not_read_before_its_sender_is_known(program: Served) -> None:
    """A client without a token is turned away without waiting for the body it announced."""
    with connect(program.url) as connection:
        connection.sendall(head("POST", "/v1/secrets", None, "Content-Length: 1000000"))
        assert connection.recv(65536).startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 429 "))


def test_a_client_that_leaves_in_the_middle_changes_nothing(program: Served) -> None:
    """A request whose client leaves before its body was whole is not carried out."""
    body = b'{"name":"halfway","value":"hunter2"}'
    for sent in (
        head("POST", "/v1/secrets", ADMIN, f"Content-Length: {len(body) + 1}") + body,
        head("POST", "/v1/secrets", ADMIN, "Transfer-Encoding: chunked") + chunked(body)[:-10],
        head("POST", "/v1/secrets", ADMIN, "Transfer-Encoding: chunked") + chunked(body)[:-5],  # all but the last chunk
    ):
        with connect(program.url) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert "halfway" not in program("GET", "/v1/secrets").json()
    lines = [json.loads(line) for line in program.log.read_text().splitlines()[1:]]
    assert [line["status"] for line in lines if line.get("path") == "/v1/secrets"][-4:] == [400, 400, 400, 200]


def test_half_open_connections_do_not_hold_up_others(program: Served) -> None:
    """Many connections with an unfinished head occupy no thread: others are answered as before."""
    with ExitStack() as open_connections:
        for _ in range(2 * REQUESTS):
            connection = open_connections.enter_context(connect(program.url))
            connection.sendall(b"GET /v1/audit HTTP/1.1\r\nHost: local")
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _: program("GET", "/v1/secrets").status_code, range(16)))
    assert set(answers) == {200}


@pytest.mark.parametrize("hosts", [(), ("a", "a"), ("a", "b"), ("a,b",)], ids=",".join)
def test_a_request_names_one_host(program: Served, hosts: tuple[str, ...]) -> None:
    """Several hosts, and none in HTTP/1.1, are the client's fault; HTTP/1.0 knew none."""
    lines = ["GET /version HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close", "\r\n"]
    sent = "\r\n".join(lines).encode()
    assert exchange(program.url, sent).startswith(b"HTTP/1.1 400 ")
    older = exchange(program.url, sent.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert older.startswith(b"HTTP/1.0 200 " if not hosts else b"HTTP/1.0 400 ")


BAD_REQUESTS = [
    b"GARBAGE\r\n\r\n",
    b"\0\0\0\0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # a TLS handshake
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",  # HTTP/2 by prior knowledge
    b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /heal\0th HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 1000 + b"\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/secrets HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/secrets HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    head("get", "/health", None, "Connection: close"),
    head("GET", "/%00/%ff", ADMIN, "Connection: close"),
    head("DELETE", "/v1/secrets/%00", ADMIN, "Connection: close"),
    head("DELETE", "/v1/secrets/%ff%fe", ADMIN, "Connection: close"),
    head("GET", "/v1/audit/entries/%00", ADMIN, "Connection: close"),
    head("GET", "/v1/audit?limit=%00%ff", ADMIN, "Connection: close"),
    head("GET", "/v1/audit?limit=1&%ff=1", ADMIN, "Connection: close"),
    head("POST", "/v1/secrets", ADMIN, "Transfer-Encoding: chunked", "Connection: close") + b"ZZ\r\nab\r\n0\r\n\r\n",
    head("POST", "/v1/secrets", ADMIN, "Transfer-Encoding: gzip", "Connection: close") + SECRET,
    head("POST", "/v1/secrets", ADMIN, "Content-Encoding: gzip", "Content-Length: 2", "Connection: close") + b"{}",
]
"""Requests that no client should send; the status may differ, the class may not."""


@pytest.mark.parametrize("sent", BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
def test_garbage_is_the_clients_fault(program: Served, sent: bytes) -> None:
    """Garbage is answered with a 4xx or cut off, never with a 5xx, and the program goes on serving."""
    answer = exchange(program.url, sent)
    assert answer.startswith(b"HTTP/1.1 4") or answer == b""
    assert program("GET", "/version").status_code == 200
    assert "Traceback" not in program.log.read_text()


def test_a_header_that_is_not_ascii_is_no_credential(program: Served) -> None:
    """Bytes beyond ASCII in the credentials or the request id are no error of the server's."""
    sent = b"GET /v1/audit HTTP/1.1\r\nHost: \xe9\r\nAuthorization: Bearer \xff\r\nX-Request-Id: \xff\r\n"
    assert exchange(program.url, sent + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 4")


def test_each_request_leaves_one_line_of_json(program: Served) -> None:
    """The log is one JSON object a line; a request's names its id, actor, method, path and status, and no secret."""
    # A parameter that no route has is refused.
    answer = program(
        "POST", "/v1/secrets?q=hunter2", json={"name": "db", "value": "hunter2"}, headers={"X-Request-Id": "trace-1"}
    )
    assert answer.headers["X-Request-Id"] == "trace-1"
    _, *lines = program.log.read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    [mine] = [line for line in logged if line.get("request_id") == "trace-1"]
    expected = {
        "level": "info",
        "event": "request",
        "method": "POST",
        "path": "/v1/secrets",
        "status": 400,
        "actor": "api-token",
        "peer": "127.0.0.1",
    }
    assert {name: mine[name] for name in expected} == expected
    assert "hunter2" not in program.log.read_text()
    assert ADMIN not in program.log.read_text()


def test_a_request_id_of_no_use_is_replaced(program: Served) -> None:
    """An id that could confuse a log is not taken over."""
    answer = requests.get(program.url + "/version", headers={"X-Request-Id": 'a" b'}, timeout=30)
    assert answer.headers["X-Request-Id"].isalnum()
